"""What is drawn of structures: the disturbance of the surroundings, the part of large cells, and files."""

from __future__ import annotations

import base64
import gzip
import io

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.report import structures
from aiida_mlip.report.structures import MOST_ATOMS, Kept, disturbance, files, neighbourhood, view, views


@pytest.mark.parametrize(("name", "a"), [("bcc", 3.18), ("fcc", 3.6)])
def test_a_perfect_crystal_is_not_disturbed(name, a):
    atoms = bulk("W", name, a=a, cubic=True) * (3, 3, 3)
    assert disturbance(atoms) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("name", "a", "neighbours"), [("bcc", 3.18, 8), ("fcc", 3.6, 12)])
def test_the_neighbours_of_a_vacancy_miss_one_pair(name, a, neighbours):
    atoms = bulk("W", name, a=a, cubic=True) * (4, 4, 4)
    del atoms[0]
    values = np.sort(disturbance(atoms))[::-1]
    assert values[:neighbours] == pytest.approx(values[0])
    assert 0.5 < values[0] <= 1.0
    assert values[neighbours + 6 :] == pytest.approx(0.0, abs=1e-9)


def test_the_disturbance_does_not_depend_on_orientation_and_scale():
    atoms = bulk("W", "bcc", a=3.18, cubic=True) * (3, 3, 3)
    del atoms[5]
    atoms.rattle(0.05, seed=3)
    turned = atoms.copy()
    matrix = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix() * 1.1
    turned.set_cell(atoms.cell.array @ matrix.T, scale_atoms=False)
    turned.positions = atoms.positions @ matrix.T
    assert disturbance(turned) == pytest.approx(disturbance(atoms), abs=1e-9)


def test_one_atom_has_no_surroundings():
    assert disturbance(Atoms("W", cell=[20, 20, 20], pbc=True)).tolist() == [0.0]
    assert len(view(Atoms("W")).positions) == 1


def test_the_defect_is_in_the_middle_of_the_view():
    atoms = bulk("W", "bcc", a=3.18, cubic=True) * (4, 4, 4)
    del atoms[0]
    shown = view(atoms)
    worst = shown.disturbance > 0.5
    assert np.abs(shown.positions[worst].mean(axis=0)).max() < 0.1
    assert np.linalg.norm(shown.positions[worst], axis=1).max() < 3.0
    assert shown.number == len(shown.positions) == 127


def test_of_a_large_cell_the_neighbourhood_of_the_defect_is_drawn():
    atoms = bulk("W", "bcc", a=3.0, cubic=True) * (7, 7, 7)
    del atoms[200]
    near = neighbourhood(atoms, disturbance(atoms))
    assert len(near) == MOST_ATOMS
    assert set(np.flatnonzero(disturbance(atoms) > 0.5)) <= set(near)
    assert view(atoms).corners is None
    assert view(atoms).number == 685


def test_of_a_cylinder_the_middle_is_drawn_and_not_its_surface():
    atoms = bulk("W", "bcc", a=3.0, cubic=True) * (16, 16, 1)
    atoms.pbc = (False, False, True)
    near = neighbourhood(atoms, disturbance(atoms))
    distance = np.linalg.norm((atoms.positions - atoms.positions.mean(axis=0))[:, :2], axis=1)
    assert len(near) == MOST_ATOMS
    rest = np.setdiff1d(np.arange(len(atoms)), near)
    assert distance[near].max() <= distance[rest].min()


def test_a_cell_of_one_atom_is_repeated_where_it_is_periodic():
    assert len(view(bulk("W", "bcc", a=3.18)).positions) > 8
    slab = bulk("W", "bcc", a=3.18)
    slab.pbc = (True, True, False)
    repeated = view(slab)
    assert repeated.number == 1
    assert np.ptp(repeated.positions[:, 2]) < np.ptp(view(bulk("W", "bcc", a=3.18)).positions[:, 2])


@pytest.fixture
def kept(aiida_profile):
    frames = [bulk("W", "bcc", a=3.18, cubic=True) * (2, 2, 2) for _ in range(20)]
    for number, atoms in enumerate(frames):
        atoms.info["config_type"] = f"image_{number}"
        atoms.rattle(0.01, seed=number)
    return Kept("fs", "W", "path", DatasetData(frames, level_of_theory="none").store())


def test_of_a_long_path_some_images_are_drawn_and_all_are_in_the_file(kept):
    ((_, shown),) = views([kept])
    assert [item.title for item in shown] == [f"image {number}" for number in range(0, 20, 3)]
    ((_, name, address),) = files([kept])
    assert name == "W-fs-path.xyz.gz"
    text = gzip.decompress(base64.b64decode(address.partition("base64,")[2])).decode()
    read = ase.io.read(io.StringIO(text), ":", format="extxyz")
    assert len(read) == 20
    assert read[7].positions == pytest.approx(kept.frames[7].positions, abs=1e-7)
    assert read[7].info["config_type"] == "image_7"


def test_what_does_not_fit_into_the_page_is_left_out_and_named(kept, monkeypatch):
    monkeypatch.setattr(structures, "FILE_BUDGET", 100)
    monkeypatch.setattr(structures, "VIEW_BUDGET", 100)
    assert list(views([kept])) == []
    assert [(name, address) for _, name, address in files([kept])] == [("W-fs-path.xyz.gz", None)]


def test_one_looks_along_a_dislocation_and_its_surface_takes_no_colour():
    atoms = bulk("W", "bcc", a=3.0, cubic=True) * (1, 9, 9)
    atoms.pbc = (True, False, False)
    atoms.center(vacuum=5.0, axis=(1, 2))
    shown = view(atoms)
    assert shown.along == 0
    assert shown.corners is None
    assert shown.disturbance.max() > 1.0
    assert shown.largest == pytest.approx(0.0, abs=1e-9)
    assert view(bulk("W", "bcc", a=3.0, cubic=True)).along is None


def test_where_not_all_fit_each_property_keeps_some(kept, monkeypatch):
    monkeypatch.setattr(structures, "VIEW_BUDGET", 16 * 2**3 * 2 * 3)
    assert [len(shown) for _, shown in views([kept, kept])] == [3, 3]


def test_the_largest_files_are_left_out_first(kept, monkeypatch):
    small = Kept("fs", "W", "vacancy", DatasetData(list(kept.frames[:1]), level_of_theory="none").store())
    sizes = [len(address) for _, _, address in files([kept, small])]
    monkeypatch.setattr(structures, "FILE_BUDGET", sizes[0])
    assert [address is not None for _, _, address in files([kept, small])] == [False, True]
