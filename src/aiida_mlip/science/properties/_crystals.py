"""Cubic crystals of one element that have no free parameter but the lattice constant, and how to strain them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from numpy.typing import ArrayLike

from aiida_mlip.science.keys import CONFIG_TYPE

Structure = Literal["bcc", "fcc", "sc", "diamond", "A15"]

ATOMS_PER_CUBIC_CELL: dict[Structure, int] = {"bcc": 2, "fcc": 4, "sc": 1, "diamond": 8, "A15": 8}

_A15_SITES = [
    (0, 0, 0), (0.5, 0.5, 0.5), (0.25, 0, 0.5), (0.75, 0, 0.5),
    (0.5, 0.25, 0), (0.5, 0.75, 0), (0, 0.5, 0.25), (0, 0.5, 0.75),
]  # fmt: skip
"""Wyckoff positions 2a and 6c of space group 223."""


def check_element(symbol: str) -> str:
    """Return ``symbol`` if it is a chemical element.

    :raises ValueError: where it is not.
    """
    if symbol not in atomic_numbers or symbol == "X":
        raise ValueError("is not a chemical symbol: write it like 'W'")
    return symbol


def cubic_cell(element: str, structure: Structure, a: float) -> Atoms:
    """Return the conventional cubic cell with lattice constant ``a`` [Å]."""
    if structure == "A15":
        return Atoms([element] * 8, scaled_positions=_A15_SITES, cell=[a, a, a], pbc=True)
    return bulk(element, structure, a=a, cubic=True)


def primitive_cell(element: str, structure: Structure, a: float) -> Atoms:
    """Return the primitive cell with lattice constant ``a`` [Å] of the conventional cubic cell."""
    atoms = cubic_cell(element, structure, a) if structure == "A15" else bulk(element, structure, a=a)
    atoms.info[CONFIG_TYPE] = f"bulk_{structure}"
    return atoms


def nearest_neighbour(element: str, structure: Structure, a: float) -> float:
    """Return the distance of nearest neighbours [Å]."""
    atoms = cubic_cell(element, structure, a) * (2, 2, 2)
    return float(np.min(atoms.get_distances(0, range(1, len(atoms)), mic=True)))


def guess_volume(element: str) -> float:
    """Return a rough volume per atom [Å^3], to start a relaxation from: ASE's table, or else close-packed spheres."""
    number = atomic_numbers[element]
    state = reference_states[number] or {}
    a, c = state.get("a"), state.get("c/a")
    volumes = {"bcc": 1 / 2, "fcc": 1 / 4, "sc": 1.0, "diamond": 1 / 8}
    if a and state["symmetry"] in volumes:
        return float(a**3 * volumes[state["symmetry"]])
    if a and c and state["symmetry"] == "hcp":
        return float(a**3 * c * np.sqrt(3) / 4)
    return float((2 * covalent_radii[number]) ** 3 / np.sqrt(2))


def lattice_constant_from_volume(structure: Structure, volume: float) -> float:
    """Return the lattice constant [Å] at ``volume`` per atom [Å^3]."""
    return float((volume * ATOMS_PER_CUBIC_CELL[structure]) ** (1 / 3))


def strain_matrix(strain: ArrayLike) -> np.ndarray:
    """Return the symmetric matrix (3, 3) of a strain (6,) in Voigt order with engineering shears."""
    xx, yy, zz, yz, xz, xy = np.asarray(strain, dtype=float)
    return np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])


def strained(atoms: Atoms, strain: ArrayLike) -> Atoms:
    """Return a copy deformed by 1 + strain; ``strain`` is (6,) in Voigt order with engineering shears."""
    deformed = atoms.copy()
    deformed.set_cell(atoms.cell.array @ (np.eye(3) + strain_matrix(strain)), scale_atoms=True)
    return deformed
