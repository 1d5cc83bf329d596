"""Kinetic energy of molecules in three parts: translation, rotation, vibration.

With momenta p_i = m_i v_i, the parts are those of :mod:`aiida_mlip.science.liquids.rigid_motion`, written for momenta:
translation P^2/2M, rotation L I^-1 L / 2 with the angular momentum L about the centre of mass, vibration the rest. The
momenta of a canonical ensemble do not depend on the positions, so each part has kT/2 for each of its degrees of
freedom, whatever the shape of the molecule at that instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from aiida_mlip.science.liquids.bond_graph import bonds_of
from aiida_mlip.science.liquids.molecules import Molecule

Array = NDArray[np.float64]

PARTS = ("trans", "rot", "vib")

_NO_INERTIA = 1e-6
"""Moments of inertia below this share of the largest one are none: those of a linear molecule."""

_EV = 1 / float(units.fs) ** 2
"""1 u Å^2/fs^2 in eV."""


@dataclass(frozen=True)
class KineticParts:
    """Of each molecule: energies [eV] and degrees of freedom of translation, rotation, vibration, shapes (m, 3).

    Degrees of freedom of a motion that a molecule does not have are 0.
    """

    energies: Array
    freedom: Array


class Wholes:
    """Puts the molecules of the start together in each frame, wherever the cell cuts them.

    Each atom is placed next to the atom it was bonded to at the start, at its nearest image. That is right while bonds
    are shorter than half the distance of opposite faces of the cell.
    """

    def __init__(self, start: Atoms, molecules: Sequence[Molecule]) -> None:
        neighbours: dict[int, list[int]] = {atom: [] for atom in range(len(start))}
        for first, second in bonds_of(start):
            neighbours[first].append(second)
            neighbours[second].append(first)
        self._levels: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        reached = {int(molecule.indices[0]) for molecule in molecules}
        parents = sorted(reached)
        while parents:
            links = {child: parent for parent in parents for child in neighbours[parent] if child not in reached}
            reached |= set(links)
            if links:
                children = sorted(links)
                self._levels.append((np.array([links[child] for child in children]), np.array(children)))
            parents = sorted(links)

    def positions(self, frame: Atoms) -> Array:
        """Return positions in which each molecule is in one piece [Å], shape (n, 3)."""
        positions = np.array(frame.positions)
        cell = frame.cell.complete().array
        inverse = np.linalg.inv(cell)
        for parents, children in self._levels:
            links = (positions[children] - positions[parents]) @ inverse
            links -= np.round(links) * frame.pbc
            positions[children] = positions[parents] + links @ cell
        return positions


class KineticSplit:
    """Splits the kinetic energy of the molecules of the start, frame by frame."""

    def __init__(self, start: Atoms, molecules: Sequence[Molecule]) -> None:
        self._wholes = Wholes(start, molecules)
        self._order = np.concatenate([molecule.indices for molecule in molecules])
        self._sizes = np.array([len(molecule.indices) for molecule in molecules])
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]])
        self._masses = start.get_masses()[self._order][:, None]
        self._weights = np.add.reduceat(self._masses, self._starts)

    def of(self, frame: Atoms, velocities: Array) -> KineticParts:
        """Return the parts of one frame.

        The centre of mass of the box is at rest, which takes three degrees of freedom from the translations, in
        proportion to the masses: a molecule of mass M has 3 (1 - M/M_box).

        :param velocities: [Å/fs], shape (n, 3).
        """
        positions, v = self._wholes.positions(frame)[self._order], velocities[self._order]
        total = np.add.reduceat(0.5 * self._masses * v**2, self._starts).sum(axis=1)
        momenta = np.add.reduceat(self._masses * v, self._starts)
        trans = (momenta**2).sum(axis=1) / (2 * self._weights[:, 0])
        centres = np.add.reduceat(self._masses * positions, self._starts) / self._weights
        arms = positions - np.repeat(centres, self._sizes, axis=0)
        spin = np.add.reduceat(self._masses * np.cross(arms, v), self._starts)
        rot, axes = self._rotation(arms, spin)
        energies = np.column_stack([trans, rot, total - trans - rot]) * _EV
        share = 3 * (1 - self._weights[:, 0] / self._weights.sum())
        freedom = np.column_stack([share, axes, 3.0 * self._sizes - 3 - axes])
        return KineticParts(energies, freedom)

    def _rotation(self, arms: Array, spin: Array) -> tuple[Array, Array]:
        """Return energies of rotation [u Å^2/fs^2] and numbers of axes with inertia, shapes (m,)."""
        squares = np.add.reduceat(self._masses[:, 0] * (arms**2).sum(axis=1), self._starts)
        outer = np.add.reduceat(self._masses[:, :, None] * arms[:, :, None] * arms[:, None, :], self._starts)
        moments, directions = np.linalg.eigh(squares[:, None, None] * np.eye(3) - outer)
        turns = moments > _NO_INERTIA * np.maximum(moments[:, -1:], 1e-12)
        along = np.einsum("mij,mi->mj", directions, spin)
        energies = np.where(turns, along**2 / np.where(turns, 2 * moments, 1.0), 0.0).sum(axis=1)
        return energies, turns.sum(axis=1).astype(float)


def temperatures(energies: Array, freedom: Array) -> Array:
    """Return 2 E / (f k) [K]; NaN where there is no degree of freedom."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(freedom > 1e-9, 2 * energies / (freedom * float(units.kB)), np.nan))
