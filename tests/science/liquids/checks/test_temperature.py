"""Equipartition: of sampled velocities it holds, whatever the molecule; hot parts, kinds and molecules are found."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units

from aiida_mlip.science.dynamics.observables import degrees_of_freedom, draw_momenta, temperature_of
from aiida_mlip.science.liquids.kinetics import KineticSplit, Wholes, temperatures
from aiida_mlip.science.liquids.molecules import find_molecules
from aiida_mlip.science.liquids.rigid_motion import rigid_parts

NAMES = ["CH3CH2OH", "CO2", "H2O", "CH3OCH3", "N2", "CH3OH", "H2O", "CO2"] * 3


@pytest.fixture
def box(make_box) -> Atoms:
    """Linear and bent molecules, and lithium."""
    atoms = make_box(NAMES, spacing=5.0)
    return atoms + Atoms("Li", positions=[[2.0, 2.2, 2.5]])


def sampled(box: Atoms, frames: int, seed: int = 0, temperature: float = 300.0) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    made = []
    for index in range(frames):
        frame = box.copy()
        frame.positions += rng.normal(size=frame.positions.shape) * 0.03
        if index % 2:
            frame.positions += rng.integers(-1, 2, size=(len(frame), 3)) @ frame.cell.array
        freedom = degrees_of_freedom(frame)
        frame.set_momenta(draw_momenta(frame, temperature * rng.chisquare(freedom) / freedom, rng))
        frame.arrays["velocities"] = frame.get_velocities() * units.fs
        frame.info["instantaneous_temperature"] = temperature_of(frame, frame.get_kinetic_energy())
        made.append(frame)
    return made


def test_parts_are_those_of_a_rigid_motion_and_add_up(box: Atoms) -> None:
    molecules = find_molecules(box) or []
    (frame,) = sampled(box, 1)
    parts = KineticSplit(box, molecules).of(frame, frame.arrays["velocities"])
    assert parts.energies.sum() == pytest.approx(frame.get_kinetic_energy(), rel=1e-10)
    masses = frame.get_masses()
    for molecule, energies in zip(molecules, parts.energies, strict=True):
        chosen = molecule.indices
        whole, momenta = molecule.positions(frame), frame.get_momenta()[chosen]
        split = rigid_parts(masses[chosen], whole, momenta)
        expected = [(part**2 / masses[chosen][:, None]).sum() / 2 for part in (split.trans, split.rot, split.vib)]
        np.testing.assert_allclose(energies, expected, atol=1e-10)
    straight = KineticSplit(box, molecules).of(box, frame.arrays["velocities"])
    freedom = dict(zip((molecule.kind.split("_")[0] for molecule in molecules), straight.freedom, strict=True))
    assert [freedom[name][1] for name in ("H2O", "CO2", "N2", "Li")] == [3, 2, 2, 0]
    assert [freedom[name][2] for name in ("H2O", "CO2", "N2", "Li")] == [3, 4, 1, 0]
    assert parts.freedom.sum() == pytest.approx(3 * len(box) - 3)


def test_molecules_are_whole_wherever_the_cell_cuts_them(box: Atoms) -> None:
    molecules = find_molecules(box) or []
    wholes = Wholes(box, molecules)
    frames = sampled(box, 2)
    wrapped = frames[1].copy()
    wrapped.wrap()
    first, second = wholes.positions(frames[1]), wholes.positions(wrapped)
    for molecule in molecules:
        a, b = first[molecule.indices], second[molecule.indices]
        np.testing.assert_allclose(a - a[0], b - b[0], atol=1e-9)
        assert np.ptp(a, axis=0).max() < 5.0


def test_sampled_velocities_pass(check, box: Atoms) -> None:
    """Temperatures of all parts are those of the sampling within their errors."""
    mean, even = check("temperature", sampled(box, 150), start=box, spacing=100.0).results
    assert mean.status == "pass", mean.reason
    assert even.status == "pass", even.reason
    for name in ("trans", "rot", "vib"):
        assert abs(even.numbers[name] - 300.0) < 4 * even.numbers[f"{name}_error"]
        assert even.numbers[f"{name}_error"] < 12.0
    assert abs(even.value) < 10.0


@pytest.mark.parametrize("part", ["trans", "rot"])
def test_a_hot_part_is_found(check, box: Atoms, part: str) -> None:
    """Translations (or rotations) of all molecules at 390 K, the rest at 300 K."""
    molecules = find_molecules(box) or []
    masses = box.get_masses()
    frames = sampled(box, 150)
    for frame in frames:
        momenta = frame.get_momenta()
        whole = Wholes(box, molecules).positions(frame)
        for molecule in molecules:
            split = rigid_parts(masses[molecule.indices], whole[molecule.indices], momenta[molecule.indices])
            momenta[molecule.indices] += (np.sqrt(1.3) - 1) * getattr(split, part)
        frame.arrays["velocities"] = momenta / masses[:, None] * units.fs
    found = check("temperature", frames, start=box, spacing=100.0)
    even = found.results[1]
    assert even.status == "fail"
    assert even.numbers[part] == pytest.approx(390.0, rel=0.05)
    assert even.numbers["vib"] == pytest.approx(300.0, rel=0.05)
    assert found.curves[f"temperature_{part}"].mean() == pytest.approx(390.0, rel=0.05)


def test_hot_molecules_next_to_cold_ones_are_found(check, box: Atoms) -> None:
    molecules = find_molecules(box) or []
    kinds = [molecule.kind for molecule in molecules]
    frames = sampled(box, 150)
    for frame in frames:
        for molecule in molecules:
            if molecule.kind.startswith("CO2"):
                frame.arrays["velocities"][molecule.indices] *= np.sqrt(1.5)
    even = check("temperature", frames, start=box, spacing=100.0).results[1]
    assert even.status == "fail"
    assert "CO2" in even.reason
    frames = sampled(box, 400)
    one = next(index for index, kind in enumerate(kinds) if kind.startswith("C2H6O"))
    for frame in frames:
        frame.arrays["velocities"][molecules[one].indices] *= np.sqrt(2.0)
    even = check("temperature", frames, start=box, spacing=100.0, limits={"parts": 5.0}).results[1]
    assert even.status == "fail"
    assert f"molecule {one} (" in even.reason
    early = check("temperature", frames, start=box, spacing=20.0, limits={"parts": 5.0}).results[1]
    assert early.status == "inconclusive"
    assert early.missing == "at least 10 ps, there are 7.98 ps"


def test_the_mean_is_compared_with_the_target(check, box: Atoms) -> None:
    frames = sampled(box, 100)
    mean = check("temperature", frames, start=box, spacing=100.0, temperature=330.0).results[0]
    assert mean.status == "fail"
    assert mean.value == pytest.approx(-30.0, abs=4.0)
    found = check("temperature", frames, start=box, spacing=100.0, temperature=330.0, ensemble="nve").results
    assert [result.quantity for result in found] == ["evenness of the temperature"]
    series = {"time_fs": np.arange(500.0), "temperature": np.full(500, 331.0) + np.sin(np.arange(500))}
    assert (
        check("temperature", frames, start=box, spacing=100.0, temperature=330.0, series=series).results[0].status
        == "pass"
    )


def test_without_velocities_only_the_mean_is_said(check, box: Atoms) -> None:
    frames = sampled(box, 50)
    for frame in frames:
        del frame.arrays["velocities"]
    (mean,) = check("temperature", frames, start=box, spacing=100.0).results
    assert mean.status == "pass"
    (nothing,) = check("temperature", frames, start=box, spacing=100.0, ensemble="nve").results
    assert nothing.status == "inconclusive"
    assert "velocities" in nothing.missing


def test_short_runs_are_inconclusive(check, box: Atoms) -> None:
    mean, even = check("temperature", sampled(box, 8), start=box, spacing=100.0).results
    assert (mean.status, even.status) == ("inconclusive", "inconclusive")
    assert mean.missing
    assert even.missing
    pair = box[[int(index) for molecule in (find_molecules(box) or [])[:2] for index in molecule.indices]]
    noisy = check("temperature", sampled(pair, 16), start=pair).results[1]
    assert noisy.status == "inconclusive"
    assert "longer run" in noisy.missing


def test_temperatures_of_nothing_are_nan() -> None:
    found = temperatures(np.array([0.0, 1.0]), np.array([0.0, 2.0]))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(1.0 / units.kB)
