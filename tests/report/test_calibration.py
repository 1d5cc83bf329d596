"""Uncertainties beside errors: bins and coverage against Gaussian errors whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi

from aiida_mlip.report.calibration import binned, coverage, expected_coverage


@pytest.fixture(scope="module")
def pairs():
    """Uncertainties over a decade, and the lengths of Gaussian vectors that have them."""
    rng = np.random.default_rng(3)
    sigma = 10 ** rng.uniform(-2, -1, 20000)
    error = np.linalg.norm(rng.normal(size=(20000, 3)), axis=1) * sigma / np.sqrt(3)
    return sigma, error


def test_bins_of_a_calibrated_uncertainty_lie_on_the_diagonal(pairs):
    x, y, number = binned(*pairs)
    assert y == pytest.approx(x, rel=0.05)
    assert number.sum() == 20000
    assert number.max() - number.min() <= 1
    assert (np.diff(x) > 0).all()


def test_bins_show_an_uncertainty_that_is_too_small(pairs):
    sigma, error = pairs
    x, y, _ = binned(sigma / 3.0, error)
    assert y / x == pytest.approx(3.0, rel=0.05)


def test_few_pairs_make_few_bins():
    x, y, number = binned(np.array([0.3, 0.1, 0.2]), np.array([3.0, 1.0, 2.0]))
    assert len(x) == len(y) == 1
    assert y[0] == pytest.approx(np.sqrt(14 / 3))
    assert number.tolist() == [3]


def test_coverage_counts_errors_within_multiples():
    found = coverage(np.array([1.0, 2.0, 4.0]), np.array([0.5, 3.0, 4.0]), np.array([0.4, 0.5, 1.0, 1.5]))
    assert found == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize(("dimensions", "within_one"), [(1, 0.6827), (3, 0.6084)])
def test_the_expected_coverage_is_that_of_a_gaussian(dimensions, within_one):
    assert expected_coverage(dimensions, np.array([1.0]))[0] == pytest.approx(within_one, abs=1e-4)
    assert expected_coverage(dimensions, np.array([0.0, 50.0])) == pytest.approx([0.0, 1.0])
    middle = chi.median(dimensions) / np.sqrt(dimensions)
    assert expected_coverage(dimensions, np.array([middle]))[0] == pytest.approx(0.5)


def test_gaussian_errors_have_the_expected_coverage(pairs):
    assert coverage(*pairs) == pytest.approx(expected_coverage(3), abs=0.02)
