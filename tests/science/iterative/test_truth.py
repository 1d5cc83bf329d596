"""True errors against uncertainties."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science.iterative.truth import compare_with_truth
from aiida_mlip.science.keys import FORCES


def pair(error: float, sigma: float) -> tuple[Atoms, Atoms]:
    """A frame whose second atom has a wrong force, in a direction of its own."""
    true = np.arange(9.0).reshape(3, 3)
    explored, labelled = Atoms("CHO", np.eye(3)), Atoms("CHO", np.eye(3))
    labelled.arrays[FORCES] = true
    explored.arrays["forces"] = true + np.outer([0.0, 1.0, 0.1], error * np.array([2.0, -1.0, 2.0]) / 3.0)
    explored.info["max_forces_sigma"] = sigma
    return explored, labelled


def test_the_largest_error_of_an_atom_counts_and_its_rank_is_compared() -> None:
    pairs = [pair(error, sigma) for error, sigma in ((0.1, 0.06), (0.3, 0.1), (0.2, 0.09), (0.5, 0.8), (0.9, 0.7))]
    found = compare_with_truth([atoms for atoms, _ in pairs], [label for _, label in pairs])
    assert found["median_max_error"] == pytest.approx(0.3)
    assert found["largest_max_error"] == pytest.approx(0.9)
    assert found["rank_correlation"] == pytest.approx(0.9)
    assert found["within_two_sigma"] == pytest.approx(3 / 5)
    squares = np.mean([(1.0 + 0.1**2) * error**2 / 9.0 for error in (0.1, 0.3, 0.2, 0.5, 0.9)])
    assert found["rmse"] == pytest.approx(np.sqrt(squares))


def test_few_frames_and_missing_labels_give_no_correlation() -> None:
    first, label = pair(0.1, 0.2)
    found = compare_with_truth([first], [label])
    assert found["rank_correlation"] is None
    assert found["frames"] == 1
    assert compare_with_truth([first], [Atoms("CHO", np.eye(3))]) == {"frames": 0}
    with pytest.raises(ValueError, match="one for each"):
        compare_with_truth([first], [])
