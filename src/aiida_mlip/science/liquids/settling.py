"""Rid a box of close contacts without touching a molecule: each is moved and turned as a rigid body.

The energy is a soft repulsion of atoms of different molecules, periodic images included:

    U = 1/2 sum over pairs (d_ij - r_ij)^2 for r_ij < d_ij,   d_ij = max(smallest, share (R_i + R_j)),

in Å^2, with the van der Waals radii R of Alvarez, Dalton Trans. 42, 8617 (2013); pairs with a single ion have
d_ij = smallest, since ions are coordinated. It is zero where no contact is too close. Each molecule has six degrees of
freedom: the displacement of its centre, and a rotation vector that turns its atoms about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data.vdw_alvarez import vdw_radii
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from aiida_mlip.science.contacts import pairs_within
from aiida_mlip.science.liquids.molecules import IONS, Molecule, find_molecules

Array = NDArray[np.float64]

_FAR = 6.0
"""Contacts are looked for within this distance [Å]."""

_UNKNOWN_RADIUS = 2.0
"""Of elements without a van der Waals radius [Å]."""

_GOOD_ENOUGH = 1e-9
"""Minimisation ends where the repulsion [Å^2] falls by less than this share in a step."""


@dataclass(frozen=True)
class Settled:
    """A box whose molecules were moved apart.

    ``before`` and ``after``: closest contact of two molecules [Å], infinite where there is none within 6 Å;
    ``moved``: root mean square displacement of the atoms [Å]; ``repulsion``: what is left of U [Å^2], zero where every
    contact is as wide as was asked for; ``kept``: whether the same molecules are found afterwards.
    """

    atoms: Atoms
    before: float
    after: float
    moved: float
    repulsion: float
    kept: bool


def settle(
    atoms: Atoms,
    molecules: Sequence[Molecule] | None = None,
    *,
    smallest: float = 2.0,
    share: float = 0.75,
    max_steps: int = 500,
) -> Settled:
    """Return the box with its molecules moved and turned until they no longer overlap.

    Distances within molecules stay as they are. Molecules come out in one piece, those of a box that is periodic in
    three directions with their centres in the cell.

    :param atoms: at least two molecules; not changed.
    :param molecules: all of them; None: they are found by their bonds. Give them where contacts may be so close that
        molecules would be taken for bonded.
    :param smallest: distance [Å] below which no two atoms of different molecules should be.
    :param share: of the sum of van der Waals radii, likewise; 0: only ``smallest`` counts.
    :raises ValueError: where there are no molecules.
    """
    whole = find_molecules(atoms) if molecules is None else list(molecules)
    if not whole:
        raise ValueError(
            "box: no molecules are found, atoms are bonded to their own images or not at all: give a molecular liquid"
        )
    bodies = RigidBodies(atoms, whole, smallest, share)
    start = np.zeros(6 * len(whole))
    before = closest_between(atoms, whole)
    options = {"maxiter": max_steps, "maxfun": 2 * max_steps, "ftol": _GOOD_ENOUGH, "gtol": 1e-7}
    found = minimize(bodies.repulsion, start, jac=True, method="L-BFGS-B", options=options)
    positions = bodies.positions(found.x)
    moved = float(np.sqrt(np.mean(np.sum((positions - bodies.positions(start)) ** 2, axis=1))))
    settled = atoms.copy()
    settled.positions = _centred(atoms, positions, whole)
    intact = [Molecule(one.indices, np.zeros_like(one.offsets), one.kind) for one in whole]
    after = closest_between(settled, intact)
    return Settled(settled, before, after, moved, float(found.fun), same_molecules(settled, whole))


def closest_between(atoms: Atoms, molecules: Sequence[Molecule]) -> float:
    """Return the smallest distance of two atoms of different molecules [Å], images of one molecule included.

    :param molecules: all of them; they say which atoms belong together, and across which boundaries.
    """
    owner, offsets = _owners(atoms, molecules)
    i, j, shifts, distance = pairs_within("ijSd", atoms, _FAR)
    apart = (owner[i] != owner[j]) | (shifts + offsets[i] - offsets[j]).any(axis=1)
    return float(distance[apart].min()) if apart.any() else float("inf")


def same_molecules(atoms: Atoms, molecules: Sequence[Molecule]) -> bool:
    """Return whether the molecules that are found by their bonds are these, atom by atom, with these bonds."""
    found = find_molecules(atoms)
    return _signature(found or []) == _signature(molecules)


class RigidBodies:
    """Molecules of a box as rigid bodies, and the repulsion between them.

    Variables: for each molecule the displacement of its centre of mass [Å], then for each its rotation vector [rad];
    shape (6 n,).

    :param molecules: all of the box.
    :param smallest: of the distances d_ij [Å].
    :param share: of van der Waals radii in the distances d_ij.
    """

    def __init__(self, atoms: Atoms, molecules: Sequence[Molecule], smallest: float, share: float) -> None:
        self.owner, _ = _owners(atoms, molecules)
        self.centres = np.array([molecule.centre(atoms) for molecule in molecules])
        self.arms = np.empty((len(atoms), 3))
        for number, molecule in enumerate(molecules):
            self.arms[molecule.indices] = molecule.positions(atoms) - self.centres[number]
        radii = share * np.nan_to_num(vdw_radii[atoms.numbers], nan=_UNKNOWN_RADIUS)
        radii[np.isin(atoms.numbers, list(IONS))] = -np.inf
        self.radii, self.smallest = radii, smallest
        self.reach = max(smallest, 2 * float(radii.max()))
        self.frame = Atoms(numbers=atoms.numbers, cell=atoms.cell, pbc=atoms.pbc)

    def positions(self, x: Array) -> Array:
        """Return the positions of all atoms [Å], shape (n atoms, 3), molecules in one piece."""
        moves, turns = x.reshape(2, -1, 3)
        return np.asarray((self.centres + moves)[self.owner] + self._turned(turns))

    def repulsion(self, x: Array) -> tuple[float, Array]:
        """Return U [Å^2] and its gradient, shape (6 n,)."""
        moves, turns = x.reshape(2, -1, 3)
        arms = self._turned(turns)
        self.frame.positions = (self.centres + moves)[self.owner] + arms
        i, j, shifts, vectors = pairs_within("ijSD", self.frame, self.reach)
        wanted = np.maximum(self.smallest, self.radii[i] + self.radii[j])
        distance = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
        close = ((self.owner[i] != self.owner[j]) | shifts.any(axis=1)) & (distance < wanted)
        i, overlap = i[close], (wanted - distance)[close]
        slope = np.zeros_like(arms)  # each pair is listed twice: this is the whole gradient of atom i
        np.add.at(slope, i, overlap[:, None] * vectors[close] / distance[close, None])
        gradient = np.zeros((2, len(self.centres), 3))
        np.add.at(gradient[0], self.owner, slope)
        np.add.at(gradient[1], self.owner, np.cross(arms, slope))
        gradient[1] = np.einsum("nji,nj->ni", _left_jacobian(turns), gradient[1])
        return 0.25 * float(np.sum(overlap**2)), gradient.ravel()

    def _turned(self, turns: Array) -> Array:
        matrices = Rotation.from_rotvec(turns).as_matrix()
        return np.asarray(np.einsum("nij,nj->ni", matrices[self.owner], self.arms))


def _left_jacobian(turns: Array) -> Array:
    """Return J with R(t + dt) = R(J dt) R(t) to first order, for rotation vectors t, shape (n, 3, 3).

    Source: Chirikjian, Stochastic Models, Information Theory, and Lie Groups 2 (2012), eq. 10.86.
    """
    angle = np.linalg.norm(turns, axis=1)[:, None, None]
    cross = np.zeros((len(turns), 3, 3))
    x, y, z = turns.T
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -z, y, -x
    cross -= cross.transpose(0, 2, 1)
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    second = np.where(small, 1 / 6 - angle**2 / 120, (safe - np.sin(safe)) / safe**3)
    return np.asarray(np.eye(3) + first * cross + second * cross @ cross)


def _centred(atoms: Atoms, positions: Array, molecules: Sequence[Molecule]) -> Array:
    """Return the positions with the centre of each molecule in the cell, where the box is periodic."""
    if not atoms.pbc.all():
        return positions
    masses, placed = atoms.get_masses(), positions.copy()
    for molecule in molecules:
        weights = masses[molecule.indices]
        centre = weights @ positions[molecule.indices] / weights.sum()
        placed[molecule.indices] -= np.floor(atoms.cell.scaled_positions(centre)) @ atoms.cell.array
    return placed


def _owners(atoms: Atoms, molecules: Sequence[Molecule]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each atom its molecule, shape (n,), and the cells by which it is moved to it, shape (n, 3)."""
    owner = np.full(len(atoms), -1, dtype=np.int64)
    offsets = np.zeros((len(atoms), 3), dtype=np.int64)
    for number, molecule in enumerate(molecules):
        owner[molecule.indices] = number
        offsets[molecule.indices] = molecule.offsets
    if (owner < 0).any():
        raise ValueError(f"molecules: atom {int(np.argmin(owner))} of the box is in none of them: give all molecules")
    return owner, offsets


def _signature(molecules: Sequence[Molecule]) -> list[tuple[tuple[int, ...], str]]:
    return sorted((tuple(molecule.indices.tolist()), molecule.kind) for molecule in molecules)
