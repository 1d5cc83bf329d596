"""The parser of ``mlip.uncertainty``: outputs, and exit codes of files that are missing or damaged."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aiida_mlip.schema.uncertainty import CALIBRATION_FILE
from aiida_mlip.science.uncertainty.model import UNCERTAINTY_FILE, UncertaintyHeader, UncertaintyModel

Parse = Callable[..., tuple[dict[str, Any], Any]]

RESULT = {
    "contract": 1,
    "task": "uncertainty",
    "versions": {"ase": "3.29"},
    "timings": {"total": 1.0},
    "payload": {"kind": "deep", "members": 2, "median_max_forces_sigma": 0.1, "warnings": ["few frames"]},
}


def large_files() -> dict[str, bytes]:
    facts = {"kind": "deep", "sha256": ("a", "b"), "head": "Default", "elements": ("Cu",)}
    model = UncertaintyModel(UncertaintyHeader(**facts, energy_scale=1, forces_scale=2), {"shifts": np.ones((2, 1))})
    files = {}
    for name, write in (
        (UNCERTAINTY_FILE, model.write),
        (CALIBRATION_FILE, lambda target: np.savez(target, frame=np.arange(3))),
    ):
        buffer = io.BytesIO()
        write(buffer)
        files[name] = buffer.getvalue()
    return files


def test_files_become_nodes(parse: Parse) -> None:
    outputs, node = parse("uncertainty", {}, {"result.json": RESULT}, large_files())
    assert node.exit_status == 0
    assert outputs["uncertainty"].header.forces_scale == 2
    assert outputs["uncertainty"].potentials_sha256 == ("a", "b")
    assert outputs["calibration"].get_array("frame").tolist() == [0, 1, 2]
    assert outputs["results"]["warnings"] == ["few frames"]


def test_the_time_of_writing_does_not_change_the_hash(parse: Parse) -> None:
    """The bytes of an npz file hold it."""
    from aiida_mlip.data.uncertainty import UncertaintyData

    content = large_files()[UNCERTAINTY_FILE]
    model = UncertaintyModel.read(io.BytesIO(content))
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(model.header.model_dump_json().encode(), dtype=np.uint8), **model.arrays)
    assert buffer.getvalue() != content
    first, second = (UncertaintyData(io.BytesIO(data)).store() for data in (content, buffer.getvalue()))
    assert first.base.caching.compute_hash() == second.base.caching.compute_hash()
    changed = UncertaintyModel(model.header, {"shifts": model.arrays["shifts"] + 1e-12})
    other = io.BytesIO()
    changed.write(other)
    third = UncertaintyData(io.BytesIO(other.getvalue())).store()
    assert third.base.caching.compute_hash() != first.base.caching.compute_hash()


@pytest.mark.parametrize("name", [UNCERTAINTY_FILE, CALIBRATION_FILE])
@pytest.mark.parametrize("keep", [None, 40])
def test_a_missing_or_damaged_file_is_said(parse: Parse, name: str, keep: int | None) -> None:
    files = large_files()
    content = files.pop(name)
    if keep is not None:
        files[name] = content[:keep]
    _, node = parse("uncertainty", {}, {"result.json": RESULT}, files)
    assert node.exit_status == 302
    assert name in node.exit_message
    assert "Submit again" in node.exit_message
