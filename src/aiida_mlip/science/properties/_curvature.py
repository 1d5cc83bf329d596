"""The softest mode of a stationary point from a few force calls: saddle, or minimum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

from aiida_mlip.science.properties._base import Report

Array = NDArray[np.float64]

STEP = 0.02
"""Norm of the displacement of all atoms in the finite differences [Å]."""


@dataclass(frozen=True)
class Mode:
    """The softest mode that was found.

    :param curvature: second derivative of the energy along it, an upper bound of the lowest one [eV/Å^2].
    :param vector: unit vector, shape (n, 3).
    :param first: curvature along the direction from which the search started [eV/Å^2].
    """

    curvature: float
    vector: Array
    first: float


def without_shift(vectors: Array) -> Array:
    """Return displacements, shape (n, 3), without a shift of all atoms."""
    return np.asarray(vectors - vectors.mean(axis=0), dtype=float)


def softest_mode(
    atoms: Atoms,
    direction: Array,
    *,
    report: Report,
    stage: str,
    project: Callable[[Array], Array] = without_shift,
    max_calls: int = 12,
    enough: float | None = None,
) -> Mode:
    """Return the softest mode of ``atoms`` (which has a calculator) by the method of Lanczos.

    One force call for each product of Hessian and vector, by one-sided differences. The search ends where the
    curvature is surely negative, or known well. Each curvature is that of a vector, so a negative one proves that the
    structure is no minimum; a positive one says that no soft mode was found.

    :param direction: to start from, shape (n, 3); the closer to the softest mode, the fewer calls.
    :param enough: a curvature below which the search ends at once [eV/Å^2]; None: it goes on until it is known well.
    :param project: onto the displacements that count, e.g. those of one symmetry.
    """
    moved = atoms.copy()
    moved.calc = atoms.calc
    moved.set_constraint()
    here = project(_forces(moved))
    origin = atoms.positions.copy()
    basis = [_unit(project(direction))]
    diagonal: list[float] = []
    off: list[float] = []
    value, weights = 0.0, np.ones(1)
    for call in range(max_calls):
        report(stage, call, max_calls)
        moved.positions = origin + STEP * basis[-1]
        product = (here - project(_forces(moved))) / STEP
        diagonal.append(float(np.vdot(basis[-1], product)))
        values, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off))
        value, weights = float(values[0]), vectors[:, 0]
        for vector in basis:
            product = product - np.vdot(vector, product) * vector
        size = float(np.linalg.norm(product))
        error = size * abs(float(weights[-1]))
        if size < 1e-3 or error < 0.3 * abs(value) or (enough is not None and value < enough):
            break
        basis.append(_unit(project(product)))
        off.append(size)
    vector = sum((w * v for w, v in zip(weights, basis, strict=False)), np.zeros_like(direction))
    return Mode(curvature=value, vector=_unit(np.asarray(vector)), first=diagonal[0])


def _forces(atoms: Atoms) -> Array:
    return np.asarray(atoms.get_forces(), dtype=float)


def _unit(vector: Array) -> Array:
    norm = float(np.linalg.norm(vector))
    if norm == 0:
        raise ValueError("the direction is zero, or forbidden by the symmetry")
    return np.asarray(vector / norm, dtype=float)
