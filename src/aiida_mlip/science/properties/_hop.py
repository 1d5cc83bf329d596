"""A hop of an atom into a neighbouring vacancy: end states, midpoint, and the inversion that maps one on the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixConstraint
from ase.geometry import find_mic
from numpy.typing import NDArray

from aiida_mlip.science.properties._crystals import Structure
from aiida_mlip.science.properties.vacancy import vacancy_cell

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Hop:
    """The ideal hop of one atom.

    The vacancy is at the origin, and the atom comes from ``vector``: a/2 <111> in bcc, a/2 <110> in fcc. The inversion
    at half of the vector maps the beginning on the end.

    :param sites: the vacancy before the hop, all atoms on lattice sites.
    :param atom: index of the atom that hops.
    :param vector: its site before the hop, seen from the vacancy [Å], shape (3,).
    :param partner: index of the atom that the inversion puts on the place of each, shape (n,).
    """

    sites: Atoms
    atom: int
    vector: Array
    partner: NDArray[np.int_]

    def final(self, initial: Atoms) -> Atoms:
        """Return the state after the hop that belongs to ``initial``, without calculator; no force call is needed."""
        moved, _ = find_mic(initial.positions - self.sites.positions, self.sites.cell, self.sites.pbc)
        after = self.sites.copy()
        after.positions[self.atom] -= self.vector
        after.positions -= moved[self.partner]
        return after

    def midpoint(self, initial: Atoms) -> Atoms:
        """Return the mean of the states before and after: the atom is halfway, and the inversion changes nothing."""
        final = self.final(initial)
        step, _ = find_mic(initial.positions - self.sites.positions, self.sites.cell, self.sites.pbc)
        middle = self.sites.copy()
        start = self.sites.positions + step
        middle.positions = (start + final.positions) / 2
        return middle

    def even(self, vectors: Array) -> Array:
        """Return the part of displacements or forces, shape (n, 3), that the inversion does not change."""
        return np.asarray((vectors - vectors[self.partner]) / 2, dtype=float)

    def odd(self, vectors: Array) -> Array:
        """Return the part of displacements or forces, shape (n, 3), that the inversion reverses, without a shift."""
        part = (vectors + vectors[self.partner]) / 2
        return np.asarray(part - part.mean(axis=0), dtype=float)


class KeepInversion(FixConstraint):
    """Keeps the inversion symmetry of the midpoint of a hop; a saddle along the hop is a minimum under it."""

    def __init__(self, hop: Hop) -> None:
        self.hop = hop

    def adjust_positions(self, atoms: Atoms, new: Array) -> None:
        """Keep the even part of a step."""
        new[:] = atoms.positions + self.hop.even(new - atoms.positions)

    def adjust_forces(self, atoms: Atoms, forces: Array) -> None:  # noqa: ARG002
        """Keep the even part of the forces."""
        forces[:] = self.hop.even(forces)

    def get_removed_dof(self, atoms: Atoms) -> int:
        """Return the number of odd degrees of freedom: half of all, and all of the atom that hops."""
        return 3 * (len(atoms) + 1) // 2

    def todict(self) -> dict[str, Any]:
        """Return a description for ASE."""
        return {"name": "KeepInversion", "kwargs": {}}


def nearest_hop(element: str, structure: Structure, a: float, size: int) -> Hop:
    """Return the hop of a nearest neighbour, the one with the largest sum of coordinates, into the vacancy.

    :param a: lattice constant [Å].
    :param size: cubic cells along each edge.
    """
    sites = vacancy_cell(element, structure, a, size)
    vectors, lengths = find_mic(sites.positions, sites.cell, sites.pbc)
    near = np.flatnonzero(lengths < lengths.min() + 1e-3)
    atom = int(max(near, key=lambda index: tuple(np.round([vectors[index].sum(), *vectors[index]], 6))))
    vector = np.asarray(vectors[atom], dtype=float)
    return Hop(sites, atom, vector, _partners(sites, atom, vector))


def _partners(sites: Atoms, atom: int, vector: Array) -> NDArray[np.int_]:
    """Return for each site the one that the inversion at half of ``vector`` puts there."""
    partner = np.empty(len(sites), dtype=int)
    for index, position in enumerate(sites.positions):
        if index == atom:
            partner[index] = atom
            continue
        _, distances = find_mic(sites.positions - (vector - position), sites.cell, sites.pbc)
        partner[index] = int(np.argmin(distances))
        if distances.min() > 1e-3:
            raise ValueError("the hop has no inversion symmetry: only Bravais lattices are covered")
    return partner
