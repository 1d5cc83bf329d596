"""PotentialData: description, hash, refusals."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from aiida.common import exceptions

from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.potential import PotentialInfo

pytestmark = pytest.mark.usefixtures("aiida_profile")

MODEL = b"PK\x03\x04 a stand-in for the bytes of a model: nothing here loads it"


def info(**changes: Any) -> dict[str, Any]:
    return {
        "architecture": "mace",
        "elements": ["Ni", "Cu"],
        "r_max": 4.5,
        "dtype": "float32",
        "num_parameters": 1234,
        "e0s": {"Default": {"Ni": -1.25, "Cu": -2.5}},
        **changes,
    }


def potential(content: bytes = MODEL, **changes: Any) -> PotentialData:
    return PotentialData(io.BytesIO(content), info(**changes))


def node_hash(content: bytes = MODEL, **changes: Any) -> str:
    return str(potential(content, **changes).store().base.caching.get_hash())


def test_description_survives_storing() -> None:
    node = potential(name="mine", level_of_theory="PBE", licence="MIT", extra={"zbl": True}).store()
    assert node.info == PotentialInfo(
        **info(name="mine", level_of_theory="PBE", licence="MIT", extra={"zbl": True}),
        sha256=hashlib.sha256(MODEL).hexdigest(),
    )
    assert node.elements == ("Ni", "Cu")
    assert node.label == "mine"
    assert node.trusted is False


def test_hash_ignores_words_and_sees_physics() -> None:
    reference = node_hash()
    for words in ({"name": "x"}, {"licence": "MIT"}, {"level_of_theory": "PBE"}, {"backend_version": "0.3.16"}):
        assert node_hash(**words) == reference
    assert node_hash(MODEL + b"!") != reference
    for physics in ({"r_max": 4.6}, {"dtype": "float64"}, {"heads": ["Default", "pt_head"]}, {"architecture": "lj"}):
        assert node_hash(**physics) != reference


def test_file_may_be_a_path(tmp_path: Path) -> None:
    path = tmp_path / "some.model"
    path.write_bytes(MODEL)
    node = PotentialData(path, info()).store()
    assert node.base.repository.list_object_names() == [PotentialData.FILENAME]
    assert node.base.caching.get_hash() == node_hash()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"file = '.*nothing.model' does not exist: check the path"):
        PotentialData(tmp_path / "nothing.model", info())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file is empty"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs", "a Git LFS pointer"),
    ],
)
def test_other_files_are_refused(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        potential(content)


def test_wrong_checksum_is_refused() -> None:
    with pytest.raises(ValueError, match="the file is damaged or not the one described; get it again"):
        potential(sha256="0" * 64)


def test_unknown_field_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"info.cutoff is not a known field: known here are .*r_max"):
        potential(cutoff=5.0)


def test_head_has_to_be_among_the_heads() -> None:
    with pytest.raises(exceptions.ValidationError, match="head = 'mp' is not among the heads"):
        potential(head="mp").store()
