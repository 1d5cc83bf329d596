"""One reading by all checks: none takes the others down, and what is returned is spread over the run."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science.liquids import checks
from aiida_mlip.science.liquids.checks import Run
from aiida_mlip.science.liquids.reading import chosen_checks, evenly_spaced, read, select_frames
from aiida_mlip.science.liquids.transport import Walk


def nitrogen(frames: int) -> list[Atoms]:
    """Eight molecules that move a little in a skewed box."""
    rng = np.random.default_rng(2)
    centres = np.array(list(np.ndindex(2, 2, 2))) * [4.0, 4.5, 5.0]
    cell = [[8.0, 0, 0], [1.0, 9.0, 0], [0, 0.5, 10.0]]
    made = []
    for index in range(frames):
        ends = (centres[:, None] + np.array([[0.5, 0.2, 0], [-0.5, -0.2, 0.1]])).reshape(-1, 3)
        atoms = Atoms("N16", ends + rng.normal(scale=0.01, size=ends.shape), cell=cell, pbc=True)
        velocities = rng.normal(scale=0.003, size=ends.shape)
        atoms.arrays |= {"velocities": velocities, "forces": rng.normal(size=ends.shape)}
        atoms.info |= {
            "step": 10 * index,
            "time_fs": 10.0 * index,
            "stage": 0,
            "temperature": 300.0,
            "instantaneous_temperature": 300.0,
            "energy": -1.0,
            "stopped": False,
        }
        made.append(atoms)
    return made


def a_run(start: Atoms, ensemble: str = "npt") -> Run:
    return Run(start, ensemble, 1.0, 300.0, 0.0001)


def test_every_check_that_can_say_something_sees_every_frame_once() -> None:
    frames = nitrogen(40)
    seen: list[int] = []
    reading = read(a_run(frames[0]), iter(frames), chosen_checks(a_run(frames[0])), after=seen.append)
    assert seen == list(range(1, 41))
    assert reading.frames == 40
    assert reading.steps == list(range(0, 400, 10))
    assert reading.time_fs == 390.0
    names = {result.check for result in reading.finding.results}
    assert names == set(reading.seconds) == set(chosen_checks(a_run(frames[0])))
    assert {"structure", "transport", "density"} <= names
    assert all(seconds >= 0 for seconds in reading.seconds.values())
    assert sum(reading.seconds.values()) > 0
    prefixes = {name.split("_")[0] for name in reading.finding.curves}
    assert prefixes <= names


def test_a_check_that_raises_is_inconclusive_and_the_others_go_on() -> None:
    """A frame is missing, which diffusion cannot bear; a cluster has no density, which is found at the very start."""
    frames = nitrogen(40)
    gap = [*frames[:20], *frames[21:]]
    run = a_run(frames[0])
    reading = read(run, gap, chosen_checks(run, only=["structure", "transport"]))
    results = {result.check: result for result in reading.finding.results}
    assert results["transport"].status == "inconclusive"
    assert "failed after 20 frames with ValueError: no frame at 200 fs" in results["transport"].reason
    assert results["structure"].status == "pass"
    cluster = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
    limits = checks.get("density").parse({})
    (told,) = read(a_run(cluster), [], {"density": limits}).finding.results
    assert (told.check, told.status) == ("density", "inconclusive")
    assert "failed after 0 frames" in told.reason


def test_memory_that_is_gone_is_no_failure_of_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Walk, "add", gone)
    frames = nitrogen(2)
    run = a_run(frames[0])
    with pytest.raises(MemoryError):
        read(run, frames, chosen_checks(run, only=["transport"]))


def test_checks_are_chosen_by_name_by_limits_and_by_what_they_apply_to() -> None:
    start = nitrogen(1)[0]
    chosen = chosen_checks(a_run(start), limits={"transport": {"slope": 0.3}})
    assert chosen["transport"].slope == 0.3  # type: ignore[attr-defined]
    assert "density" in chosen
    assert "density" not in chosen_checks(a_run(start, "nvt"))
    assert list(chosen_checks(a_run(start), only=["structure", "structure"])) == ["structure"]
    cluster = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
    assert not {"structure", "transport", "density"} & set(chosen_checks(a_run(cluster, "nvt")))


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [(10, 4, [0, 3, 6, 9]), (3, 5, [0, 1, 2]), (0, 5, []), (1, 2, [0]), (1001, 3, [0, 500, 1000])],
)
def test_frames_are_evenly_spaced(count: int, wanted: int, expected: list[int]) -> None:
    assert evenly_spaced(count, wanted) == expected


def test_frames_of_events_are_the_first_ones_at_or_after_them() -> None:
    steps = [0, 10, 20, 30, 40]
    picked = list(select_frames(steps, 2, [11, 12, 40, 41], 5))
    assert picked == [(0, False), (4, False), (2, True), (4, True)]
    assert list(select_frames(steps, 2, [11, 40], 1))[2:] == [(2, True)]
