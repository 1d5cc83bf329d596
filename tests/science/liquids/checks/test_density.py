"""Densities: drifts are found, correlated noise is not one, and short runs say that they are short."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from scipy.constants import k as boltzmann

from aiida_mlip.science.dynamics.observables import density_of
from aiida_mlip.science.liquids import checks
from aiida_mlip.science.liquids.blocks import RunningBlocks, block_means, drift_of, inefficiency, mean_of
from aiida_mlip.science.liquids.checks import Run
from aiida_mlip.science.liquids.checks.density import thermal_fluctuation


def ar1(rng: np.random.Generator, n: int, tau: float) -> np.ndarray:
    """Noise of unit variance with the correlation exp(-t/tau)."""
    keep = np.exp(-1 / tau)
    kicks = rng.normal(size=n) * np.sqrt(1 - keep**2)
    values = np.empty(n)
    values[0] = rng.normal()
    for index in range(1, n):
        values[index] = keep * values[index - 1] + kicks[index]
    return values


@pytest.fixture
def box(make_box) -> Atoms:
    return make_box(["CH3CH2OH"] * 48, spacing=4.5)


def at(box: Atoms, densities: np.ndarray) -> list[Atoms]:
    """Frames of given relative densities."""
    frames = []
    for density in densities:
        frame = box.copy()
        frame.set_cell(box.cell.array * density ** (-1 / 3), scale_atoms=True)
        frames.append(frame)
    return frames


def judged(check, box: Atoms, densities: np.ndarray, **limits: float):
    found = check("density", at(box, densities), start=box, spacing=100.0, ensemble="npt", limits=limits)
    return found.results[0]


def test_inefficiency_of_correlated_noise_is_the_analytic_one() -> None:
    """Of AR(1) noise it is (1 + a)/(1 - a)."""
    rng = np.random.default_rng(0)
    for tau in (1.0, 5.0, 20.0):
        keep = np.exp(-1 / tau)
        found = np.mean([inefficiency(ar1(rng, 4000, tau)) for _ in range(20)])
        assert found == pytest.approx((1 + keep) / (1 - keep), rel=0.1)
    assert inefficiency(np.ones(50)) == 1.0


def test_standard_errors_are_those_of_repeated_runs() -> None:
    rng = np.random.default_rng(1)
    runs = [mean_of(3.0 + ar1(rng, 1000, 8.0)) for _ in range(100)]
    assert np.mean([run.error for run in runs]) == pytest.approx(np.std([run.value for run in runs]), rel=0.2)
    times = np.linspace(2.0, 7.0, 1000)
    drifts = [drift_of(times, 0.7 * times + ar1(rng, 1000, 8.0)) for _ in range(100)]
    assert np.mean([drift.change for drift in drifts]) == pytest.approx(3.5, abs=0.2)
    assert np.mean([drift.error for drift in drifts]) == pytest.approx(np.std([d.change for d in drifts]), rel=0.25)


def test_running_blocks_are_the_blocks_of_the_whole() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(96, 2, 3))
    running = RunningBlocks(most=16)
    for value in values:
        running.add(value)
    np.testing.assert_allclose(running.means(), block_means(values, 12))
    np.testing.assert_allclose(running.means(0.25), block_means(values, 12)[3:])
    few = RunningBlocks()
    few.add(1.0)
    few.add(3.0)
    assert few.means().tolist() == [1.0, 3.0]


def test_thermal_fluctuation_is_that_of_the_canonical_ensemble() -> None:
    """sqrt(kT kappa/V) in SI units; some 4 % for 12 solvent molecules, 2 % for 48."""
    volume = 1800.0
    expected = np.sqrt(boltzmann * 300.0 * 0.6e-9 / (volume * 1e-30))
    assert thermal_fluctuation(300.0, volume, 0.6) == pytest.approx(expected, rel=1e-6)
    assert thermal_fluctuation(300.0, volume, 0.6) == pytest.approx(0.037, abs=0.001)
    assert thermal_fluctuation(300.0, 4 * volume, 0.6) == pytest.approx(0.0186, abs=0.001)


def test_correlated_noise_is_no_drift(check, box: Atoms) -> None:
    """Noise as large as thermal fluctuations, with correlation times from short to as long as the run."""
    rng = np.random.default_rng(3)
    thermal = thermal_fluctuation(300.0, box.get_volume(), 0.6)
    found = {
        tau: Counter(judged(check, box, 1 + thermal * ar1(rng, 250, tau)).status for _ in range(10))
        for tau in (1, 8, 100)
    }
    assert found[1]["pass"] >= 9
    assert not sum(statuses["fail"] for statuses in found.values())
    assert found[100]["inconclusive"] >= 7


def test_mean_and_error(check, box: Atoms) -> None:
    rng = np.random.default_rng(4)
    first = density_of(box)
    densities = np.concatenate([np.linspace(1.2, 1.0, 60), 1 + 0.01 * ar1(rng, 340, 3.0)])
    result = judged(check, box, densities)
    assert result.status == "pass", result.reason
    kept = np.arange(400) >= 0.2 * 399
    assert result.value == pytest.approx(first * densities[kept].mean(), rel=1e-9)
    keep = np.exp(-1 / 3)
    expected = first * 0.01 * np.sqrt((1 + keep) / (1 - keep) / kept.sum())
    assert result.error == pytest.approx(expected, rel=0.4)
    assert result.unit == "g/cm3"
    assert result.numbers["block_error"] == pytest.approx(result.error, rel=0.9)


def test_a_density_that_drifts_fails(check, box: Atoms) -> None:
    rng = np.random.default_rng(5)
    for slope in (-0.15, 0.15):
        densities = 1 + slope * np.arange(300) / 300 + 0.01 * ar1(rng, 300, 3.0)
        result = judged(check, box, densities)
        assert result.status == "fail"
        assert "drift" in result.reason
        assert result.numbers["drift"] == pytest.approx(slope * 0.8, rel=0.2)
    relaxing = judged(check, box, 1.2 - 0.2 * np.arange(100) / 100 + 0.01 * ar1(rng, 100, 3.0))
    assert relaxing.status == "inconclusive"
    assert "in which a liquid finds its density" in relaxing.missing
    small = judged(check, box, 1 + 0.012 * np.arange(300) / 300 + 0.01 * ar1(rng, 300, 3.0))
    assert small.status == "pass", small.reason


def test_collapse_and_expansion_fail_however_short_the_run(check, box: Atoms) -> None:
    gone = judged(check, box, np.array([1.0, 0.9, 0.7, 0.55]))
    assert gone.status == "fail"
    assert "expanded" in gone.reason
    assert "0.3 ps" in gone.reason
    fallen = judged(check, box, np.linspace(1.0, 1.8, 100))
    assert fallen.status == "fail"
    assert "collapsed" in fallen.reason


def test_a_single_frame_far_off_fails(check, box: Atoms) -> None:
    rng = np.random.default_rng(6)
    densities = 1 + 0.01 * ar1(rng, 300, 2.0)
    densities[200] = 1.15
    result = judged(check, box, densities)
    assert result.status == "fail"
    assert "20 ps" in result.reason
    assert "thermal fluctuations" in result.reason
    wide = judged(check, box, densities, compressibility=3.0)
    assert wide.status == "pass", wide.reason


def test_short_runs_are_inconclusive_and_say_what_is_missing(check, box: Atoms) -> None:
    result = judged(check, box, np.full(9, 1.0))
    assert result.status == "inconclusive"
    assert "at least 10 frames" in result.missing
    rng = np.random.default_rng(7)
    slow = judged(check, box, 1 + 0.01 * ar1(rng, 100, 40.0))
    assert slow.status == "inconclusive"
    assert "ps" in slow.missing
    assert judged(check, box, np.array([])).status == "inconclusive"


def test_accuracy_is_reported_apart(check, box: Atoms) -> None:
    rng = np.random.default_rng(8)
    densities = 1 + 0.005 * ar1(rng, 300, 1.5)
    first = density_of(box)
    for reference, status in ((0.99 * first, "pass"), (1.10 * first, "fail"), (1.031 * first, "inconclusive")):
        found = check(
            "density",
            at(box, densities),
            start=box,
            spacing=100.0,
            ensemble="npt",
            limits={"reference": reference},
        )
        stability, accuracy = found.results
        assert (stability.aspect, stability.status) == ("stability", "pass")
        assert (accuracy.aspect, accuracy.status) == ("accuracy", status), accuracy.reason


def test_it_applies_at_constant_pressure_only(box: Atoms) -> None:
    applies = checks.get("density").applies
    assert applies(Run(start=box, ensemble="npt", timestep=1.0, temperature=300.0))
    assert not applies(Run(start=box, ensemble="nvt", timestep=1.0, temperature=300.0))
    cluster = box.copy()
    cluster.pbc = False
    assert not applies(Run(start=cluster, ensemble="npt", timestep=1.0, temperature=300.0))


@pytest.mark.parametrize(
    ("temperature", "pressure", "status"),
    [(300.0, 1e-4, "fail"), (1200.0, 1e-4, "inconclusive"), (1200.0, 0.5, "fail")],
)
def test_a_liquid_that_may_boil_is_not_blamed_for_it(check, box: Atoms, temperature, pressure, status) -> None:
    """At 1200 K and 1 bar carbonates are gases, whatever the potential; a collapse is one at any temperature."""
    rng = np.random.default_rng(6)
    known = {"start": box, "spacing": 100.0, "ensemble": "npt", "temperature": temperature, "pressure": pressure}
    for densities in (np.array([1.0, 0.9, 0.7, 0.55]), np.linspace(1.0, 0.62, 300) + 0.005 * ar1(rng, 300, 3.0)):
        (result,) = check("density", at(box, densities), **known).results
        assert result.status == status, result.reason
        assert ("may boil" in result.missing) == (status == "inconclusive")
    (result,) = check("density", at(box, np.array([1.0, 1.3, 1.8])), **known).results
    assert result.status == "fail"
