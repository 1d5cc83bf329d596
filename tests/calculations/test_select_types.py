"""Choosing configuration types from a data set, with its provenance."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiida import orm
from ase import Atoms

from aiida_mlip.calculations.datasets import select_types
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.science.datasets.errors import DatasetError


def test_the_types_named_are_kept_in_order(aiida_profile: None, emt_frames: Callable[..., list[Atoms]]) -> None:
    frames = emt_frames(6)
    for index, atoms in enumerate(frames):
        atoms.info["config_type"] = ("bulk", "vacancy", "surface")[index % 3]
    dataset = DatasetData(frames, level_of_theory="EMT")
    dataset.label = "six"
    part = select_types(dataset, orm.List(["surface", "bulk"]))
    assert [atoms.info["config_type"] for atoms in part.frames()] == ["bulk", "surface", "bulk", "surface"]
    assert part.level_of_theory == "EMT"
    assert part.creator.inputs.dataset.uuid == dataset.uuid
    with pytest.raises(DatasetError, match=r"config_types = \['liquid'\]: no frame of six has one"):
        select_types(dataset, orm.List(["liquid"]))
