"""Energies: drift, time steps that are too long, spikes, and numbers that are none."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science.dynamics.observables import temperature_of


def oscillators(step: float, steps: int = 4000) -> dict[str, np.ndarray]:
    """Velocity Verlet of 60 harmonic oscillators, frequencies of molecules [1/fs], 20 atoms; energies in eV."""
    rng = np.random.default_rng(0)
    frequency = rng.uniform(0.05, 0.55, size=60)
    x, v = rng.normal(size=60) / frequency, rng.normal(size=60)
    rows = []
    scale = 0.5 * 0.0259
    for index in range(steps):
        rows.append((index * step, scale * ((frequency * x) ** 2).sum() * 1.0, scale * (v**2).sum()))
        v -= 0.5 * step * frequency**2 * x
        x += step * v
        v -= 0.5 * step * frequency**2 * x
    table = np.array(rows)
    return dict(zip(("time_fs", "energy", "kinetic_energy"), table.T, strict=True))


@pytest.fixture
def box(make_box) -> Atoms:
    return make_box(["CH3CH2OH", "CH3OH", "H2O", "H2O"])


def judged(check, box: Atoms, series: dict[str, np.ndarray], ensemble: str = "nve"):
    return check("energy", [], start=box, series=series, ensemble=ensemble)


def test_dynamics_with_a_good_step_conserves_and_the_text_says_what_that_is_worth(check, box: Atoms) -> None:
    found = judged(check, box, oscillators(0.5))
    (result,) = found.results
    assert result.status == "pass", result.reason
    assert "proves nothing" in result.reason
    assert result.unit == "meV/atom/ps"
    assert abs(result.value) < 0.1
    assert found.curves["energy_per_atom"].shape == (4000,)


def test_a_step_that_is_too_long_fails(check, box: Atoms) -> None:
    (result,) = judged(check, box, oscillators(3.4)).results
    assert result.status == "fail"
    assert "time step" in result.reason


def test_a_drift_is_measured(check, box: Atoms) -> None:
    series = oscillators(0.5)
    series["energy"] = series["energy"] + 0.8e-3 * len(box) * series["time_fs"] / 1000
    (result,) = judged(check, box, series).results
    assert result.status == "fail"
    assert result.value == pytest.approx(0.8, abs=0.1)
    assert result.error < 0.1


def test_a_drift_within_the_fluctuation_of_a_short_run_is_inconclusive(check, box: Atoms) -> None:
    """1 meV/atom/ps for 0.4 ps, less than the integrator's error moves anyway."""
    rng = np.random.default_rng(2)
    times = np.arange(400.0)
    total = len(box) * 1e-3 * (1.0 * times / 1000 + 0.5 * rng.normal(size=400))
    series = {"time_fs": times, "energy": total, "kinetic_energy": 0.5 + 0.1 * rng.normal(size=400)}
    series["energy"] -= series["kinetic_energy"]
    (result,) = judged(check, box, series).results
    assert result.status == "inconclusive", result.reason
    assert "within the fluctuation" in result.missing


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_spikes_and_nan_fail_in_every_ensemble(check, box: Atoms, ensemble: str) -> None:
    series = oscillators(0.5)
    spiked = {name: values.copy() for name, values in series.items()}
    spiked["energy"][3000] += 12.0
    (result,) = judged(check, box, spiked, ensemble).results
    assert result.status == "fail"
    assert "1.5 ps" in result.reason
    broken = {name: values.copy() for name, values in series.items()}
    broken["energy"][100:] = np.nan
    (result,) = judged(check, box, broken, ensemble).results
    assert result.status == "fail"
    assert "3900 of 4000" in result.reason
    assert "0.05 ps" in result.reason
    if ensemble == "nvt":
        assert judged(check, box, series, ensemble).results[0].status == "pass"


def test_frames_do_where_there_is_no_series(check, box: Atoms) -> None:
    series = oscillators(0.5, 400)
    frames = []
    for energy, kinetic in zip(series["energy"], series["kinetic_energy"], strict=True):
        frame = box.copy()
        frame.info = {"energy": energy, "instantaneous_temperature": temperature_of(box, kinetic)}
        frames.append(frame)
    of_frames = check("energy", frames, start=box, spacing=0.5, ensemble="nve").results[0]
    of_series = judged(check, box, series).results[0]
    assert of_frames.value == pytest.approx(of_series.value, rel=1e-6)
    assert of_frames.status == of_series.status


def test_a_column_that_was_not_written_down_is_no_nan_of_the_potential(check, box: Atoms) -> None:
    series = oscillators(0.5) | {"kinetic_energy": np.full(4000, np.nan)}
    frames = []
    for energy in series["energy"][:50]:
        frame = box.copy()
        frame.info["energy"] = float(energy)
        frames.append(frame)
    (result,) = check("energy", frames, start=box, series=series, ensemble="npt").results
    assert result.status == "inconclusive"
    assert "time series" in result.missing


def test_few_energies_are_inconclusive(check, box: Atoms) -> None:
    series = {name: values[:5] for name, values in oscillators(0.5).items()}
    (result,) = judged(check, box, series).results
    assert result.status == "inconclusive"
    assert result.missing
