"""MDTrajectoryData: summary, hash, refusals."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common import exceptions
from aiida.plugins import DataFactory
from ase import Atoms

from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.science.trajectory import Moment, write_frame

pytestmark = pytest.mark.usefixtures("aiida_profile")


def content(count: int = 3, energy: float = -1.0) -> bytes:
    text = io.StringIO()
    for index in range(count):
        atoms = Atoms("WC", positions=[[0, 0, 0], [0, 0, 2 + index / 7]], cell=[5, 6, 7], pbc=True)
        sigma = np.array([0.1, 0.2 - 0.01 * index])
        last = index == count - 1
        write_frame(
            text,
            atoms,
            Moment(10 * index, 5.0, 0, 300.0, 280.0, energy, np.zeros((2, 3)), None, None, sigma, None, last),
        )
    return text.getvalue().encode()


def test_frames_and_summary_survive_storing(tmp_path: Path) -> None:
    path = tmp_path / "any_name.xyz"
    path.write_bytes(content())
    stored = MDTrajectoryData(path).store()
    node = orm.load_node(stored.uuid)
    assert isinstance(node, DataFactory("mlip.trajectory"))
    assert len(node) == 3
    assert [atoms.info["step"] for atoms in node.frames()] == [0, 10, 20]
    assert node.elements == ("C", "W")
    assert node.stopped is True
    attributes = node.base.attributes.all
    assert attributes["last_step"] == 20
    assert attributes["max_forces_sigma"] == 0.2
    assert (node.num_atoms, node.max_forces_sigma) == (2, 0.2)
    assert attributes["formula"] == "CW"
    assert node.filename == MDTrajectoryData.FILENAME


def test_equal_frames_have_equal_hashes() -> None:
    first, same, other = (MDTrajectoryData(io.BytesIO(text)) for text in (content(), content(), content(energy=-1.1)))
    hashes = [node.store().base.caching.get_hash() for node in (first, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(("text", "words"), [(b"", "no frames"), (content()[:-30], "line 9")])
def test_what_is_no_trajectory_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MDTrajectoryData(io.BytesIO(text))


def test_an_edited_file_is_not_stored() -> None:
    node = MDTrajectoryData(io.BytesIO(content()))
    node.base.repository.put_object_from_filelike(io.BytesIO(content(2)), node.filename)
    with pytest.raises(exceptions.ValidationError, match="is not what the attributes describe"):
        node.store()
