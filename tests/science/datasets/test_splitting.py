"""Splits: proportions, strata, and what is never parted."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pydantic import ValidationError

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.splitting import Split, split

TYPES = {"bulk": 50, "surface": 20, "dimer": 2}


def frames_of(types: dict[str, int], seed: int = 0) -> list[Atoms]:
    """Return different cells with these configuration types."""
    rng = np.random.default_rng(seed)
    frames = []
    for name, count in types.items():
        for _ in range(count):
            atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
            atoms.positions += rng.normal(scale=0.2, size=atoms.positions.shape)
            atoms.info[keys.CONFIG_TYPE] = name
            frames.append(atoms)
    return frames


def test_sets_are_disjoint_complete_and_stratified():
    frames = frames_of(TYPES)
    sets = split(frames, seed=3)
    joined = sorted(index for members in sets.values() for index in members)
    assert joined == list(range(len(frames)))
    for name, share in (("valid", 0.1), ("test", 0.1)):
        types = [frames[index].info[keys.CONFIG_TYPE] for index in sets[name]]
        assert types.count("bulk") == pytest.approx(50 * share, abs=1)
        assert types.count("surface") == pytest.approx(20 * share, abs=1)


def test_the_same_seed_gives_the_same_split_and_another_one_another():
    frames = frames_of(TYPES)
    assert split(frames, seed=3) == split(frames, seed=3)
    assert split(frames, seed=3) != split(frames, seed=4)


def test_groups_are_never_parted():
    frames = frames_of({"bulk": 60})
    for index, atoms in enumerate(frames):
        atoms.info[keys.GROUP] = f"run {index // 4}"
    sets = split(frames, seed=1)
    for members in sets.values():
        groups = {frames[index].info[keys.GROUP] for index in members}
        assert len(members) == 4 * len(groups)
    parted = split(frames, seed=1, by_group=False)
    assert any(len(members) % 4 for members in parted.values())


def test_near_duplicates_are_never_parted_even_without_groups():
    frames = frames_of({"bulk": 30})
    rng = np.random.default_rng(8)
    for index in range(30):
        copy = frames[index].copy()
        copy.positions += rng.normal(scale=0.004, size=copy.positions.shape)
        frames.append(copy)
    sets = split(frames, seed=2, by_group=False)
    where = {index: name for name, members in sets.items() for index in members}
    assert all(where[index] == where[index + 30] for index in range(30))
    assert all(sets.values())


def test_isolated_atoms_and_small_types_are_in_the_training_set():
    frames = [*frames_of(TYPES), Atoms("Cu", cell=[12] * 3, pbc=True), Atoms("Au")]
    sets = split(frames, seed=5)
    assert {len(frames) - 1, len(frames) - 2} <= set(sets["train"])
    assert {70, 71} <= set(sets["train"])
    assert any("'dimer'" in warning for warning in sets.warnings)


def test_a_type_for_each_frame_is_divided_as_one():
    frames = frames_of({f"train-{k}": 1 for k in range(40)})
    sets = split(frames, seed=1)
    assert [len(sets[name]) for name in ("train", "valid", "test")] == [32, 4, 4]
    assert any("as if they were one type" in warning for warning in sets.warnings)


def test_a_set_that_would_be_empty_is_refused():
    frames = frames_of({"bulk": 20})
    for atoms in frames:
        atoms.info[keys.GROUP] = "one run"
    with pytest.raises(DatasetError, match="valid set would be empty"):
        split(frames, seed=1)


def test_everything_for_training_needs_nothing_else():
    frames = frames_of({"bulk": 3})
    assert split(frames, fractions=Split(train=1, valid=0, test=0), seed=1)["train"] == [0, 1, 2]


def test_no_frames_and_fractions_that_do_not_add_up_are_refused():
    with pytest.raises(DatasetError, match="empty"):
        split([], seed=1)
    with pytest.raises(ValidationError, match="add up to 1"):
        Split(train=0.5, valid=0.1, test=0.1)
