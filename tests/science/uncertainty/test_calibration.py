"""Scales, coverages and rank correlations of uncertainties that are known to be right or wrong."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_mlip.schema.selection import AbsoluteLevels, CalibratedLevels
from aiida_mlip.schema.uncertainty import Calibration, UncertaintyResult, trust_levels
from aiida_mlip.science.keys import ENERGY, FORCES
from aiida_mlip.science.uncertainty.calibration import calibrate, rank_correlation, warnings_of
from aiida_mlip.science.uncertainty.committee import energy_spread, forces_spread, relative_forces_sigma
from aiida_mlip.science.uncertainty.pairs import assess, pairs_of


class TestScale:
    @pytest.mark.parametrize("dimension", [1, 3])
    def test_a_wrong_factor_is_found_and_the_coverage_is_gaussian(self, dimension):
        rng = np.random.default_rng(1)
        sigma = rng.lognormal(size=20_000)
        error = sigma * np.linalg.norm(rng.normal(size=(20_000, dimension)), axis=1) / np.sqrt(dimension)
        found = calibrate(sigma / 2.5, error, dimension=dimension)
        assert found.scale == pytest.approx(2.5, rel=0.02)
        assert found.coverage_after == pytest.approx(found.expected_coverage, abs=0.01)
        assert found.coverage_before < found.coverage_after
        assert found.expected_coverage == pytest.approx({1: 0.6827, 3: 0.6084}[dimension], abs=1e-4)
        assert found.rank_correlation > 0.4

    @pytest.mark.parametrize("members", [2, 3, 8])
    def test_the_scale_of_few_members_is_not_led_astray_by_spreads_near_zero(self, members):
        """True standard deviation 1 per component; the spread of members is a noisy estimate of it."""
        rng = np.random.default_rng(members)
        drawn = rng.normal(size=(members, 20_000, 3))
        sigma = forces_spread(drawn)
        error = np.linalg.norm(rng.normal(size=(20_000, 3)), axis=1)
        found = calibrate(sigma, error, dimension=3, members=members)
        # the spread over K has (K - 1)/K of the variance
        assert found.scale == pytest.approx(np.sqrt(members / (members - 1)), rel=0.03)

    def test_what_is_zero_by_symmetry_says_nothing(self):
        sigma, error = np.array([1.0, 2.0, 1.5, 1e-17, 0.0]), np.array([0.5, 2.5, 1.0, 1e-12, 0.0])
        found = calibrate(sigma, error, dimension=3)
        assert found.count == 3
        assert found.scale == pytest.approx(np.sqrt(np.mean((error[:3] / sigma[:3]) ** 2)))

    def test_without_labels_there_is_nothing(self):
        assert calibrate(np.ones(4), np.full(4, np.nan), dimension=1) is None

    def test_rank_correlation_is_that_of_ranks(self):
        sigma = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
        assert rank_correlation(sigma, np.exp(sigma)) == pytest.approx(1.0)
        assert rank_correlation(sigma, np.array([2.0, 1.0, 4.0, 3.0, 5.0])) == pytest.approx(0.8)
        assert rank_correlation(np.ones(5), sigma) is None
        assert rank_correlation(sigma[:2], sigma[:2]) is None

    def test_what_is_doubtful_is_said(self):
        rng = np.random.default_rng(1)
        useless = calibrate(rng.uniform(1, 2, 200), rng.uniform(1, 2, 200), dimension=3)
        found = warnings_of(4, forces=useless, energy=None)
        assert "4 frames: fewer than 10" in found[0]
        assert "forces: the rank correlation" in found[1]
        assert found[2] == "energy: not calibrated, for want of labels"


def cells(count):
    """Cells of two elements with labels; the second has no forces, the third no energy."""
    frames = []
    rng = np.random.default_rng(3)
    for index in range(count):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
        atoms.symbols[: index % 3] = "Ni"
        atoms.info[ENERGY] = float(rng.normal())
        atoms.arrays[FORCES] = rng.normal(size=(4, 3))
        frames.append(atoms)
    del frames[1].arrays[FORCES]
    del frames[2].info[ENERGY]
    return frames


class TestPairs:
    def test_errors_are_those_of_the_labels(self):
        frames = cells(6)
        rng = np.random.default_rng(4)
        found = [(float(rng.normal()), rng.normal(size=(4, 3)), 0.8, rng.uniform(1, 2, 4)) for _ in frames]
        pairs = pairs_of(frames, found)
        expected = np.linalg.norm(found[3][1] - frames[3].arrays[FORCES], axis=1)
        assert pairs.forces_error[pairs.frame == 3] == pytest.approx(expected)
        assert np.isnan(pairs.forces_error[pairs.frame == 1]).all()
        assert np.isnan(pairs.energy_error[2])
        assert pairs.energy_sigma == pytest.approx(np.full(6, 0.2))
        assert pairs.max_forces_sigma[3] == found[3][3].max()
        assert pairs.max_forces_error[3] == pytest.approx(expected.max())

    def test_constants_of_the_elements_are_no_error(self):
        frames = cells(9)
        rng = np.random.default_rng(4)
        found = [(float(rng.normal()), rng.normal(size=(4, 3)), 0.8, np.ones(4)) for _ in frames]
        moved = [
            (energy + 5.0 * atoms.symbols.count("Ni") - 3.0 * atoms.symbols.count("Cu"), *rest)
            for atoms, (energy, *rest) in zip(frames, found, strict=True)
        ]
        before, after = pairs_of(frames, found).energy_error, pairs_of(frames, moved).energy_error
        assert after == pytest.approx(before, abs=1e-10, nan_ok=True)

    def test_energy_errors_make_up_for_the_offsets_that_were_fitted(self):
        """With many sets of four frames and one composition the mean square is that of the noise."""
        rng = np.random.default_rng(5)
        squares = []
        for _ in range(400):
            frames = [bulk("Cu", cubic=True) for _ in range(4)]
            for atoms in frames:
                atoms.info[ENERGY] = float(4 * rng.normal())
            found = [(0.0, np.zeros((4, 3)), 1.0, np.ones(4))] * 4
            squares.append(np.mean(pairs_of(frames, found).energy_error ** 2))
        assert np.mean(squares) == pytest.approx(1.0, rel=0.1)

    def test_one_composition_and_one_frame_leave_no_energy_error(self):
        atoms = bulk("Cu", cubic=True)
        atoms.info[ENERGY] = -3.0
        pairs = pairs_of([atoms], [(1.0, np.zeros((4, 3)), 1.0, np.ones(4))])
        assert np.isnan(pairs.energy_error).all()

    def test_arrays_are_calibrated(self):
        frames = cells(6)
        found = [(0.0, np.zeros((4, 3)), 0.8, np.linspace(1, 2, 4))] * 6
        pairs = pairs_of(frames, found)
        quality = assess(pairs, energy_members=None, forces_members=None)
        arrays = pairs.arrays(energy_scale=quality.energy_scale, forces_scale=quality.forces_scale)
        assert quality.median_max_forces_sigma == pytest.approx(2 * quality.forces.scale)
        assert arrays["max_forces_sigma"] == pytest.approx(np.full(6, quality.median_max_forces_sigma))
        assert arrays["config_types"].tolist() == ["default"]

    def test_without_energies_they_are_scaled_as_forces_are(self):
        frames = cells(6)
        for atoms in frames:
            atoms.info.pop(ENERGY, None)
        quality = assess(
            pairs_of(frames, [(0.0, np.zeros((4, 3)), 0.8, np.ones(4))] * 6), energy_members=3, forces_members=3
        )
        assert quality.energy is None
        assert quality.energy_scale == quality.forces_scale != 1.0


def test_spreads_are_population_standard_deviations():
    energies = np.array([1.0, 4.0, 2.5])
    assert energy_spread(energies) == pytest.approx(np.sqrt(np.mean((energies - 2.5) ** 2)))
    forces = np.random.default_rng(1).normal(size=(5, 7, 3))
    expected = np.sqrt(forces.var(axis=0).sum(axis=1))
    assert forces_spread(forces) == pytest.approx(expected)


def test_relative_uncertainty_has_a_floor():
    found = relative_forces_sigma(np.array([0.1, 0.1]), np.array([[0.0, 0, 0], [0.3, 0, 0.4]]), floor=0.2)
    assert found == pytest.approx([0.5, 0.1 / 0.7])


def result(median):
    one = Calibration(scale=1, coverage_before=0.5, coverage_after=0.6, expected_coverage=0.6, count=9)
    return UncertaintyResult(kind="deep", members=3, forces=one, median_max_forces_sigma=median)


class TestTrustLevels:
    def test_they_are_multiples_of_the_median(self):
        assert trust_levels(CalibratedLevels(lower=2, upper=8), result(0.1)) == AbsoluteLevels(lower=0.2, upper=0.8)

    def test_the_floor_lifts_both(self):
        levels = trust_levels(CalibratedLevels(lower=2, upper=8, floor=0.05), result(0.01))
        assert (levels.lower, levels.upper) == pytest.approx((0.05, 0.2))

    def test_a_poor_model_is_sure_of_nothing(self):
        levels = trust_levels(CalibratedLevels(lower=2, upper=8, ceiling=0.5), result(1.7))
        assert (levels.lower, levels.upper) == pytest.approx((0.5, 2.0))

    def test_absolute_levels_stay(self):
        levels = AbsoluteLevels(lower=0.1, upper=0.3)
        assert trust_levels(levels, result(7.0)) is levels

    def test_no_level_at_all_is_refused(self):
        with pytest.raises(ValueError, match="give a floor above zero"):
            trust_levels(CalibratedLevels(floor=0), result(0.0))


def test_atoms_of_other_elements_are_not_counted():
    from aiida_mlip.science.uncertainty.model import UncertaintyHeader, UncertaintyModel

    facts = {"kind": "deep", "sha256": ("a",), "head": "Default", "elements": ("Ni", "Cu")}
    model = UncertaintyModel(UncertaintyHeader(**facts, energy_scale=1, forces_scale=1), {"shifts": np.zeros((1, 2))})
    assert model.counts(Atoms("CuCuNiH").get_chemical_symbols()).tolist() == [1, 2]
    with pytest.raises(ValueError, match="matrix of finite numbers"):
        UncertaintyModel(model.header, {"shifts": np.array([[np.nan, 1.0]])})
    with pytest.raises(ValueError, match="an uncertainty of kind 'deep' has"):
        UncertaintyModel(model.header, {"factor": np.zeros((1, 2))})
