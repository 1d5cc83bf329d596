"""Diffusion of walks whose answer is known, displacements against MDAnalysis and freud, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import freud
import MDAnalysis
import numpy as np
import pytest
from ase import Atoms, units
from MDAnalysis.analysis.msd import EinsteinMSD
from numpy.typing import NDArray

from aiida_mlip.science.liquids import checks
from aiida_mlip.science.liquids.checks import Finding, Run
from aiida_mlip.science.liquids.transport import (
    Walk,
    finite_size_correction,
    fit,
    is_cubic,
    local_slopes,
    spaced_lags,
    squared_displacements,
)

Array = NDArray[np.float64]
TRICLINIC = np.array([[14.0, 0, 0], [2.5, 13.0, 0], [-1.5, 2.0, 12.0]])


def frames_of(paths: Array, cells: Callable[[int], Array], spacing: float = 100.0, *, wrap: bool = True) -> list[Atoms]:
    """Nitrogen molecules whose centres go along paths [Å], shape (t, molecules, 3)."""
    turn = np.array([0.3, 0.4, 0.2])
    made = []
    for index, centres in enumerate(paths):
        positions = (centres[:, None] + np.array([turn, -turn])).reshape(-1, 3)
        atoms = Atoms(f"N{len(positions)}", positions, cell=cells(index), pbc=True)
        if wrap:
            atoms.wrap()
        atoms.info |= {"step": index, "time_fs": spacing * index}
        made.append(atoms)
    return made


def start(molecules: int, cell: Array = TRICLINIC) -> Array:
    """Centres far enough apart that no two molecules are bonded."""
    grid = np.array(list(np.ndindex(4, 4, 4)))[:molecules] / 4
    places: Array = grid @ cell
    return places


def walk(steps: int, molecules: int, sigma: float, seed: int) -> Array:
    moves = np.random.default_rng(seed).normal(scale=sigma, size=(steps, molecules, 3))
    moves[0] = 0
    paths: Array = start(molecules) + np.cumsum(moves, axis=0)
    return paths


def find(frames: list[Atoms], equilibration: float = 0.0, **limits: float) -> Finding:
    check = checks.get("transport")
    reading = check.begin(Run(frames[0], "npt", 1.0, 300.0, 0.0, equilibration=equilibration), check.parse(limits))
    for atoms in frames:
        reading.add(atoms)
    return reading.finish()


def fixed(_index: int) -> Array:
    return TRICLINIC


def test_displacements_are_those_of_mdanalysis_and_freud() -> None:
    """Triclinic, wrapped for us; the others get the paths as they were, without the drift of all."""
    paths = walk(200, 12, 0.3, seed=1)
    reading = Walk(frames_of(paths, fixed)[0])
    for atoms in frames_of(paths, fixed):
        reading.add(atoms)
    times, places = reading.places(0.0)
    np.testing.assert_allclose(times, 0.1 * np.arange(200))
    expected = paths - paths[0] - (paths - paths[0]).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(places, expected, atol=1e-9)
    assert reading.drift == pytest.approx(np.linalg.norm((paths[-1] - paths[0]).mean(axis=0)))
    mine = squared_displacements(places).sum(axis=-1)
    theirs = freud.msd.MSD(mode="window").compute(expected).msd
    np.testing.assert_allclose(mine.mean(axis=1), theirs, rtol=1e-4, atol=1e-4)
    universe = MDAnalysis.Universe.empty(12, trajectory=True)
    universe.load_new(expected.astype(np.float32), order="fac")
    found = EinsteinMSD(universe, msd_type="xyz", fft=False).run()
    np.testing.assert_allclose(mine, found.results.msds_by_particle, rtol=1e-4, atol=1e-4)


def test_diffusion_of_random_walks_is_that_of_their_steps_and_errors_are_true() -> None:
    """D = sigma^2 / (2 dt); over seeds the deviations are of the size of their errors."""
    expected = 0.25**2 / (2 * 0.1)
    deviations = []
    for seed in range(60):
        paths = walk(1000, 16, 0.25, seed)
        squares = squared_displacements(paths).reshape(len(paths), -1)
        line = fit(0.1 * np.arange(len(paths)), squares, (5.0, 25.0))
        assert line is not None
        deviations.append((line.diffusion - expected) / line.diffusion_error)
        assert line.diffusion == pytest.approx(expected, rel=0.6)
        assert abs(line.slope - 1) < 6 * line.slope_error
    assert abs(np.mean(deviations)) < 0.5
    assert 0.7 < np.std(deviations) < 1.6


def test_a_liquid_that_diffuses_passes_with_its_coefficient() -> None:
    found = find(frames_of(walk(1200, 48, 0.25, seed=2), fixed), equilibration=0.2)
    flow, species = found.results
    assert flow.status == species.status == "pass"
    assert (flow.aspect, species.aspect) == ("stability", "accuracy")
    assert species.unit == "1e-6 cm2/s"
    drifted = 47 / 48  # the drift of all takes a part of each walk along
    assert species.value == pytest.approx(100 * drifted * 0.25**2 / (2 * 0.1), abs=4 * species.error)
    assert 0.02 < species.error / species.value < 0.2
    (kind,) = (name.removeprefix("transport_").removesuffix("_msd") for name in found.curves if name.endswith("_msd"))
    assert kind.startswith("N2_")
    lags, msd = found.curves["transport_lag_ps"], found.curves[f"transport_{kind}_msd"]
    assert len(lags) == len(msd) == len(found.curves[f"transport_{kind}_slope"])
    assert msd[0] == pytest.approx(3 * drifted * 0.25**2, rel=0.05)


def cage(steps: int, molecules: int, width: float, seed: int) -> Array:
    noise = np.random.default_rng(seed).normal(scale=width, size=(steps, molecules, 3))
    noise[0] = 0
    paths: Array = start(molecules) + noise
    return paths


def flight(steps: int, molecules: int) -> Array:
    velocities = np.random.default_rng(3).normal(scale=0.02, size=(molecules, 3))
    paths: Array = start(molecules) + np.arange(steps)[:, None, None] * velocities
    return paths


@pytest.mark.parametrize(
    ("paths", "spacing", "status", "words"),
    [
        (flight(400, 12), 5.0, "inconclusive", "they fly"),
        (cage(1000, 12, 0.2, 4), 10.0, "inconclusive", "they are held"),
        (cage(1000, 12, 0.2, 4), 200.0, "fail", "frozen"),
        (walk(400, 12, 0.02, 5), 10.0, "inconclusive", "have not left their cages"),
        (walk(200, 2, 0.8, 11), 100.0, "inconclusive", "too few walks"),
    ],
    ids=["flight", "cage", "frozen", "short", "two molecules"],
)
def test_what_does_not_diffuse_gets_no_coefficient(paths: Array, spacing: float, status: str, words: str) -> None:
    flow, species = find(frames_of(paths, fixed, spacing)).results
    assert (flow.status, species.status) == (status, "inconclusive")
    assert words in flow.reason
    assert species.value is None
    assert species.missing


@pytest.mark.parametrize(
    ("ensemble", "pressure", "status"),
    [("npt", 1e-4, "fail"), ("npt", 2.5, "inconclusive"), ("nvt", None, "inconclusive")],
)
def test_a_liquid_frozen_under_pressure_is_not_blamed(ensemble: str, pressure: float | None, status: str) -> None:
    """Carbonates at 25 kbar and 300 K are solids or glasses, and a box may have been packed too densely."""
    frames = frames_of(cage(1000, 12, 0.2, 4), fixed, 200.0)
    check = checks.get("transport")
    reading = check.begin(Run(frames[0], ensemble, 1.0, 300.0, pressure), check.parse({}))
    for atoms in frames:
        reading.add(atoms)
    assert reading.finish().results[0].status == status


def test_slopes_of_flight_diffusion_and_cage() -> None:
    lags = spaced_lags(300).astype(float)
    for power in (2.0, 1.0, 0.0):
        np.testing.assert_allclose(local_slopes(lags, 0.3 * lags**power)[10:], power, atol=1e-9)
    assert spaced_lags(300)[[0, -1]].tolist() == [1, 300]
    assert len(spaced_lags(0)) == 0


def test_a_volume_that_breathes_moves_no_molecule_that_is_far_away() -> None:
    """At rest in the cell, three cells away: unwrapped by scaled coordinates it would move by 3 x 4 % x 14 Å."""

    def cell(index: int) -> Array:
        return TRICLINIC * (1 + 0.04 * np.sin(0.7 * index))

    places = np.array([[3.02, -2.98, 0.02], [3.5, -2.97, 0.02], [3.02, -2.5, 0.5]])
    paths = np.array([places @ cell(index) for index in range(100)])
    frames = frames_of(paths, cell, wrap=False)
    reading = Walk(frames[0])
    for atoms in frames:
        reading.add(atoms)
    _, found = reading.places(0.0)
    assert np.linalg.norm(found, axis=-1).max() < 0.04 * 14
    assert np.linalg.norm(paths - paths[0], axis=-1).max() > 1.5


def test_frames_between_times_are_left_out_and_missing_ones_told() -> None:
    frames = frames_of(walk(40, 4, 0.1, seed=7), fixed)
    broken = frames[-1].copy()
    broken.info |= {"step": 40, "time_fs": frames[-1].info["time_fs"] + 30.0}
    reading = Walk(frames[0])
    for atoms in [*frames, broken]:
        reading.add(atoms)
    assert len(reading.places(0.0)[0]) == 40
    reading = Walk(frames[0])
    for atoms in frames[:20]:
        reading.add(atoms)
    with pytest.raises(ValueError, match="no frame at 2000 fs, the next is at 2100 fs"):
        reading.add(frames[21])


def test_memory_is_bounded_and_times_stay_even() -> None:
    paths = walk(300, 4, 0.2, seed=8)
    frames = frames_of(paths, fixed)
    reading, whole = Walk(frames[0], most=64), Walk(frames[0])
    for atoms in frames:
        reading.add(atoms)
        whole.add(atoms)
    times, places = reading.places(0.0)
    assert 32 <= len(times) < 64
    np.testing.assert_allclose(np.diff(times), 0.8)
    np.testing.assert_allclose(places, whole.places(0.0)[1][::8])


def test_the_finite_size_correction_is_that_of_yeh_and_hummer() -> None:
    """In SI units by hand, and only for cubes and where the viscosity is given."""
    edge, viscosity = 12.85e-10, 0.9e-3
    by_hand = 2.837297 * (units._k * 300.0) / (6 * np.pi * viscosity * edge)  # m^2/s
    assert 100 * finite_size_correction(300.0, 0.9, 12.85) == pytest.approx(by_hand * 1e10, rel=1e-6)
    assert is_cubic(Atoms(cell=np.eye(3) * 12))
    assert not is_cubic(Atoms(cell=TRICLINIC))
    assert not is_cubic(Atoms(cell=np.diag([12.0, 12.0, 13.0])))

    def cube(_index: int) -> Array:
        return np.eye(3) * 12.85

    frames = frames_of(walk(1200, 27, 0.3, seed=9), cube)
    bare, given = (find(frames, **more).results[1] for more in ({}, {"viscosity": 0.9}))
    assert bare.value == given.value
    assert bare.numbers["finite_size_correction"] is None
    assert given.numbers["finite_size_correction"] == pytest.approx(by_hand * 1e10, rel=1e-4)
    assert given.numbers["corrected"] == pytest.approx(given.value + by_hand * 1e10)
    skew = find(frames_of(walk(1200, 27, 0.3, seed=9), fixed), viscosity=0.9).results[1]
    assert "which is for cubes" in skew.reason
