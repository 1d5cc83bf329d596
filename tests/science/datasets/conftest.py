"""A clean and varied data set, labelled with ASE's effective-medium potential, in cells without symmetry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron

from aiida_mlip.science import keys

LATTICE = {"Cu": 3.61, "Au": 4.08}
FLAT = {"Cu": 0.12, "Au": 0.10}


def label(atoms: Atoms, config_type: str, group: str = "") -> Atoms:
    """Return the frame with canonical labels of EMT."""
    work = atoms.copy()
    work.calc = EMT()
    done = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    done.info[keys.ENERGY] = work.get_potential_energy()
    done.arrays[keys.FORCES] = work.get_forces()
    if atoms.pbc.all():
        done.info[keys.STRESS] = work.get_stress()
    done.info[keys.CONFIG_TYPE] = config_type
    if group:
        done.info[keys.GROUP] = group
    return done


def strained(atoms: Atoms, size: float, rng: np.random.Generator) -> Atoms:
    """Return the cell deformed by a random, asymmetric strain."""
    deformed = atoms.copy()
    deformed.set_cell(deformed.cell.array @ (np.eye(3) + rng.normal(scale=size, size=(3, 3))), scale_atoms=True)
    return deformed


def alloy(rng: np.random.Generator) -> Atoms:
    """Return a disordered Cu-Au cell near its own density."""
    fraction = rng.uniform(0.1, 0.9)
    a = fraction * LATTICE["Au"] + (1 - fraction) * LATTICE["Cu"]
    atoms = bulk("Cu", "fcc", a=a, cubic=True) * (2, 2, 1)
    atoms.numbers[rng.permutation(len(atoms))[: max(1, round(fraction * len(atoms)))]] = 79
    return atoms


def make_clean(seed: int = 7) -> list[Atoms]:
    """Return about 150 frames: strains, alloys, surfaces, vacancies, hot cells, clusters, volumes, isolated atoms."""
    rng = np.random.default_rng(seed)
    frames: list[Atoms] = [label(Atoms(s, cell=[12, 13, 14], pbc=True), "IsolatedAtom") for s in LATTICE]
    for metal, a in LATTICE.items():
        cube = bulk(metal, "fcc", a=a, cubic=True)
        for scale in np.linspace(0.94, 1.07, 9):
            cell = cube.copy()
            cell.set_cell(cell.cell.array * scale, scale_atoms=True)
            frames.append(label(cell, "volumes", f"volumes-{metal}"))
        for _ in range(12):
            atoms = strained(cube * (2, 1, 1), 0.03, rng)
            atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
            frames.append(label(atoms, "strained"))
        for _ in range(10):
            atoms = cube * (2, 2, 1)
            del atoms[int(rng.integers(len(atoms)))]
            atoms.positions += rng.normal(scale=FLAT[metal], size=atoms.positions.shape)
            frames.append(label(atoms, "vacancy"))
        for _ in range(10):
            slab = fcc111(metal, (2, 2, 4), a=a, vacuum=6.0, periodic=False)
            slab.pbc = (True, True, False)
            slab.positions += rng.normal(scale=0.06, size=slab.positions.shape)
            frames.append(label(slab, "surface"))
        for _ in range(8):
            cluster = Icosahedron(metal, 2, latticeconstant=a)
            cluster.positions += rng.normal(scale=0.08, size=cluster.positions.shape)
            cluster.center(vacuum=5.0)
            cluster.pbc = False
            frames.append(label(cluster, "cluster"))
    for _ in range(30):
        atoms = strained(alloy(rng), 0.02, rng)
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        frames.append(label(atoms, "alloy"))
    for _ in range(12):
        atoms = strained(alloy(rng), 0.01, rng)
        atoms.positions += rng.normal(scale=0.25, size=atoms.positions.shape)
        frames.append(label(atoms, "hot"))
    return frames


_CLEAN = make_clean()


@pytest.fixture
def clean() -> list[Atoms]:
    """Return a copy of the clean set."""
    return [atoms.copy() for atoms in _CLEAN]


@pytest.fixture
def of_type() -> Callable[[list[Atoms], str], list[int]]:
    """Return the function that finds the frames of a configuration type."""
    return lambda frames, name: [i for i, atoms in enumerate(frames) if atoms.info[keys.CONFIG_TYPE] == name]
