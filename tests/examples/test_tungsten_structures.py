"""The cells of the tungsten data set are what they claim to be."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

DATA = Path(__file__).parents[2] / "examples" / "data"


@pytest.fixture(scope="module")
def structures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tungsten_structures", DATA / "structures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def coordination(atoms: Atoms, structures: ModuleType) -> set[int]:
    """The numbers of first neighbours that occur."""
    first = neighbor_list("i", atoms, 0.93 * structures.A0)
    return set(np.bincount(first, minlength=len(atoms)).tolist())


@pytest.mark.parametrize("plane", ["110", "112", "100", "111"])
@pytest.mark.parametrize("n_layers", [2, 3, 4, 6])
def test_stacks_are_the_crystal(structures, plane, n_layers) -> None:
    for shift in (0.0, 1.0):
        atoms = structures.stacked(plane, n_layers, shift)
        assert atoms.get_volume() / n_layers == pytest.approx(structures.A0**3 / 2.0)
        assert coordination(atoms, structures) == {8}


def test_half_a_burgers_vector_is_a_fault(structures) -> None:
    for plane in ("110", "112"):
        atoms = structures.stacked(plane, 6, 0.5)
        assert atoms.get_volume() / 6 == pytest.approx(structures.A0**3 / 2.0)
        first = np.bincount(neighbor_list("i", atoms, 0.86 * structures.A0), minlength=6)
        assert first.max() != first.min()


def test_slabs_have_two_equal_surfaces(structures) -> None:
    for atoms in structures.surfaces():
        height = np.sort(atoms.positions @ atoms.cell.array[2] / np.linalg.norm(atoms.cell.array[2]))
        np.testing.assert_allclose(height, -height[::-1], atol=1.0e-9)
        assert atoms.cell.lengths()[2] - np.ptp(height) > 8.0
        assert np.abs(atoms.cell.angles()[:2] - 90.0).max() < 1.0e-6


def test_vacancies_and_interstitials_have_the_right_number_of_atoms(structures) -> None:
    sizes = {atoms.info["name"]: len(atoms) for atoms in (*structures.vacancies(), *structures.divacancies())}
    assert {size for name, size in sizes.items() if name.startswith("vacancy_16")} == {15}
    assert {size for name, size in sizes.items() if name.startswith("divacancy")} == {14}
    for atoms in structures.self_interstitials():
        assert len(atoms) == 17
        assert neighbor_list("d", atoms, 3.0).min() > 2.0


def test_random_cells_are_the_same_each_time_and_have_no_overlap(structures) -> None:
    for first, second in zip(structures.rattled(), structures.rattled(), strict=True):
        np.testing.assert_array_equal(first.positions, second.positions)
        assert neighbor_list("d", first, 3.0).min() >= 2.1


def test_strains_reach_ten_per_cent(structures) -> None:
    lengths = [(2.0 * atoms.get_volume()) ** (1.0 / 3.0) / structures.A0 for atoms in structures.volumes()]
    assert min(lengths) == pytest.approx(0.9)
    assert max(lengths) == pytest.approx(1.1)
