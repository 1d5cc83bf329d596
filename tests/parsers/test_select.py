"""The parser of ``mlip.select``: frames get the uuid of their trajectory, and damage is told."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from aiida import orm
from ase.build import bulk

from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.schema.errors import ErrorKind
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.keys import GROUP
from aiida_mlip.science.origin import Origin, origin_of, set_origin

Parse = Callable[..., tuple[dict[str, Any], Any]]
COUNTS = {"frames": 9, "filtered": 1, "accurate": 4, "candidate": 3, "failed": 1, "known": 0, "selected": 2}


def document(selected: int = 2) -> dict[str, Any]:
    payload = {"counts": {**COUNTS, "selected": selected}, "message": "said by the worker", "candidate_fraction": 0.5}
    return {"contract": 1, "task": "select", "payload": payload, "versions": {"ase": "3"}, "timings": {"total": 1.0}}


def extxyz(*walkers: str) -> bytes:
    frames = [set_origin(bulk("W", a=3.1 + i), Origin(kind="md", walker=w, step=i)) for i, w in enumerate(walkers)]
    text = io.StringIO()
    write_extxyz(frames, text)
    return text.getvalue().encode()


@pytest.fixture
def inputs(aiida_profile, emt_trajectory: Callable[..., str]) -> dict[str, Any]:
    texts = {name: emt_trajectory(300, 2, seed).encode() for seed, name in enumerate(("a", "b"))}
    return {f"trajectories__{name}": MDTrajectoryData(io.BytesIO(text)) for name, text in texts.items()}


def test_each_frame_gets_the_uuid_of_its_trajectory(parse: Parse, inputs: dict[str, Any]) -> None:
    outputs, node = parse("select", inputs, {"result.json": document()}, {"selected.xyz": extxyz("b", "a")})
    assert node.is_finished_ok, node.exit_message
    assert outputs["results"]["message"] == "said by the worker"
    expected = [inputs["trajectories__b"].uuid, inputs["trajectories__a"].uuid]
    frames = list(outputs["selected"].frames())
    assert [origin_of(atoms).trajectory for atoms in frames] == expected
    texts = [inputs[f"trajectories__{name}"].get_content(mode="rb") for name in ("b", "a")]
    assert [atoms.info[GROUP] for atoms in frames] == [hashlib.sha256(text).hexdigest()[:8] for text in texts]
    assert [origin_of(atoms).step for atoms in frames] == [0, 1]


def test_nothing_selected_leaves_no_set(parse: Parse, inputs: dict[str, Any]) -> None:
    outputs, node = parse("select", inputs, {"result.json": document(0)})
    assert node.is_finished_ok
    assert set(outputs) == {"results"}


@pytest.mark.parametrize(
    ("large", "words"),
    [
        ({}, "selected.xyz was not retrieved"),
        ({"selected.xyz": extxyz("a")}, "has 1 frames, and 2 were selected"),
        ({"selected.xyz": extxyz("a", "c")}, "a frame of no walker of this job"),
        ({"selected.xyz": extxyz("a", "b")[:-20]}, "selected.xyz is damaged"),
    ],
)
def test_a_damaged_set_is_an_error(parse: Parse, inputs: dict[str, Any], large: dict[str, bytes], words: str) -> None:
    outputs, node = parse("select", inputs, {"result.json": document()}, large)
    assert node.exit_status == 302
    assert words in node.exit_message
    assert isinstance(outputs["results"], orm.Dict)


def test_a_refusal_of_the_worker_is_passed_on(parse: Parse, inputs: dict[str, Any]) -> None:
    error = {"kind": ErrorKind.INPUT, "message": "This happened.", "remedy": "Do that.", "details": {}}
    outputs, node = parse("select", inputs, {"result.json": {**document(), "payload": {}, "error": error}})
    assert node.exit_status == 321
    assert "This happened. Do that." in node.exit_message
    assert not outputs
