"""Which configurations count as the same."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from aiida_mlip.science.datasets.fingerprints import Tolerances, find_duplicates, usable


def salts(n: int = 12) -> list[Atoms]:
    """Return different rattled rock-salt cells at slightly different volumes."""
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(n):
        atoms = bulk("NaCl", "rocksalt", a=5.6 + 0.05 * rng.normal(), cubic=True)
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        frames.append(atoms)
    return frames


def disguised(atoms: Atoms, seed: int, noise: float = 0.0) -> Atoms:
    """Return the same configuration rotated, reflected, moved, renumbered and wrapped."""
    rng = np.random.default_rng(seed)
    matrix = -Rotation.random(rng=seed).as_matrix()
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ matrix.T)
    other.positions = atoms.positions @ matrix.T + rng.normal(size=3)
    other.positions += rng.normal(scale=noise, size=other.positions.shape)
    other.wrap()
    return other[rng.permutation(len(other))]


def test_disguised_copies_are_found_and_nothing_else():
    frames = salts()
    frames += [disguised(frames[0], 3), disguised(frames[1], 4, noise=0.006), disguised(frames[5], 5)]
    found = find_duplicates(frames)
    assert found.exact == ((0, 12), (5, 14))
    assert found.near == ((0, 12), (1, 13), (5, 14))


def test_small_noise_is_near_and_larger_noise_is_not():
    frames, rng = salts(), np.random.default_rng(2)
    for index, noise in ((2, 0.008), (3, 0.05)):
        copy = frames[index].copy()
        copy.positions += rng.normal(scale=noise, size=copy.positions.shape)
        frames.append(copy)
    found = find_duplicates(frames)
    assert found.exact == ()
    assert found.near == ((2, 12),)
    (link,) = found.links
    assert link[2] == pytest.approx(0.008 * np.sqrt(3), rel=0.4)


def test_a_supercell_is_nearly_the_same():
    frames = salts(4)
    assert find_duplicates([*frames, frames[2] * (1, 2, 1)]).near == ((2, 4),)


def test_strained_cells_and_volumes_are_different():
    base = bulk("W", "bcc", a=3.18)
    frames = []
    for scale in np.linspace(0.97, 1.03, 13):
        cell = base.copy()
        cell.set_cell(base.cell.array * scale, scale_atoms=True)
        frames.append(cell)
    shear = base.copy()
    shear.set_cell(base.cell.array @ np.array([[1, 0.01, 0], [0, 1, 0], [0, 0, 1]]), scale_atoms=True)
    assert find_duplicates([*frames, shear]).near == ()


def test_molecules_apart_by_more_than_the_cut_off_are_told_apart():
    frames = [Atoms("H4", positions=[[0, 0, 0], [0.74, 0, 0], [d, 0, 0], [d + 0.74, 0, 0]]) for d in (7.0, 8.0, 9.5)]
    assert find_duplicates(frames).near == ()
    assert find_duplicates([*frames, disguised(frames[1], 3)]).exact == ((1, 3),)


def test_conformers_and_isomers_are_different():
    frames = [molecule(name) for name in ("CH3CH2OH", "CH3OCH3", "C2H4", "C6H6")]
    assert find_duplicates(frames).near == ()


def test_frames_without_a_geometry_are_left_out():
    flat = bulk("W") * (2, 1, 1)
    flat.set_cell([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    broken = bulk("W")
    broken.positions[0] = np.nan
    assert [usable(atoms) for atoms in (flat, broken, Atoms(), bulk("W"))] == [False, False, False, True]
    assert find_duplicates([flat, flat.copy(), broken, broken.copy()]).near == ()


def test_what_is_not_compared_is_counted():
    frames = salts(3)
    frames += [disguised(frames[0], 3)]
    found = find_duplicates(frames, Tolerances(comparisons=0))
    assert found.exact == ()
    assert found.skipped == 1
