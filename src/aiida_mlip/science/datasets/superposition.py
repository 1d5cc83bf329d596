"""How far apart the atoms of two configurations are once one is laid over the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist

from aiida_mlip.science.datasets.environments import atomic_environments

Array = NDArray[np.float64]

Distances = Mapping[tuple[int, int], Array]

_RANGE = 7.0
_MARGIN = 0.98


@dataclass(frozen=True)
class Difference:
    """Root mean square and largest distance [Å] of equivalent atoms (or of sorted interatomic distances)."""

    rms: float
    largest: float


def same_order(one: Atoms, other: Atoms, strain: float) -> Difference | None:
    """Return the distances of atoms of equal index, after the best translation and, for molecules, rotation.

    :param one: a configuration.
    :param other: one with the same number of atoms.
    :param strain: largest component of the strain between the two cells that still counts as the same cell.
    :return: ``None`` where elements, periodicity or cells differ.
    """
    if not np.array_equal(one.numbers, other.numbers) or not np.array_equal(one.pbc, other.pbc):
        return None
    if not one.pbc.any():
        return _molecules(one.positions, other.positions)
    cell = np.array(_complete(one))
    deformation = np.linalg.solve(cell, np.array(_complete(other)))
    periodic = one.cell.array[one.pbc] @ (deformation - np.eye(3))
    if np.abs(periodic).max() > strain * np.linalg.norm(one.cell.array[one.pbc], axis=1).min():
        return None
    moved = np.linalg.solve(cell.T, one.positions.T).T
    difference = np.linalg.solve(np.array(_complete(other)).T, other.positions.T).T - moved
    difference -= difference[0]
    difference[:, one.pbc] -= np.round(difference[:, one.pbc])
    displacement = (difference - difference.mean(axis=0)) @ cell
    return _measure(displacement)


def _complete(atoms: Atoms) -> Array:
    cell = atoms.cell.array.copy()
    cell[~atoms.pbc] = 0.0
    return np.array(atoms.cell.new(cell).complete().array)


def _molecules(one: Array, other: Array) -> Difference:
    """Return the distances after the rotation of least squares (Kabsch, Acta Cryst. A 32, 922 (1976))."""
    first, second = one - one.mean(axis=0), other - other.mean(axis=0)
    if len(first) == 1:
        return Difference(0.0, 0.0)
    left, _, right = np.linalg.svd(second.T @ first)
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
    return _measure(first - second @ (left @ handed @ right))


def _measure(displacement: Array) -> Difference:
    lengths = np.linalg.norm(displacement, axis=1)
    return Difference(float(np.sqrt(np.mean(lengths**2))), float(lengths.max()))


def same_distances(one: Atoms, other: Atoms, first: Distances, second: Distances) -> Difference | None:
    """Return how much the sorted interatomic distances of each pair of elements differ.

    Blind to rotation, reflection, translation, order of atoms and choice of the periodic cell. All distances of
    non-periodic configurations are compared, those up to 7 Å of periodic ones.

    :param first: :func:`distances` of ``one``.
    :param second: :func:`distances` of ``other``.
    :return: ``None`` where elements, periodicity, density or the number of distances differ.
    """
    if len(one) != len(other) or not np.array_equal(np.sort(one.numbers), np.sort(other.numbers)):
        return None
    if one.pbc.all() != other.pbc.all() or one.pbc.any() != other.pbc.any():
        return None
    if one.pbc.all() and abs(one.get_volume() / other.get_volume() - 1.0) > 0.01:
        return None
    differences = []
    for pair in first.keys() | second.keys():
        a, b = first.get(pair, np.zeros(0)), second.get(pair, np.zeros(0))
        length = min(len(a), len(b))
        if max(len(a), len(b)) - length > max(0.05 * length, 2):
            return None
        kept = length if not one.pbc.any() else int(_MARGIN * length)
        differences.append(a[:kept] - b[:kept])
    joined = np.concatenate(differences) if differences else np.zeros(0)
    if not len(joined):
        return Difference(0.0, 0.0)
    return Difference(float(np.sqrt(np.mean(joined**2))), float(np.abs(joined).max()))


def same_environments(one: Atoms, other: Atoms, tolerance: float) -> float:
    """Return how much the environments of the best-matching atoms differ.

    1 is what moving the atoms by ``tolerance`` [Å, root mean square] does. Blind to rotation, reflection, translation,
    order of atoms and choice of the periodic cell; sees no further than the cut-off of the environments.

    :param one: a configuration.
    :param other: one with the same composition and number of atoms.
    """
    first, second = atomic_environments(one), atomic_environments(other)
    moved = one.copy()
    moved.positions += np.random.default_rng(0).normal(scale=tolerance / np.sqrt(3.0), size=one.positions.shape)
    change = atomic_environments(moved) - first
    scale = np.sqrt(np.mean(change**2, axis=0))
    scale = np.maximum(scale, 1e-6 + 1e-3 * scale.max(initial=0.0))
    total = 0.0
    for number in np.unique(one.numbers):
        matrix = cdist(first[one.numbers == number] / scale, second[other.numbers == number] / scale, "sqeuclidean")
        rows, columns = linear_sum_assignment(matrix)
        total += float(matrix[rows, columns].sum())
    return float(np.sqrt(total / first.size))


def distances(atoms: Atoms) -> Distances:
    """Return the sorted distances [Å] of each pair of elements."""
    if atoms.pbc.any():
        bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        if not bare.pbc.all():
            cell = _complete(bare)
            cell[~bare.pbc] *= float(np.ptp(bare.positions, axis=0).max()) + 2.0 * _RANGE
            bare.set_cell(cell, scale_atoms=False)
        i, j, distance = neighbour_list("ijd", bare, _RANGE)
    else:
        i, j = np.triu_indices(len(atoms), 1)
        distance = pdist(atoms.positions)
    low, high = np.minimum(atoms.numbers[i], atoms.numbers[j]), np.maximum(atoms.numbers[i], atoms.numbers[j])
    code = low.astype(np.int64) * 1000 + high
    return {(int(value) // 1000, int(value) % 1000): np.sort(distance[code == value]) for value in np.unique(code)}
