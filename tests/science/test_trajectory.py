"""Trajectories as text: what is written is read back to the last bit, and damage is told."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from aiida_mlip.science import trajectory
from aiida_mlip.science.trajectory import Moment, TrajectoryError, read_trajectory, summary_of, write_frame


def slab(seed: int = 1) -> Atoms:
    rng = np.random.default_rng(seed)
    cell = [[3.1, 0.2, 0.0], [0.0, 4.3, 1 / 3], [0.7, 0.0, 5.9]]
    return Atoms("WCHe", positions=rng.normal(size=(3, 3)) * 7, cell=cell, pbc=(True, False, True))


def moment(step: int = 0, **changes: object) -> Moment:
    rng = np.random.default_rng(step)
    base = Moment(step, step * 0.7, 1, 300 + 1 / 3, 311.1, -17.123456789012345, rng.normal(size=(3, 3)))
    return replace(base, **changes)


FULL = {
    "pressure": -0.5,
    "energy_sigma": 0.1 + 0.2,
    "forces_sigma": np.array([0.1, 0.9, 1 / 7]),
    "velocities": np.arange(9.0).reshape(3, 3) / 7,
    "stopped": True,
}


def text_of(*pairs: tuple[Atoms, Moment]) -> str:
    handle = io.StringIO()
    for atoms, known in pairs:
        write_frame(handle, atoms, known)
    return handle.getvalue()


def test_frames_come_back_to_the_last_bit() -> None:
    atoms, known = slab(), moment(20, **FULL)
    (bare, full) = read_trajectory(io.StringIO(text_of((slab(2), moment(10)), (atoms, known))))
    assert full == atoms
    assert full.pbc.tolist() == [True, False, True]
    assert np.array_equal(full.arrays["forces"], known.forces)
    assert np.array_equal(full.arrays["forces_sigma"], FULL["forces_sigma"])
    assert np.array_equal(full.arrays["velocities"], FULL["velocities"])
    assert full.info == {
        "step": 20,
        "time_fs": 14.0,
        "stage": 1,
        "temperature": 300 + 1 / 3,
        "pressure": -0.5,
        "instantaneous_temperature": 311.1,
        "energy": -17.123456789012345,
        "energy_sigma": 0.1 + 0.2,
        "max_forces_sigma": 0.9,
        "stopped": True,
    }
    assert bare.info["stopped"] is False
    assert not {"pressure", "energy_sigma", "max_forces_sigma"} & set(bare.info)
    assert not {"forces_sigma", "velocities"} & set(bare.arrays)


def test_clusters_have_no_cell() -> None:
    cluster = Atoms("WCHe", positions=np.eye(3))
    (back,) = read_trajectory(io.StringIO(text_of((cluster, moment()))))
    assert back == cluster
    assert not back.cell.any()


def test_ase_reads_the_same_numbers() -> None:
    atoms, known = slab(), moment(3, **FULL)
    other = read(io.StringIO(text_of((atoms, known))), format="extxyz")
    assert np.array_equal(other.positions, atoms.positions)
    assert np.array_equal(other.cell, atoms.cell)
    assert other.get_potential_energy() == known.energy
    assert np.array_equal(other.get_forces(), known.forces)
    assert np.array_equal(other.arrays["forces_sigma"], FULL["forces_sigma"])


@pytest.mark.parametrize(
    "changes",
    [{"energy": np.nan}, {"forces": np.full((3, 3), np.inf)}, {"forces_sigma": np.array([0.0, np.nan, 0.0])}],
)
def test_a_frame_that_is_not_finite_is_never_written(changes: dict[str, object]) -> None:
    handle = io.StringIO()
    with pytest.raises(TrajectoryError, match="step 7: a number is NaN or infinite"):
        write_frame(handle, slab(), moment(7, **changes))
    assert handle.getvalue() == ""


def test_arrays_of_another_number_of_atoms_are_refused() -> None:
    with pytest.raises(TrajectoryError, match="forces_sigma is of 2 atoms: the frame has 3"):
        text_of((slab(), moment(forces_sigma=np.zeros(2))))


@pytest.mark.parametrize("cut", [1, 20, 200, 450])
def test_a_file_that_ends_within_a_frame_is_told(cut: int) -> None:
    whole = text_of((slab(), moment(0)), (slab(2), moment(5)))
    frames = read_trajectory(io.StringIO(whole[:-cut]))
    assert next(frames).info["step"] == 0
    with pytest.raises(TrajectoryError, match="line 6"):
        list(frames)


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(TrajectoryError, match="line 1"):
        list(read_trajectory(io.StringIO("2\nProperties=species:S:1:pos:R:3\nH 0 0 0\nH 0 0 1\n")))


def test_the_summary_is_that_of_all_frames_and_reads_the_numbers_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousands of frames are counted, not parsed: the largest uncertainty is in the middle one."""
    sigmas = ([0.1, 0.2, 0.3], [0.4, 1.25, 0.0], None, [0.2, 0.2, 0.2])
    pairs = [
        (slab(index), moment(7 * index, forces_sigma=None if sigma is None else np.array(sigma), stopped=index == 3))
        for index, sigma in enumerate(sigmas)
    ]
    text = text_of(*pairs)
    frames = list(read_trajectory(io.StringIO(text)))
    parsed: list[int] = []
    whole = trajectory._frame
    monkeypatch.setattr(trajectory, "_frame", lambda *args: parsed.append(1) or whole(*args))
    found = summary_of(io.StringIO(text))
    assert found.frames == len(frames) == 4
    assert found.max_forces_sigma == max(atoms.info.get("max_forces_sigma", 0.0) for atoms in frames) == 1.25
    assert found.last == frames[-1]
    assert found.last.info == frames[-1].info
    assert parsed == [1]
    assert summary_of(io.StringIO("")).last is None
    assert summary_of(io.StringIO(text_of((slab(), moment())))).max_forces_sigma is None
    for damaged, line in (
        (text[:-20], 16),
        (text.replace("Properties", "Pr0perties", 1).replace("Lattice", "L", 1), 1),
    ):
        with pytest.raises(TrajectoryError, match=f"line {line}: "):
            summary_of(io.StringIO(damaged))


@pytest.mark.parametrize(
    ("frames", "stride", "kept"),
    [(9, 4, [0, 4, 8]), (11, 4, [0, 4, 8, 10]), (3, 1, [0, 1, 2]), (3, 7, [0, 2]), (1, 5, [0]), (0, 2, [])],
)
def test_a_thin_copy_has_every_so_many_frames_and_the_last(frames: int, stride: int, kept: list[int]) -> None:
    atoms = slab()
    pieces = [text_of((atoms, moment(step, stopped=step == frames - 1))) for step in range(frames)]
    target = io.StringIO()
    assert trajectory.thin(io.StringIO("".join(pieces)), target, stride) == len(kept)
    assert target.getvalue() == "".join(pieces[index] for index in kept)


def test_a_trajectory_that_ends_within_a_frame_is_not_copied_in_silence() -> None:
    text = text_of(*((slab(), moment(step)) for step in range(3)))
    with pytest.raises(TrajectoryError, match="line 11: not a frame"):
        trajectory.thin(io.StringIO(text[:-5]), io.StringIO(), 2)
