"""The task `select`: real dynamics in, frames with origins out; with descriptors of geometry and of mace."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science.datasets.canonical import read_extxyz, write_extxyz
from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.origin import origin_of
from aiida_mlip.science.trajectory import read_trajectory
from aiida_mlip.worker.backends import load_potential
from aiida_mlip.worker.descriptors import describe, source_of
from aiida_mlip.worker.runner import run_job

EMT_FILE = '{"architecture": "emt", "elements": ["Al", "Cu", "Ni"]}'
LEVELS = {"kind": "absolute", "lower": 0.2, "upper": 0.6}

Trajectory = Callable[..., str]


def job(
    folder: Path,
    trajectories: dict[str, str],
    known: list[Atoms] | None = None,
    model: Path | None = None,
    info: dict[str, Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Run a job and return its whole result."""
    folder.mkdir(exist_ok=True)
    files = {f"trajectory_{name}": f"trajectory_{name}.xyz" for name in trajectories}
    for name, text in trajectories.items():
        (folder / files[f"trajectory_{name}"]).write_text(text)
    if known is not None:
        with (folder / "known.xyz").open("w") as handle:
            write_extxyz(known, handle)
        files["known"] = "known.xyz"
    if model is None:
        (folder / "emt.json").write_text(EMT_FILE)
    document = {
        "contract": 1,
        "task": "select",
        "settings": {"levels": LEVELS, **settings},
        "files": {**files, "potential": str(model or "emt.json")},
        "potential": info,
    }
    (folder / "job.json").write_text(json.dumps(document))
    run_job(folder / "job.json")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def selected(folder: Path) -> list[Atoms]:
    with (folder / "selected.xyz").open() as handle:
        return list(read_extxyz(handle))


def frames_of(text: str) -> list[Atoms]:
    return list(read_trajectory(io.StringIO(text)))


def test_hot_frames_are_asked_for(tmp_path: Path, emt_trajectory: Trajectory) -> None:
    texts = {"cold_s0_w0": emt_trajectory(20, 15, 1), "hot_s0_w0": emt_trajectory(900, 30, 2)}
    known = frames_of(emt_trajectory(100, 6, 3))
    result = job(tmp_path, texts, known, budget=5, generation=3)
    assert result["error"] is None
    counts = result["payload"]["counts"]
    assert counts["frames"] == 45
    assert counts["accurate"] + counts["candidate"] + counts["failed"] == counts["frames"] - counts["filtered"]
    assert result["payload"]["by_walker"]["cold_s0_w0"]["accurate"] == 15
    assert counts["selected"] == 5
    assert result["payload"]["descriptors"] == "geometry"
    assert result["payload"]["candidate_fraction"] == (counts["candidate"] + counts["failed"]) / 45
    by_step = {atoms.info["step"]: atoms for atoms in frames_of(texts["hot_s0_w0"])}
    for atoms in selected(tmp_path):
        origin = origin_of(atoms)
        assert origin is not None
        assert (origin.walker, origin.generation, origin.trajectory) == ("hot_s0_w0", 3, "")
        assert atoms.info[CONFIG_TYPE] == "md_hot"
        assert origin.max_forces_sigma == by_step[origin.step].info["max_forces_sigma"] >= 0.2
        assert origin.energy_sigma == pytest.approx(0.01)
        np.testing.assert_array_equal(atoms.positions, by_step[origin.step].positions)


def test_the_same_job_gives_the_same_frames(tmp_path: Path, emt_trajectory: Trajectory) -> None:
    texts = {"a": emt_trajectory(900, 20, 2), "b": emt_trajectory(900, 20, 4)}
    for name in ("first", "second"):
        job(tmp_path / name, texts, frames_of(emt_trajectory(100, 6, 3)), budget=6)
    assert (tmp_path / "first" / "selected.xyz").read_text() == (tmp_path / "second" / "selected.xyz").read_text()


def test_nothing_to_ask_for_is_no_error(tmp_path: Path, emt_trajectory: Trajectory) -> None:
    result = job(tmp_path, {"a": emt_trajectory(20, 10)})
    assert result["error"] is None
    assert result["payload"]["counts"]["selected"] == 0
    assert result["payload"]["message"].startswith("Nothing was selected: no frame reaches the lower level of 0.2")
    assert not (tmp_path / "selected.xyz").exists()


def test_what_was_selected_is_known_the_next_time(tmp_path: Path, emt_trajectory: Trajectory) -> None:
    texts = {"a": emt_trajectory(900, 20, 2)}
    everything = frames_of(texts["a"])
    result = job(tmp_path, texts, everything, budget=5)
    counts = result["payload"]["counts"]
    assert (counts["selected"], counts["known"]) == (0, counts["candidate"] + counts["failed"])
    assert result["payload"]["message"].endswith("are as what is known.")


def test_filters_are_counted_by_name_and_warned_of(tmp_path: Path, emt_trajectory: Trajectory) -> None:
    text = emt_trajectory(900, 20, 2)
    largest = [np.linalg.norm(atoms.arrays["forces"], axis=1).max() for atoms in frames_of(text)]
    limit = float(np.quantile(largest, 0.25))
    result = job(tmp_path, {"a": text}, filters={"max_force": limit})
    assert result["payload"]["filtered_by"] == {"max_force": 15}
    assert "refused 15 of 20 frames" in result["payload"]["warnings"][0]


def test_a_hopeless_potential_and_thinning_are_warned_of(tmp_path: Path, emt_trajectory: Trajectory) -> None:
    levels = {"kind": "absolute", "lower": 0.001, "upper": 0.002}
    result = job(tmp_path, {"a": emt_trajectory(900, 20, 2)}, levels=levels, max_candidates=4, budget=3)
    first, second = result["payload"]["warnings"]
    assert "at or above the upper level of 0.002" in first
    assert "4 were compared (max_candidates = 4)" in second


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sigma": False}, "trajectories.a: frame 0 (step 0) has no uncertainty of its forces."),
        ({"max_label_atoms": 7}, "trajectories.a has 8 atoms, more than max_label_atoms = 7."),
        ({"cut": True}, "trajectories.a: line"),
        ({"elements": '{"architecture": "emt", "elements": ["Cu"]}'}, "has Ni, which the potential lacks"),
    ],
)
def test_refusals(tmp_path: Path, emt_trajectory: Trajectory, options: dict[str, Any], words: str) -> None:
    options = dict(options)
    text = emt_trajectory(900, 5, 2, sigma=options.pop("sigma", True))
    text = text[:-40] if options.pop("cut", False) else text
    (tmp_path / "other.json").write_text(options.pop("elements", EMT_FILE))
    result = job(tmp_path, {"a": text}, model=tmp_path / "other.json", **options)
    assert result["error"]["kind"] == "input"
    assert words in result["error"]["message"]
    assert result["error"]["remedy"]


def test_mace_describes_each_atom(tiny_mace: tuple[Path, dict], emt_trajectory: Trajectory) -> None:
    path, info = tiny_mace
    potential = load_potential(path, info)
    assert source_of(potential) == "potential"
    frames = frames_of(emt_trajectory(900, 5, 2))
    each = list(describe(potential, frames, ["Cu", "Ni"], batch_size=2))
    averages = potential.evaluate(frames, descriptors=True).descriptors
    assert averages is not None
    np.testing.assert_allclose([features.mean(axis=0) for features in each], averages, atol=1e-12)
    turned = frames[4].copy()
    turned.rotate(50, (1, 2, 3), rotate_cell=True)
    features, lone = describe(potential, [turned[::-1], Atoms("Cu")], ["Cu", "Ni"])
    np.testing.assert_allclose(features[::-1], each[4], atol=1e-9)
    assert lone.shape == (1, features.shape[1])


def test_selection_with_descriptors_of_mace(
    tmp_path: Path, tiny_mace: tuple[Path, dict], emt_trajectory: Trajectory
) -> None:
    path, info = tiny_mace
    texts = {"t900_s0_w0": emt_trajectory(900, 12, 2)}
    known = frames_of(emt_trajectory(100, 4, 3))
    result = job(tmp_path, texts, known, path, info, budget=3)
    assert result["error"] is None
    assert result["payload"]["descriptors"] == "potential"
    assert result["payload"]["novelty_unit"] > 0
    assert len(selected(tmp_path)) == 3
