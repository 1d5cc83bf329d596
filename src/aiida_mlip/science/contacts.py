"""Pairs of atoms that are near each other, measured by their covalent radii."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray


def pairs_within(quantities: str, atoms: Atoms, cutoff: Any) -> Any:
    """Return pairs of atoms within a cut-off, periodic images included.

    Where the cell lacks vectors, unit vectors stand in, which no pair crosses: matscipy wants a cell with a volume.

    :param quantities: what to return of each pair, as in :func:`ase.neighborlist.neighbor_list`: ``i``, ``j``, ``d``
        (distance [Å]), ``D`` (vector [Å]), ``S`` (cells that the pair reaches across).
    :param cutoff: one distance [Å], or a radius for each atom, shape (n,).
    """
    cell = atoms.cell.complete().array
    return neighbour_list(quantities, positions=atoms.positions, cell=cell, pbc=atoms.pbc, cutoff=cutoff)


def neighbours(quantities: str, atoms: Atoms, scale: float) -> Any:
    """Return pairs of atoms nearer than ``scale`` times the sum of their covalent radii, periodic images included.

    :param quantities: as in :func:`pairs_within`.
    """
    return pairs_within(quantities, atoms, scale * covalent_radii[atoms.numbers])


def closest_contact(atoms: Atoms, within: float = 1.0) -> float:
    """Return the smallest distance of two atoms over the sum of their covalent radii.

    Radii: Cordero et al., Dalton Trans. 2008, 2832. It is infinite where no pair is nearer than ``within``.
    """
    i, j, distance = neighbours("ijd", atoms, within)
    if not len(distance):
        return float("inf")
    radii: NDArray[np.float64] = covalent_radii[atoms.numbers]
    return float(np.min(distance / (radii[i] + radii[j])))
