"""Robust statistics: medians, deviations and slopes that a few wrong values do not move."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_ITERATIONS = 20


def mad(values: ArrayLike) -> float:
    """Return the median absolute deviation, scaled to the standard deviation of a normal distribution."""
    array = np.asarray(values, dtype=np.float64)
    return 1.4826 * float(np.median(np.abs(array - np.median(array)))) if len(array) else 0.0


def regress(matrix: Array, target: Array, ridge: float = 0.0) -> Array:
    """Return coefficients that minimise the sum of absolute residuals (iteratively reweighted least squares).

    :param matrix: shape (rows, columns).
    :param target: shape (rows,).
    :param ridge: penalty on the squares, relative to the mean square of each column.
    """
    weight: Array = np.ones(len(target))
    coefficients: Array = np.zeros(matrix.shape[1])
    penalty = np.diag(ridge * np.mean(matrix**2, axis=0) * len(target) + 1e-12)
    for _ in range(_ITERATIONS):
        weighted = matrix * weight[:, None]
        solved = np.linalg.solve(matrix.T @ weighted + penalty, weighted.T @ target)
        coefficients = np.asarray(solved, dtype=np.float64)
        residual = np.asarray(np.abs(target - matrix @ coefficients), dtype=np.float64)
        floor = max(0.05 * float(np.median(residual)), 1e-9)
        inverse = 1.0 / np.maximum(residual, floor)
        weight = np.asarray(inverse / inverse.mean(), dtype=np.float64)
    return coefficients


def correlation(one: Array, other: Array) -> float:
    """Return the correlation through the origin: the cosine of the angle between two vectors; 0 for a zero vector."""
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.dot(one, other)) / norm if norm > 0 else 0.0
