"""The task liquid: files in, findings out; damage, restarts and the time limit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science.datasets.canonical import read_extxyz, write_extxyz
from aiida_mlip.science.dynamics import series
from aiida_mlip.science.origin import origin_of
from aiida_mlip.science.trajectory import Moment, write_frame
from aiida_mlip.worker.runner import run_job

FACTS = {"ensemble": "nvt", "temperature": 300.0}


def start() -> Atoms:
    ends = np.array([[0.5, 0.2, 0.0], [-0.5, -0.2, 0.1]])
    centres = np.array(list(np.ndindex(2, 2, 2))) * [4.0, 4.5, 5.0]
    positions = (centres[:, None] + ends).reshape(-1, 3)
    return Atoms("N16", positions, cell=[[8.0, 0, 0], [1.0, 9.0, 0], [0, 0.5, 10.0]], pbc=True)


def trajectory(
    path: Path, frames: int, seed: int = 1, atoms: Atoms | None = None, apart_from: int | None = None
) -> None:
    """Molecules that tremble; from one frame on the first of them is two atoms that stay apart."""
    rng = np.random.default_rng(seed)
    atoms = atoms or start()
    with path.open("w") as handle:
        for index in range(frames):
            moved = atoms.copy()
            moved.positions += rng.normal(scale=0.01, size=moved.positions.shape)
            if apart_from is not None and index >= apart_from:
                moved.positions[0] += [1.4, 0.2, 0.1]
            zero = np.zeros_like(moved.positions)
            write_frame(handle, moved, Moment(10 * index, 10.0 * index, 0, 300.0, 300.0, -1.0, zero, velocities=zero))


def time_series(path: Path, rows: int) -> None:
    values = {"temperature": 300.0, "energy": -1.0, "kinetic_energy": 0.5, "conserved_energy": -0.5}
    lines = [series.row({"step": 10 * i, "time_fs": 10.0 * i, **values}) for i in range(rows)]
    path.write_text(series.header() + "".join(lines))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three walkers: one that trembles, one of which a molecule breaks in the middle, and a short one."""
    with (tmp_path / "structures.xyz").open("w") as handle:
        write_extxyz([Atoms("He"), start()], handle)
    trajectory(tmp_path / "trajectory_calm.xyz", 31)
    trajectory(tmp_path / "trajectory_broken.xyz", 31, seed=2, apart_from=12)
    trajectory(tmp_path / "trajectory_late.xyz", 3)
    time_series(tmp_path / "series_calm.csv", 31)
    return tmp_path


def job(folder: Path, settings: dict[str, Any] | None = None, files: dict[str, str] | None = None, **more: Any) -> Any:
    walkers = {name: {**FACTS, "structure": 1} for name in ("calm", "broken", "late")}
    given = {"structures": "structures.xyz", "series_calm": "series_calm.csv"}
    given |= {f"trajectory_{name}": f"trajectory_{name}.xyz" for name in walkers}
    given |= files or {}
    chosen = {"walkers": walkers, "keep_frames": 3, **(settings or {})}
    (folder / "job.json").write_text(
        json.dumps({"contract": 1, "task": "liquid", "settings": chosen, "files": given, **more})
    )
    assert run_job(folder / "job.json") == 0
    return json.loads((folder / "result.json").read_text())


def kept(folder: Path, name: str) -> list[Atoms]:
    with (folder / "findings" / f"{name}.xyz").open() as handle:
        return list(read_extxyz(handle))


def test_findings_curves_and_frames_of_each_walker(folder: Path) -> None:
    result = job(folder)
    assert result["error"] is None, result["error"]
    walkers = result["payload"]["walkers"]
    assert walkers["calm"]["molecules"] == walkers["broken"]["molecules"]
    assert list(walkers["calm"]["molecules"].values()) == [8]
    assert walkers["calm"]["frames"] == 31
    assert walkers["calm"]["time_ps"] == pytest.approx(0.3)
    assert walkers["calm"]["events"] == []
    with np.load(folder / "findings" / "calm.npz") as curves:
        assert {name.split("_")[0] for name in curves.files} <= set(walkers["calm"]["seconds"])
        assert curves.files
    frames = kept(folder, "calm")
    assert [origin_of(atoms).step for atoms in frames] == [0, 150, 300]
    assert {atoms.info["config_type"] for atoms in frames} == {"frame_calm"}
    assert not frames[0].arrays.keys() - {"numbers", "positions"}


def test_frames_of_events_are_returned_with_what_happened(folder: Path) -> None:
    """A molecule breaks at 120 fs, for good."""
    result = job(folder)
    (event, *_) = result["payload"]["walkers"]["broken"]["events"]
    assert event["time_fs"] == pytest.approx(120.0)
    assert [
        result["status"]
        for result in result["payload"]["walkers"]["broken"]["checks"]
        if result["check"] == "molecules"
    ] == ["fail"]
    shown = [atoms for atoms in kept(folder, "broken") if atoms.info["config_type"] == "event_broken"]
    assert [origin_of(atoms).step for atoms in shown] == [120]
    assert "->" in origin_of(shown[0]).reason
    none = job(folder, {"keep_events": 0})
    assert none["error"] is None
    assert len(kept(folder, "broken")) == 3


def test_only_the_checks_that_are_asked_for_are_made(folder: Path) -> None:
    result = job(folder, {"only": ["structure"], "checks": {"structure": {"r_max": 3.0}}})
    assert {check["check"] for check in result["payload"]["walkers"]["calm"]["checks"]} == {"structure"}
    with np.load(folder / "findings" / "calm.npz") as curves:
        assert curves["structure_r"][-1] < 3.0


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: cut(folder / "trajectory_broken.xyz"), "walkers.broken: line 541: not a frame"),
        (lambda folder: trajectory(folder / "trajectory_broken.xyz", 3, atoms=start()[:14]), "its frames are of N14"),
        (lambda folder: (folder / "trajectory_broken.xyz").unlink(), "does not exist"),
    ],
    ids=["cut", "another", "missing"],
)
def test_what_is_wrong_with_one_walker_is_told_and_the_other_is_kept(folder: Path, damage: Any, words: str) -> None:
    damage(folder)
    result = job(folder)
    assert result["error"]["kind"] == "input"
    assert words in result["error"]["message"]
    assert set(result["payload"]["walkers"]) == {"calm", "late"}


def cut(path: Path) -> None:
    path.write_text(path.read_text()[:-9])


def test_a_damaged_time_series_is_told(folder: Path) -> None:
    (folder / "series_calm.csv").write_text(series.header() + "1,2,3\n")
    result = job(folder)
    assert "walkers.calm: its time series is damaged" in result["error"]["message"]
    assert set(result["payload"]["walkers"]) == {"broken", "late"}


def test_a_structure_that_is_not_there_is_refused(folder: Path) -> None:
    result = job(folder, {"walkers": {"calm": {**FACTS, "structure": 2}}})
    assert "walkers.calm.structure = 2: there are 2 structures" in result["error"]["message"]


def test_a_trajectory_without_a_frame_is_inconclusive(folder: Path) -> None:
    (folder / "trajectory_broken.xyz").write_text("")
    result = job(folder)
    assert result["error"] is None, result["error"]
    found = result["payload"]["walkers"]["broken"]
    assert (found["frames"], found["time_ps"]) == (0, 0.0)
    assert not {check["status"] for check in found["checks"]} - {"inconclusive", "fail"}


def test_finished_walkers_are_not_read_again(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The restart has no longer the trajectory that the first job read; other limits make it read again."""
    first = job(folder, time_limit=None)
    second = tmp_path_factory.mktemp("second")
    for path in folder.glob("*.xyz"):
        (second / path.name).write_text(path.read_text())
    (second / "series_calm.csv").write_text((folder / "series_calm.csv").read_text())
    (second / "restart").mkdir()
    (folder / "findings").rename(second / "restart" / "findings")
    (second / "restart" / "findings" / "broken.json").unlink()
    before = (second / "restart" / "findings" / "calm.npz").stat().st_mtime_ns
    again = job(second, files={"restart": "restart"})
    assert (second / "findings" / "calm.npz").stat().st_mtime_ns == before
    assert again["payload"]["walkers"]["calm"] == first["payload"]["walkers"]["calm"]
    assert again["payload"]["walkers"]["broken"]["events"] == first["payload"]["walkers"]["broken"]["events"]
    job(second, {"equilibration": 0.4}, files={"restart": "restart"})
    assert (second / "findings" / "calm.npz").stat().st_mtime_ns > before


def test_out_of_time_keeps_what_is_finished(folder: Path) -> None:
    """The first walker is read already, the second takes longer than the limit."""
    job(folder)
    for path in [*(folder / "findings").glob("broken.*"), *(folder / "findings").glob("late.*")]:
        path.unlink()
    path = folder / "trajectory_broken.xyz"
    path.write_text(path.read_text() * 400)
    result = job(folder, time_limit=2.0)
    assert result["error"]["kind"] == "walltime", result["error"]
    assert set(result["payload"]["walkers"]) == {"calm"}
    assert sorted(path.name for path in (folder / "findings").iterdir()) == ["calm.json", "calm.npz", "calm.xyz"]
