"""Bayesian regression against its dense formulas, and ensembles against the posterior they are drawn from."""

import numpy as np
import pytest

from aiida_mlip.science.uncertainty import regression
from aiida_mlip.science.uncertainty.regression import Observations


@pytest.fixture
def observed():
    """Twelve configurations of two elements, five features, three projected forces each; two have no energy."""
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 5, size=(12, 2)).astype(float)
    features = rng.normal(size=(12, 5)) + counts @ rng.normal(size=(2, 5))
    energies = rng.normal(size=12) + counts @ [3.0, -40.0]
    energies[[3, 7]] = np.nan
    projected = rng.normal(size=(36, 5))
    forces = rng.normal(size=36)
    forces[:3] = np.nan
    return Observations(counts, features, energies, projected, forces, np.repeat(np.arange(12), 3))


def test_the_posterior_is_that_of_the_dense_formula():
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(20, 6)) * [1, 10, 0.1, 3, 1, 0.01]
    gram = matrix.T @ matrix
    factor = regression.posterior_factor(gram, 1e-3)
    dense = np.linalg.inv(gram + 1e-3 * np.trace(gram) / 6 * np.eye(6))
    assert factor.T @ factor == pytest.approx(dense, rel=1e-9)
    feature = rng.normal(size=6)
    assert np.linalg.norm(factor @ feature) == pytest.approx(np.sqrt(feature @ dense @ feature), rel=1e-9)


def test_samples_have_the_covariance_of_the_posterior():
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(30, 4)) * [1, 2, 0.5, 3]
    factor = regression.posterior_factor(matrix.T @ matrix, 0.01)
    drawn = regression.posterior_samples(factor, 200_000, rng)
    assert drawn.T @ drawn == pytest.approx(factor.T @ factor, abs=0.02 * np.abs(factor.T @ factor).max())


def test_combinations_of_members_have_their_covariance_on_average():
    rng = np.random.default_rng(4)
    ensemble = rng.normal(size=(6, 3))
    many = [regression.combined(ensemble, 2, rng) for _ in range(20_000)]
    mean = np.mean([one.T @ one for one in many], axis=0)
    assert mean == pytest.approx(ensemble.T @ ensemble, abs=0.3)
    assert regression.combined(ensemble, 0, rng) is ensemble
    assert regression.combined(ensemble, 6, rng) is ensemble


def test_offsets_leave_nothing_of_a_sum_over_elements():
    rng = np.random.default_rng(5)
    counts = 1.0 + rng.integers(0, 6, size=(9, 3))
    values = counts @ rng.normal(size=(3, 2))
    assert counts @ regression.element_offsets(counts, values) == pytest.approx(values)
    assert counts @ regression.element_offsets(counts, values[:, 0]) == pytest.approx(values[:, 0])


def test_the_design_does_not_depend_on_constants_of_the_elements(observed):
    """Neither in the labels, as other E0s are, nor in the features."""
    centres = regression.element_offsets(observed.counts, observed.features)
    before = regression.design(observed, centres)
    moved = Observations(
        observed.counts,
        observed.features + observed.counts @ np.array([[1.0, 2, 3, 4, 5], [-3, 1, 0, 2, 9]]),
        observed.energies + observed.counts @ [100.0, -7.0],
        observed.projected,
        observed.forces,
        observed.frame,
    )
    after = regression.design(moved, regression.element_offsets(moved.counts, moved.features))
    assert after.matrix == pytest.approx(before.matrix, abs=1e-9)
    assert after.target == pytest.approx(before.target, abs=1e-9)


def test_missing_labels_are_left_out_of_the_design(observed):
    found = regression.design(observed, np.zeros((2, 5)))
    assert found.matrix.shape == (10 + 33, 5)
    assert np.isfinite(found.target).all()
    assert set(found.frame[:10]) == set(range(12)) - {3, 7}
    for part in (found.target[:10], found.target[10:]):
        assert np.mean(part**2) == pytest.approx(1.0)  # the noise is the root mean square


def test_members_of_a_shallow_ensemble_are_ridge_fits(observed):
    """With the prior switched off by many data of one frame, a bootstrap changes nothing but the weight."""
    rng = np.random.default_rng(6)
    matrix = rng.normal(size=(40, 3))
    target = rng.normal(size=40)
    one_frame = regression.Design(matrix, target, np.zeros(40, dtype=int))
    strength = 0.5
    found = regression.shallow_ensemble(one_frame, strength, 4, np.random.default_rng(9))
    check = np.random.default_rng(9)
    gram = matrix.T @ matrix
    damping = strength * np.trace(gram) / 3
    weights = []
    for _ in range(4):
        check.multinomial(1, [1.0])
        prior = check.standard_normal(3) / np.sqrt(damping)
        weights.append(np.linalg.inv(gram + damping * np.eye(3)) @ (matrix.T @ target + damping * prior))
    assert found == pytest.approx((np.array(weights) - np.mean(weights, axis=0)) / 2, abs=1e-12)
    assert found.sum(axis=0) == pytest.approx(0, abs=1e-12)


def test_the_regularisation_that_explains_held_out_errors_is_found():
    """Errors drawn from the posterior of one candidate are explained best by it."""
    rng = np.random.default_rng(7)
    directions = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    gram = directions @ np.diag(10.0 ** -np.arange(8)) @ directions.T
    rows = rng.normal(size=(4000, 8))
    for true in (1e-6, 1e-3, 1.0):
        factor = regression.posterior_factor(gram, true)
        errors = 3.0 * np.linalg.norm(rows @ factor.T, axis=1) * rng.normal(size=len(rows))
        held_out = regression.Design(rows, errors, np.arange(len(rows)))
        assert regression.choose_regularisation(gram, held_out, [1e-9, 1e-6, 1e-3, 1.0, 1e3]) == true


def test_the_same_seed_is_the_same_ensemble(observed):
    fitted = regression.design(observed, np.zeros((2, 5)))
    first, second, other = (
        regression.shallow_ensemble(fitted, 1e-2, 5, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
