"""Forces on a molecule in three parts: those that move it, those that turn it, and those that deform it.

With masses m_i, M their sum, F the net force, T the net torque about the centre of mass, I the tensor of inertia and
r_i the positions from the centre of mass: f_trans,i = (m_i/M) F; f_rot,i = m_i (I^-1 T) x r_i; f_vib,i is the rest
(Magdău et al., npj Comput. Mater. 9, 146 (2023)). The three add up to the force; the vibrational part has neither net
force nor net torque. Linear molecules and single atoms have axes without inertia: there the pseudo-inverse of I is
taken, and the torque about such an axis, which is none, moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science.liquids.molecules import Molecule

Array = NDArray[np.float64]

_NO_INERTIA = 1e-6
"""Moments of inertia below this share of the largest one are none: those of a linear molecule."""


@dataclass(frozen=True)
class RigidParts:
    """Forces [eV/Å], shape (n, 3) each, that add up to the whole."""

    trans: Array
    rot: Array
    vib: Array


def inertia(masses: Array, arms: Array) -> Array:
    """Return the tensor of inertia [u Å^2], shape (3, 3).

    :param masses: [u], shape (n,).
    :param arms: positions from the centre of mass [Å], shape (n, 3).
    """
    squares = np.einsum("i,ij,ij->", masses, arms, arms)
    return np.asarray(squares * np.eye(3) - np.einsum("i,ij,ik->jk", masses, arms, arms))


def rigid_parts(masses: Array, positions: Array, forces: Array) -> RigidParts:
    """Return translation, rotation and vibration of the forces on one molecule.

    :param masses: [u], shape (n,).
    :param positions: of the molecule in one piece [Å], shape (n, 3).
    :param forces: [eV/Å], shape (n, 3).
    """
    weights = masses / masses.sum()
    arms = positions - weights @ positions
    trans = np.outer(weights, forces.sum(axis=0))
    torque = np.cross(arms, forces).sum(axis=0)
    turn = np.linalg.pinv(inertia(masses, arms), rcond=_NO_INERTIA, hermitian=True) @ torque
    rot = masses[:, None] * np.cross(turn, arms)
    return RigidParts(trans, rot, forces - trans - rot)


def net_force_and_torque(masses: Array, positions: Array, forces: Array) -> tuple[Array, Array]:
    """Return net force [eV/Å] and net torque about the centre of mass [eV], shapes (3,).

    Both vanish for a molecule in vacuum, whatever its geometry, since its energy does not change when it is moved or
    turned.
    """
    arms = positions - masses @ positions / masses.sum()
    return np.asarray(forces.sum(axis=0)), np.asarray(np.cross(arms, forces).sum(axis=0))


def split_forces(atoms: Atoms, molecules: Sequence[Molecule], forces: Array) -> RigidParts:
    """Return translation, rotation and vibration of the forces on all molecules of a configuration.

    :param molecules: all molecules; their atoms need not be in a row.
    :param forces: [eV/Å], shape (n, 3).
    """
    parts = RigidParts(*(np.full(forces.shape, np.nan) for _ in range(3)))
    masses = atoms.get_masses()
    for molecule in molecules:
        chosen = molecule.indices
        found = rigid_parts(masses[chosen], molecule.positions(atoms), forces[chosen])
        parts.trans[chosen], parts.rot[chosen], parts.vib[chosen] = found.trans, found.rot, found.vib
    return parts
