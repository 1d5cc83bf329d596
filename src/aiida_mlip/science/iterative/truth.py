"""Uncertainties of the dynamics against true errors, where the teacher can label every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.stats import spearmanr

from aiida_mlip.science.keys import FORCES

_FEWEST = 5
"""Frames below which a rank correlation says nothing."""


def largest_force_error(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Return the largest error of the force on an atom [eV/Å].

    :param predicted: shape (n, 3).
    :param true: shape (n, 3).
    """
    return float(np.linalg.norm(predicted - true, axis=1).max())


def compare_with_truth(explored: Sequence[Atoms], labelled: Sequence[Atoms]) -> dict[str, Any]:
    """Return how far forces along trajectories were from the truth, and what the uncertainty knew of it.

    :param explored: frames of the dynamics, with ``forces`` and, in ``info``, ``max_forces_sigma``.
    :param labelled: the same frames, in the same order, with the teacher's labels.
    :return: ``frames``; ``rmse`` over all components, ``median_max_error`` and ``largest_max_error`` of the largest
        error of a frame [eV/Å]; ``rank_correlation`` (Spearman) of that error and the uncertainty, None below five
        frames; ``within_two_sigma``, the share of the frames whose largest error is at most twice the largest
        uncertainty.
    :raises ValueError: if the numbers of frames differ.
    """
    if len(explored) != len(labelled):
        raise ValueError(f"labelled: {len(labelled)} frames for {len(explored)} that were explored; give one for each")
    pairs = [(atoms, label) for atoms, label in zip(explored, labelled, strict=True) if FORCES in label.arrays]
    if not pairs:
        return {"frames": 0}
    differences = [atoms.arrays["forces"] - label.arrays[FORCES] for atoms, label in pairs]
    errors = np.array([largest_force_error(atoms.arrays["forces"], label.arrays[FORCES]) for atoms, label in pairs])
    sigma = np.array([float(atoms.info.get("max_forces_sigma", np.nan)) for atoms, _ in pairs])
    known = np.isfinite(sigma)
    varied = known.sum() >= _FEWEST and np.ptp(sigma[known]) > 0 and np.ptp(errors[known]) > 0
    return {
        "frames": len(pairs),
        "rmse": float(np.sqrt(np.mean(np.concatenate([part.ravel() for part in differences]) ** 2))),
        "median_max_error": float(np.median(errors)),
        "largest_max_error": float(errors.max()),
        "rank_correlation": float(spearmanr(sigma[known], errors[known]).statistic) if varied else None,
        "within_two_sigma": float(np.mean(errors[known] <= 2.0 * sigma[known])) if known.any() else None,
    }
