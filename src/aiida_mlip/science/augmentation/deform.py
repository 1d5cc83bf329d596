"""Changes of a configuration: displaced atoms, strained cells, other volumes. Molecules stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science.liquids.molecules import Molecule

Array = NDArray[np.float64]


def bare(atoms: Atoms) -> Atoms:
    """Return a copy with elements, positions, cell and periodicity only: labels are of the old geometry."""
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def rattled(atoms: Atoms, amplitude: float, rng: np.random.Generator) -> Atoms:
    """Return a copy whose atoms are displaced at random.

    :param amplitude: standard deviation of each component of a displacement [Å].
    """
    moved = bare(atoms)
    moved.positions += rng.normal(scale=amplitude, size=moved.positions.shape)
    return moved


def deformed(atoms: Atoms, gradient: Array, molecules: Sequence[Molecule] | None = None) -> Atoms:
    """Return a copy with another cell: rows of the new cell are those of the old one times ``gradient``.

    :param gradient: deformation gradient, shape (3, 3), e.g. one plus a symmetric strain.
    :param molecules: all molecules of the configuration; where given, they are moved with their centres of mass and
        neither strained nor rotated, and come out in one piece. Otherwise all atoms are strained.
    """
    changed = bare(atoms)
    changed.set_cell(atoms.cell.array @ gradient, scale_atoms=False)
    if molecules is None:
        changed.positions = atoms.positions @ gradient
        return changed
    for molecule in molecules:
        shift = molecule.centre(atoms) @ (gradient - np.eye(3))
        changed.positions[molecule.indices] = molecule.positions(atoms) + shift
    return changed


def random_strain(rng: np.random.Generator, largest: float) -> Array:
    """Return a symmetric strain, shape (3, 3): principal strains even within ±``largest``, their axes at random."""
    rotation, triangle = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation = rotation * np.sign(np.diag(triangle))  # every orientation alike: Mezzadri, Notices AMS 54, 592 (2007)
    strain = (rotation * rng.uniform(-largest, largest, size=3)) @ rotation.T
    return np.asarray(0.5 * (strain + strain.T))


def within_periodic(strain: Array, atoms: Atoms) -> Array:
    """Return the part of a strain, shape (3, 3), that lies in the directions in which a configuration is periodic."""
    vectors = atoms.cell.array[atoms.pbc]
    if not len(vectors):
        return np.zeros((3, 3))
    axes, _ = np.linalg.qr(vectors.T)
    projector = axes @ axes.T
    return np.asarray(projector @ strain @ projector)
