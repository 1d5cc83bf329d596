import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_mlip.science.isolated_atoms import is_isolated, nearest_image
from aiida_mlip.science.resampling import bootstrap


def test_the_nearest_image_of_a_skewed_cell_is_not_along_a_cell_vector() -> None:
    cell = np.array([[3.0, 0, 0], [2.9, 4.0, 0], [0, 0, 9.0]])
    assert nearest_image(Atoms("W", cell=cell, pbc=True)) == pytest.approx(3.0)
    sheared = np.array([[5.0, 0, 0], [4.9, 1.0, 0], [0, 0, 9.0]])
    assert nearest_image(Atoms("W", cell=sheared, pbc=True)) == pytest.approx(np.hypot(0.1, 1.0))


def test_only_periodic_directions_have_images() -> None:
    atoms = Atoms("W", cell=[3, 20, 20], pbc=(False, True, True))
    assert nearest_image(atoms) == pytest.approx(20)
    assert nearest_image(Atoms("W")) == np.inf


def test_a_primitive_crystal_is_no_isolated_atom() -> None:
    assert not is_isolated(bulk("W"), 6.0)
    assert not is_isolated(Atoms("W2", positions=[[0, 0, 0], [9, 0, 0]]), 6.0)
    assert is_isolated(Atoms("W", cell=[10, 10, 10], pbc=True), 6.0)


def frames(size: int) -> list[Atoms]:
    return [bulk("W", a=3 + 0.01 * k) for k in range(size)]


def test_draws_are_seeded_and_leave_some_out() -> None:
    drawn = bootstrap(frames(200), np.random.default_rng(3))
    again = bootstrap(frames(200), np.random.default_rng(3))
    assert [a.cell[0, 1] for a in drawn] == [a.cell[0, 1] for a in again]
    assert len(drawn) == 200
    assert len({round(a.cell[0, 1], 6) for a in drawn}) / 200 == pytest.approx(1 - np.exp(-1), abs=0.06)


def test_isolated_atoms_are_kept_once() -> None:
    alone = Atoms("W", cell=[12, 12, 12], pbc=True)
    drawn = bootstrap([*frames(5), alone], np.random.default_rng(1))
    assert sum(is_isolated(a, 6.0) for a in drawn) == 1
    assert len(drawn) == 6


def test_isolated_atoms_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw from"):
        bootstrap([Atoms("W")], np.random.default_rng(1))


def test_a_cell_without_volume_has_an_image_at_no_distance() -> None:
    assert nearest_image(Atoms("W", cell=[0, 0, 0], pbc=True)) == 0.0
    assert nearest_image(Atoms("W", cell=[[9, 0, 0], [9, 0, 0], [0, 0, 9]], pbc=True)) == 0.0
