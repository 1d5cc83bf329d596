"""Voids: their size against known crystals and by brute force; boxes with a bubble against homogeneous ones."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial import cKDTree

from aiida_mlip.science.dynamics.observables import density_of
from aiida_mlip.science.liquids.molecules import find_molecules
from aiida_mlip.science.liquids.voids import density_spread, largest_void

NAMES = ("CF4", "CH3OH", "CF4", "CF4") * 24


@pytest.fixture(scope="module")
def homogeneous() -> Atoms:
    """96 round molecules on a triclinic lattice, turned and displaced at random, each with its atoms in a row."""
    rng = np.random.default_rng(2)
    shape = np.array([4, 4, 6])
    cell = np.array([[1.0, 0.03, -0.08], [0.11, 1.04, 0.05], [-0.06, 0.09, 0.97]]) * 4.7 * shape[:, None]
    atoms = Atoms(cell=cell, pbc=True)
    for name, site in zip(NAMES, product(*map(range, shape)), strict=True):
        one = molecule(name)
        one.rotate(float(rng.uniform(0, 180)), rng.normal(size=3))
        one.positions += site / shape @ cell - one.get_center_of_mass() + rng.uniform(-0.2, 0.2, size=3)
        atoms += one
    assert len(find_molecules(atoms) or []) == 96
    return atoms


def without(box: Atoms, count: int) -> Atoms:
    """The box less some molecules that are next to each other, across the cell's faces; other atoms in random order."""
    molecules = find_molecules(box) or []
    centres = np.array([part.centre(box) for part in molecules])
    away = box.cell.scaled_positions(centres - centres[0])
    away = np.linalg.norm((away - np.round(away)) @ box.cell.array, axis=1)
    gone = [int(atom) for index in np.argsort(away)[:count] for atom in molecules[index].indices]
    kept = np.setdiff1d(np.arange(len(box)), np.array(gone, dtype=int))
    return box[np.random.default_rng(count).permutation(kept).tolist()]


@pytest.mark.parametrize(
    ("crystal", "expected"),
    [
        (bulk("Po", "sc", a=4.0), 4.0 * np.sqrt(3) / 2),
        (bulk("Cu", "fcc", a=5.0, cubic=True), 2.5),
        (bulk("Cu", "fcc", a=5.0), 2.5),
        (bulk("Fe", "bcc", a=4.0), 4.0 * np.sqrt(5) / 4),
        (bulk("Po", "sc", a=16.0), 16.0 * np.sqrt(3) / 2),
    ],
    ids=["sc", "fcc cube", "fcc skewed", "bcc skewed", "one atom"],
)
def test_voids_of_crystals_are_known(crystal: Atoms, expected: float) -> None:
    """Octahedral and tetrahedral sites; cells of one atom are far from orthogonal."""
    radius, centre = largest_void(crystal, tolerance=0.02)
    assert expected - 0.02 <= radius <= expected + 1e-9
    images = crystal.repeat(5)
    nearest = images.positions - (centre + 2 * crystal.cell.array.sum(axis=0))
    assert np.linalg.norm(nearest, axis=1).min() == pytest.approx(radius, abs=1e-9)


def test_the_void_of_a_triclinic_liquid_is_that_of_a_fine_grid(homogeneous: Atoms) -> None:
    hollow = without(homogeneous, 3)
    radius, _ = largest_void(hollow)
    hollow.wrap()
    shifts = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T @ hollow.cell.array
    tree = cKDTree((hollow.positions[None] + shifts[:, None]).reshape(-1, 3))
    grid = (np.indices((48, 48, 64)).reshape(3, -1).T + 0.5) / (48, 48, 64) @ hollow.cell.array
    assert radius == pytest.approx(tree.query(grid)[0].max(), abs=0.15)


def test_voids_do_not_depend_on_where_atoms_are_wrapped(homogeneous: Atoms) -> None:
    hollow = without(homogeneous, 4)
    rng = np.random.default_rng(0)
    moved = hollow.copy()
    moved.positions += rng.integers(-2, 3, size=(len(moved), 3)) @ moved.cell.array
    assert largest_void(moved)[0] == pytest.approx(largest_void(hollow)[0], abs=1e-9)
    assert density_spread(moved) == pytest.approx(density_spread(hollow), abs=1e-9)
    shifted = hollow.copy()
    shifted.positions += [1.7, -3.1, 8.2]
    assert largest_void(shifted)[0] == pytest.approx(largest_void(hollow)[0], abs=0.1)


def jostled(box: Atoms, frames: int, seed: int = 1) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(frames):
        frame = box.copy()
        frame.positions += rng.normal(size=frame.positions.shape) * 0.1
        made.append(frame)
    return made


@pytest.mark.parametrize("count", [2, 8, 18])
def test_a_box_with_a_bubble_fails_and_a_homogeneous_one_passes(check, homogeneous: Atoms, count: int) -> None:
    """96 molecules less 2, 8, 18 neighbours, against a homogeneous box of the same density."""
    hollow = without(homogeneous, count)
    assert len(find_molecules(hollow) or []) == 96 - count
    found = check("bubble", jostled(hollow, 26), start=hollow, spacing=500.0)
    void = found.results[0]
    assert void.status == "fail", void.reason
    assert void.value > {2: 4.0, 8: 5.0, 18: 6.0}[count]
    spread = homogeneous.copy()
    scale = (density_of(homogeneous) / density_of(hollow)) ** (1 / 3)
    centres = [(part.indices, part.positions(homogeneous), part.centre(homogeneous)) for part in find_molecules(spread)]
    spread.set_cell(homogeneous.cell.array * scale)
    for indices, positions, centre in centres:
        spread.positions[indices] = positions + (scale - 1) * centre
    assert density_of(spread) == pytest.approx(density_of(hollow), rel=1e-6)
    even = check("bubble", jostled(spread, 26), start=spread, spacing=50.0)
    assert [result.status for result in even.results] == ["pass", "pass"], even.results
    assert even.results[1].value < found.results[1].value


def test_a_bubble_in_a_liquid_that_may_boil_is_not_blamed_on_the_potential(check, homogeneous: Atoms) -> None:
    hollow = without(homogeneous, 8)
    known = {"start": hollow, "spacing": 2000.0, "temperature": 1200.0}
    boiling = check("bubble", jostled(hollow, 8), ensemble="npt", pressure=1e-4, **known).results[0]
    assert boiling.status == "inconclusive"
    assert "may boil" in boiling.missing
    assert check("bubble", jostled(hollow, 8), ensemble="nvt", **known).results[0].status == "fail"


def test_a_large_bubble_is_seen_in_the_local_density(check, homogeneous: Atoms) -> None:
    hollow = without(homogeneous, 30)
    found = check("bubble", jostled(hollow, 26), start=hollow, spacing=500.0)
    assert [result.status for result in found.results] == ["fail", "fail"]
    assert len(found.curves["bubble_spread"]) == len(found.curves["bubble_time_ps"])


def test_a_bubble_that_opens_is_seen_by_its_growth(check, homogeneous: Atoms) -> None:
    """Four molecules are gone in the second half: 1.35 times the void there was, though a high limit allows it."""
    start = without(homogeneous, 0)
    gone = without(homogeneous, 4)
    frames = jostled(start, 14) + jostled(gone, 14, seed=4)
    limits = {"radius": 9.0}
    found = check("bubble", frames, start=start, spacing=500.0, limits=limits)
    assert found.results[0].status == "fail", found.results[0].reason
    assert found.results[0].numbers["usual"] < found.results[0].numbers["largest"] / 1.35
    allowed = check("bubble", frames, start=start, spacing=500.0, limits=limits | {"growth": 2.0})
    assert allowed.results[0].status == "pass"


def test_few_frames_are_inconclusive_and_close_frames_are_skipped(check, homogeneous: Atoms) -> None:
    few = check("bubble", jostled(homogeneous, 10), start=homogeneous, spacing=50.0)
    assert few.results[0].status == "inconclusive"
    assert "20 frames" in few.results[0].missing
    close = check("bubble", jostled(homogeneous, 11), start=homogeneous, spacing=10.0)
    assert close.curves["bubble_time_ps"].tolist() == pytest.approx([0.0, 0.05, 0.1])
    assert check("bubble", [], start=homogeneous).results[0].status == "inconclusive"
    hollow = without(homogeneous, 18)
    assert check("bubble", jostled(hollow, 10), start=homogeneous, spacing=50.0).results[0].status == "fail"


def test_small_boxes_have_no_local_density(check, make_box) -> None:
    box = make_box(["CH3OH"] * 27, spacing=4.2)
    assert len(check("bubble", jostled(box, 3), start=box, spacing=50.0).results) == 1


def test_a_hole_of_the_packing_has_time_to_close(check, homogeneous: Atoms) -> None:
    hollow = without(homogeneous, 2)
    short = check("bubble", jostled(hollow, 30), start=hollow, spacing=50.0).results[0]
    assert short.status == "inconclusive"
    assert "there at the start" in short.missing
    larger = without(homogeneous, 4)
    assert 1.1 < largest_void(larger)[0] / largest_void(hollow)[0] < 1.35, "a fluctuation, and less than a bubble"
    moved = check("bubble", jostled(larger, 6), start=hollow, spacing=50.0).results[0]
    assert moved.status == "inconclusive", moved.reason
    long = check("bubble", jostled(hollow, 30), start=hollow, spacing=500.0).results[0]
    assert long.status == "fail"
