"""Configurations on which a fine-tuned potential is to stay what it was.

Where the user has no pool of configurations to replay, one is made: common crystal prototypes with elements drawn at
random, volumes from covalent radii, then strained and rattled. They are not stable compounds and need not be: their
labels are the foundation model's own, and they span elements, coordination and density cheaply.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii

from aiida_mlip.science import keys

_ELEMENTAL = {"fcc": 2 * np.sqrt(2.0), "bcc": 4 / np.sqrt(3.0), "diamond": 8 / np.sqrt(3.0)}
"""Prototype -> lattice constant in units of the atomic radius, from touching spheres."""

_BINARY = {"rocksalt": 2.0, "cesiumchloride": 2 / np.sqrt(3.0), "zincblende": 4 / np.sqrt(3.0)}
"""Prototype -> lattice constant in units of the sum of the two radii, from touching spheres."""

_MAX_STRAIN = 0.06
_RATTLE = 0.08


def prototype_pool(elements: Collection[str], size: int, seed: int) -> list[Atoms]:
    """Return ``size`` crystals of elements drawn at random, strained by up to 6 % and rattled by 0.08 Å.

    :param elements: chemical symbols to draw from; noble gases are as welcome as metals.
    :param size: number of configurations.
    :param seed: of all random numbers; equal seeds give equal configurations.
    :raises ValueError: if there are no elements or ``size`` is not positive.
    """
    if not elements or size < 1:
        raise ValueError(f"elements = {sorted(elements)}, size = {size}: give at least one element and a positive size")
    rng = np.random.default_rng(seed)
    symbols = sorted(elements, key=lambda symbol: int(atomic_numbers[symbol]))
    return [_crystal(symbols, rng) for _ in range(size)]


def choose_frames(pool: Sequence[Atoms], elements: Collection[str], size: int, seed: int) -> list[Atoms]:
    """Return ``size`` frames of the pool at random, in the pool's order; frames with other elements are left out.

    :raises ValueError: if the pool has fewer frames than that.
    """
    known = set(elements)
    usable = [atoms for atoms in pool if set(atoms.get_chemical_symbols()) <= known]
    if len(usable) < size:
        raise ValueError(
            f"replay.num_frames = {size}, but replay_pool has {len(usable)} frames of the potential's elements "
            f"(of {len(pool)}): ask for fewer, or give a larger pool"
        )
    chosen = np.random.default_rng(seed).choice(len(usable), size=size, replace=False)
    return [usable[index] for index in sorted(chosen)]


def _crystal(symbols: Sequence[str], rng: np.random.Generator) -> Atoms:
    binary = len(symbols) > 1 and rng.random() < 0.6
    if binary:
        first, second = (str(symbol) for symbol in rng.choice(symbols, size=2, replace=False))
        name = str(rng.choice(sorted(_BINARY)))
        a = _BINARY[name] * (_radius(first) + _radius(second))
        atoms = bulk(first + second, name, a=a, cubic=True)
    else:
        symbol = str(rng.choice(symbols))
        name = str(rng.choice(sorted(_ELEMENTAL)))
        atoms = bulk(symbol, name, a=_ELEMENTAL[name] * _radius(symbol), cubic=True)
    strain = rng.uniform(-_MAX_STRAIN, _MAX_STRAIN, size=(3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    atoms.positions += rng.normal(scale=_RATTLE, size=atoms.positions.shape)
    atoms.info = {keys.CONFIG_TYPE: f"replay_{name}"}
    return atoms


def _radius(symbol: str) -> float:
    return float(covalent_radii[atomic_numbers[symbol]])
