"""The parser of ``mlip.liquid``: curves and frames of what was finished, and damage is told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk

from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.schema.errors import ErrorKind
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.origin import Origin, origin_of, set_origin

Parse = Callable[..., tuple[dict[str, Any], Any]]

FOUND = {"facts": {"temperature": 300.0}, "formula": "W", "frames": 2, "time_ps": 0.1, "checks": []}


def document(*walkers: str, error: str | None = None) -> dict[str, Any]:
    result: dict[str, Any] = {"contract": 1, "task": "liquid", "payload": {"walkers": dict.fromkeys(walkers, FOUND)}}
    if error:
        result["error"] = {"kind": error, "message": "This happened.", "remedy": "Do that.", "details": {}}
    return result


def files(name: str, of: str | None = None, **curves: list[float]) -> dict[str, bytes]:
    atoms = set_origin(bulk("W", a=3.1), Origin(kind="md", walker=of or name, step=20))
    atoms.info[CONFIG_TYPE] = f"frame_{name}"
    text, arrays = io.StringIO(), io.BytesIO()
    write_extxyz([atoms], text)
    np.savez(arrays, **{key: np.array(values) for key, values in curves.items()})
    findings = json.dumps({"key": "abc", "findings": FOUND})
    contents = {"json": findings.encode(), "npz": arrays.getvalue(), "xyz": text.getvalue().encode()}
    return {f"findings/{name}.{kind}": content for kind, content in contents.items()}


def test_frames_know_their_trajectory_and_curves_their_walker(parse: Parse, emt_trajectory: Callable[..., str]) -> None:
    node = MDTrajectoryData(io.BytesIO(emt_trajectory(300, 2).encode()))
    large = files("a", density_values=[1.0, 2.0]) | files("b")
    outputs, job = parse("liquid", {"trajectories__a": node}, {"result.json": document("a", "b")}, large)
    assert job.is_finished_ok, job.exit_message
    assert outputs["curves"]["a"].get_array("density_values").tolist() == [1.0, 2.0]
    assert set(outputs["curves"]) == {"a"}
    frames = list(outputs["frames"].frames())
    assert [atoms.info[CONFIG_TYPE] for atoms in frames] == ["frame_a", "frame_b"]
    assert [origin_of(atoms).trajectory for atoms in frames] == [node.uuid, ""]
    assert [origin_of(atoms).step for atoms in frames] == [20, 20]


@pytest.mark.parametrize(
    ("large", "words"),
    [
        ({}, "findings/a.npz was not retrieved"),
        (files("a", x=[1.0]) | {"findings/a.npz": b"PK damaged"}, "findings/a.npz is damaged"),
        (files("a", x=[1.0]) | {"findings/a.xyz": b"2\nx\n"}, "findings/a.xyz is damaged"),
        (files("a", of="b"), "a frame of another walker"),
    ],
)
def test_damaged_files_are_an_error(parse: Parse, large: dict[str, bytes], words: str) -> None:
    outputs, node = parse("liquid", {}, {"result.json": document("a")}, large)
    assert node.exit_status == 302
    assert words in node.exit_message
    assert isinstance(outputs["results"], orm.Dict)


@pytest.mark.parametrize(
    ("walkers", "kind", "status"),
    [(("a",), ErrorKind.WALLTIME, 400), ((), ErrorKind.WALLTIME, 401), (("a",), ErrorKind.INPUT, 321)],
)
def test_what_is_finished_is_kept_where_the_rest_failed(
    parse: Parse, walkers: tuple[str, ...], kind: str, status: int
) -> None:
    result = document(*walkers, error=kind)
    result["payload"] = result["payload"] if walkers else {}
    outputs, node = parse("liquid", {}, {"result.json": result}, files("a", x=[1.0]))
    assert node.exit_status == status
    assert "This happened. Do that." in node.exit_message
    assert ("frames" in outputs) == bool(walkers)
    assert set(outputs.get("curves", {})) == set(walkers)


def test_a_job_without_a_result_leaves_what_it_had_written(parse: Parse) -> None:
    outputs, node = parse("liquid", {}, {"worker.out": "Killed"}, files("a", x=[1.0]))
    assert node.exit_status == 340
    assert outputs["results"]["walkers"]["a"]["formula"] == "W"
    assert len(outputs["frames"]) == 1
