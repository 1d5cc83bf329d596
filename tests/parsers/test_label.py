"""The parser of ``mlip.label``: labels of whole, unfinished and damaged jobs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from ase import Atoms

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.errors import ErrorKind
from aiida_mlip.schema.labelling import LABELS_FILE
from aiida_mlip.science import keys

Parse = Callable[..., tuple[dict[str, Any], Any]]


@pytest.fixture
def inputs(aiida_profile, emt_frames: Callable[..., list[Atoms]]) -> dict[str, Any]:
    known = {"architecture": "emt", "elements": ["Ni", "Cu"]}
    info = {**known, "r_max": 6.0, "dtype": "float64", "num_parameters": 0}
    return {
        "settings": orm.Dict({"device": "cpu", "dtype": "float64", "head": None, "stress": True}),
        "potential": PotentialData(io.BytesIO(json.dumps(known).encode()), info),
        "configurations": DatasetData(emt_frames(3)),
    }


def lines(*items: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(item) for item in ({"key": "any"}, *items)).encode()


def label(index: int) -> dict[str, Any]:
    return {"index": index, "energy": -1.5 - index, "forces": [[0.1 * index, -0.2, 0.3]] * 4}


def document(labelled: int, asked: int = 3, failed: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    left = asked - labelled - len(failed)
    counts = {"asked": asked, "labelled": labelled, "not_reached": left}
    return {"contract": 1, "task": "label", "payload": {"failed": list(failed), "counts": counts}, **more}


def test_labels_go_to_their_configurations(parse: Parse, inputs: dict[str, Any]) -> None:
    reason = {"index": 1, "reason": "it refused"}
    large = {LABELS_FILE: lines(label(2), reason, label(0))}  # the order of the lines does not matter
    outputs, node = parse("label", inputs, {"result.json": document(2, failed=(reason,))}, large)
    assert node.exit_status == 0
    first, last = outputs["labelled"].frames()
    assert (first.info[keys.ENERGY], last.info[keys.ENERGY]) == (-1.5, -3.5)
    np.testing.assert_array_equal(last.arrays[keys.FORCES][3], [0.2, -0.2, 0.3])
    assert keys.STRESS not in first.info  # that of the input was of another label


def test_a_job_out_of_time_keeps_its_labels(parse: Parse, inputs: dict[str, Any]) -> None:
    error = {"kind": ErrorKind.WALLTIME, "message": "Out of time.", "remedy": "More."}
    files = {"result.json": document(1, error=error)}
    outputs, node = parse("label", inputs, files, {LABELS_FILE: lines(label(0))})
    assert node.exit_status == 400
    assert len(outputs["labelled"]) == 1


def test_time_for_no_label_at_all(parse: Parse, inputs: dict[str, Any]) -> None:
    error = {"kind": ErrorKind.WALLTIME, "message": "Out of time.", "remedy": "More."}
    _, node = parse("label", inputs, {"result.json": document(0, error=error)}, {LABELS_FILE: lines()})
    assert node.exit_status == 401


@pytest.mark.parametrize("large", [{}, {LABELS_FILE: lines(label(0))[:-9]}], ids=["missing", "cut short"])
def test_a_file_that_is_not_whole_is_no_success(parse: Parse, inputs: dict[str, Any], large: dict) -> None:
    _, node = parse("label", inputs, {"result.json": document(1)}, large)
    assert node.exit_status == 302


def test_a_killed_job_keeps_the_labels_that_it_wrote(parse: Parse, inputs: dict[str, Any]) -> None:
    large = {LABELS_FILE: lines(label(0), label(1))[:-9]}
    outputs, node = parse("label", inputs, {"worker.out": ""}, large)
    assert node.exit_status == 300
    assert len(outputs["labelled"]) == 1
    assert outputs["results"]["counts"] == {"asked": 3, "labelled": 1, "not_reached": 2}


def test_only_failures_are_said(parse: Parse, inputs: dict[str, Any]) -> None:
    failed = tuple({"index": index, "reason": f"reason {index}"} for index in range(3))
    outputs, node = parse("label", inputs, {"result.json": document(0, failed=failed)}, {LABELS_FILE: lines(*failed)})
    assert node.exit_status == 411
    assert "reason 0" in node.exit_message
    assert "labelled" not in outputs
