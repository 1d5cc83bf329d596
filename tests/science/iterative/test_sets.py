"""The sets of a loop: what is held out, what validates, and what stays away from the hold-out set."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.iterative.outliers import training_outliers
from aiida_mlip.science.iterative.sets import apart_from, hold_out, validation_indices
from aiida_mlip.science.keys import CONFIG_TYPE, FORCES, GROUP, SOURCE
from aiida_mlip.science.origin import Origin, set_origin
from aiida_mlip.science.predictions import Predictions


def cell(seed: int, config_type: str = "md", group: str = "", force: float = 1.0) -> Atoms:
    atoms = bulk("W", "bcc", a=3.18, cubic=True) * (1, 1, 2)
    rng = np.random.default_rng(seed)
    atoms.positions += rng.normal(scale=0.15, size=atoms.positions.shape)
    atoms.info |= {CONFIG_TYPE: config_type, GROUP: group or f"own {seed}"}
    atoms.arrays[FORCES] = force * rng.normal(size=atoms.positions.shape)
    return atoms


def isolated() -> Atoms:
    atoms = Atoms("W", cell=[12.0] * 3, pbc=True)
    atoms.info[CONFIG_TYPE] = "isolated_atom"
    atoms.arrays[FORCES] = np.zeros((1, 3))
    return atoms


def test_a_first_set_is_held_out_in_part_and_isolated_atoms_are_not() -> None:
    frames = [isolated(), *(cell(seed, "rattled" if seed % 2 else "strained") for seed in range(20))]
    kept, held, _ = hold_out(frames, 0.2, seed=3)
    assert sorted(kept + held) == list(range(21))
    assert len(held) == 4
    assert 0 in kept
    assert {frames[index].info[CONFIG_TYPE] for index in held} == {"rattled", "strained"}
    assert hold_out(frames, 0.2, seed=3) == hold_out(frames, 0.2, seed=3)
    assert hold_out(frames, 0.0, seed=3)[1] == []


def test_groups_are_not_parted_by_the_hold_out() -> None:
    frames = [cell(seed, group=f"run {seed // 2}") for seed in range(20)]
    kept, held, _ = hold_out(frames, 0.3, seed=1)
    assert not {frames[i].info[GROUP] for i in kept} & {frames[i].info[GROUP] for i in held}


def test_what_validated_once_validates_again_when_frames_are_added() -> None:
    frames = [isolated(), *(cell(seed) for seed in range(30))]
    whole = validation_indices(frames, 0.2, seed=5)
    for length in (4, 9, 16, 23):
        part = validation_indices(frames[:length], 0.2, seed=5)
        assert part == [index for index in whole if index < length]
    assert 4 <= len(whole) <= 8
    assert 0 not in whole


def between(one: Atoms, other: Atoms, generation: int) -> Atoms:
    """Return a frame of the dynamics half-way between two others."""
    atoms = one.copy()
    atoms.positions = 0.5 * (one.positions + other.positions)
    atoms.info[GROUP] = f"dynamics {generation}"
    return set_origin(atoms, Origin(kind="md", generation=generation))


def near(atoms: Atoms, group: str) -> Atoms:
    """Return a frame that is 0.03 Å away: no near-duplicate, though one half-way is one of both."""
    moved = atoms.copy()
    moved.positions += 0.03 * np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
    moved.info[GROUP] = group
    return moved


@pytest.mark.parametrize("seed", range(4))
def test_a_frame_that_joins_two_units_moves_no_other(seed: int) -> None:
    frames = [cell(0), near(cell(0), "beside"), *(cell(number) for number in range(1, 24))]
    before = validation_indices(frames, 0.2, seed=seed)
    later = [*frames, between(frames[0], frames[1], 1), set_origin(cell(50), Origin(kind="md", generation=1))]
    after = validation_indices(later, 0.2, seed=seed)
    assert [index for index in after if index < len(frames)] == before
    joined = len(frames)
    assert (joined in after) == bool({0, 1} & set(before))


def test_forces_that_come_later_move_no_other() -> None:
    still = cell(0, force=0.0)
    frames = [still, *(cell(number) for number in range(1, 24))]
    before = validation_indices(frames, 0.2, seed=3)
    same = set_origin(cell(0, group="own 0"), Origin(kind="md", generation=2))
    assert validation_indices([*frames, same], 0.2, seed=3) == before


def test_a_group_validates_as_a_whole() -> None:
    frames = [cell(seed, group=f"run {seed // 3}") for seed in range(18)]
    chosen = set(validation_indices(frames, 0.25, seed=2))
    groups = {frames[index].info[GROUP] for index in chosen}
    assert chosen == {index for index, atoms in enumerate(frames) if atoms.info[GROUP] in groups}


def test_frames_whose_forces_vanish_do_not_validate() -> None:
    frames = [cell(0, force=0.0), cell(1, force=0.0), cell(2), cell(3), cell(4)]
    assert set(validation_indices(frames, 0.3, seed=1)) <= {2, 3, 4}


@pytest.mark.parametrize("frames", [[cell(0)], [cell(0), cell(1, force=0.0)][:1], [isolated(), cell(0)]])
def test_too_little_to_divide_is_refused_with_a_remedy(frames: list[Atoms]) -> None:
    with pytest.raises(DatasetError, match="at least two are needed"):
        validation_indices(frames, 0.2, seed=1)


def test_near_duplicates_of_the_hold_out_set_are_found_in_any_orientation() -> None:
    held = [cell(0), cell(1), isolated()]
    turned = held[0].copy()
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    moved = held[1].copy()
    moved.positions += np.random.default_rng(9).normal(scale=0.003, size=moved.positions.shape)
    new = [cell(5), turned, isolated(), moved, cell(6)]
    assert apart_from(new, held) == ([0, 2, 4], [1, 3])


def test_one_bad_label_among_many_is_named() -> None:
    frames = [cell(seed) for seed in range(12)]
    rng = np.random.default_rng(4)
    forces = [atoms.arrays[FORCES] + rng.normal(scale=0.05, size=(4, 3)) for atoms in frames]
    frames[7].arrays[FORCES] = frames[7].arrays[FORCES] + 50.0
    frames[7].info[SOURCE] = "some uuid"
    found = training_outliers(frames, Predictions(np.zeros(12), forces, np.zeros((12, 6))))
    assert [item.index for item in found] == [7]
    assert "some uuid" in str(found[0])
    assert found[0].forces_rmse == pytest.approx(50.0, rel=0.02)


def test_errors_of_one_size_are_no_outliers_however_small() -> None:
    frames = [cell(seed) for seed in range(12)]
    forces = [atoms.arrays[FORCES] * (1.0 + 1e-6 * (index == 3)) for index, atoms in enumerate(frames)]
    assert training_outliers(frames, Predictions(np.zeros(12), forces, np.zeros((12, 6)))) == []
