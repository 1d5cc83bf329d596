"""Single molecules and pairs of them, cut out of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from aiida_mlip.science.contacts import neighbours
from aiida_mlip.science.liquids.molecules import IONS, Molecule

Array = NDArray[np.float64]

_REACH = 4.0
"""Pairs of molecules are looked for within this multiple of the sum of covalent radii: 6 Å for two carbon atoms."""


def placed(numbers: NDArray[np.int64], positions: Array, gap: float | None) -> Atoms:
    """Return atoms alone in the world.

    :param gap: distance to the next periodic image along each axis [Å]; None: not periodic.
    """
    if gap is None:
        return Atoms(numbers=numbers, positions=positions - positions.mean(axis=0))
    low, high = positions.min(axis=0), positions.max(axis=0)
    return Atoms(numbers=numbers, positions=positions - low + gap / 2, cell=high - low + gap, pbc=True)


def single(atoms: Atoms, molecule: Molecule, gap: float | None) -> Atoms:
    """Return one molecule as it is in the configuration."""
    return placed(atoms.numbers[molecule.indices], molecule.positions(atoms), gap)


def pairs(atoms: Atoms, molecules: Sequence[Molecule]) -> Iterator[tuple[Molecule, Molecule, Array]]:
    """Yield pairs of molecules that touch, the closest contact (in units of covalent radii) first.

    Each pair is two molecules and the vector [Å] that moves the second, in one piece, to the image that touches.
    """
    owner = np.empty(len(atoms), dtype=int)
    offsets = np.empty((len(atoms), 3), dtype=int)
    for number, molecule in enumerate(molecules):
        owner[molecule.indices] = number
        offsets[molecule.indices] = molecule.offsets
    i, j, shifts, distance = neighbours("ijSd", atoms, _REACH)
    images = shifts + offsets[i] - offsets[j]
    apart = (owner[i] < owner[j]) | ((owner[i] == owner[j]) & [tuple(image) > (0, 0, 0) for image in images.tolist()])
    ratio = distance / _radii(atoms, i, j)
    order = sorted(np.flatnonzero(apart).tolist(), key=lambda k: (round(float(ratio[k]), 9), int(i[k]), int(j[k])))
    seen = set()
    for k in order:
        key = (int(owner[i[k]]), int(owner[j[k]]), tuple(images[k].tolist()))
        if key not in seen:
            seen.add(key)
            yield molecules[key[0]], molecules[key[1]], np.asarray(images[k] @ atoms.cell.array)


def _radii(atoms: Atoms, i: NDArray[np.int64], j: NDArray[np.int64]) -> Array:
    radii: Array = covalent_radii[atoms.numbers]
    return radii[i] + radii[j]


def dimer(atoms: Atoms, pair: tuple[Molecule, Molecule, Array], apart: float, gap: float | None) -> Atoms:
    """Return two molecules as they are in the configuration.

    :param pair: of :func:`pairs`.
    :param apart: how far the second is moved away along the line of the centres of mass [Å].
    """
    one, other, image = pair
    line = other.centre(atoms) + image - one.centre(atoms)
    shift = image + apart * line / max(float(np.linalg.norm(line)), 1e-12)
    positions = np.vstack([one.positions(atoms), other.positions(atoms) + shift])
    return placed(np.concatenate([atoms.numbers[one.indices], atoms.numbers[other.indices]]), positions, gap)


def neutral_pair(atoms: Atoms, one: Molecule, other: Molecule) -> bool:
    """Return whether two molecules make sense without charges: both closed shells, or an ion with its counter-ion.

    A molecule with an odd number of electrons (PF6) is an ion where it was found, or a radical; alone and neutral it
    would be labelled as something else. With one atom of an odd alkali metal it is an ion pair.
    """
    closed = [molecule.closed_shell(atoms) for molecule in (one, other)]
    sizes = [len(molecule.indices) for molecule in (one, other)]
    if all(closed):
        return min(sizes) > 1
    ions = [size == 1 and int(atoms.numbers[m.indices[0]]) in IONS for size, m in zip(sizes, (one, other), strict=True)]
    return not any(closed) and sum(ions) == 1
