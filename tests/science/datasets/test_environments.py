"""Invariant features: their invariances, and their derivatives against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from scipy.spatial.transform import Rotation

from aiida_mlip.science.datasets.environments import CUTOFF, derivatives, environments, radial, radial_derivative


def crystal() -> Atoms:
    """Return a strained, displaced rock-salt cell without symmetry."""
    rng = np.random.default_rng(4)
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.04, size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    return atoms


def test_radial_functions_and_slopes_vanish_at_the_cut_off():
    r = np.linspace(0.5, CUTOFF, 40)
    step = 1e-6
    assert radial_derivative(r) == pytest.approx((radial(r + step) - radial(r - step)) / (2 * step), abs=1e-6)
    assert np.abs(radial(np.array([CUTOFF]))).max() < 1e-12
    assert np.abs(radial_derivative(np.array([CUTOFF]))).max() < 1e-10


def test_features_do_not_change_with_rotation_reflection_translation_order_and_supercell():
    atoms, rng = crystal(), np.random.default_rng(5)
    matrix = -Rotation.random(rng=5).as_matrix()
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ matrix.T)
    moved.positions = atoms.positions @ matrix.T + [1.0, -2.0, 0.5]
    moved.wrap()
    moved = moved[rng.permutation(len(moved))]
    expected = environments(atoms).averages
    assert environments(moved).averages == pytest.approx(expected, abs=1e-9)
    assert environments(atoms * (2, 1, 1)).averages == pytest.approx(expected, abs=1e-9)
    assert environments(atoms * (2, 1, 1)).composition == environments(atoms).composition


def test_derivatives_by_position_match_finite_differences():
    atoms, step, atom = crystal(), 1e-5, 3
    found = derivatives(atoms, np.array([atom])).positions[atom]
    for axis in range(3):
        plus, minus = atoms.copy(), atoms.copy()
        plus.positions[atom, axis] += step
        minus.positions[atom, axis] -= step
        expected = (environments(plus).features - environments(minus).features).ravel() / (2 * step)
        assert found[axis] == pytest.approx(expected, abs=1e-5)
    assert derivatives(atoms).positions[atom] == pytest.approx(found, abs=1e-10)


@pytest.mark.parametrize("component", range(6))
def test_derivatives_by_strain_match_finite_differences(component):
    atoms, step = crystal(), 1e-5
    i, j = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)][component]
    strain = np.zeros((3, 3))
    strain[i, j] += 0.5
    strain[j, i] += 0.5
    values = []
    for sign in (1, -1):
        deformed = atoms.copy()
        deformed.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * strain), scale_atoms=True)
        values.append(environments(deformed).features.ravel())
    assert derivatives(atoms).strain[component] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-4)


def test_closest_pairs_of_molecules_slabs_and_isolated_atoms():
    water = environments(molecule("H2O"))
    assert water.closest is not None
    assert water.closest[0] == pytest.approx(0.9686, abs=1e-3)
    assert environments(fcc111("Al", (1, 1, 3), a=4.05, vacuum=8.0)).closest[0] == pytest.approx(4.05 / np.sqrt(2))
    assert environments(Atoms("H")).closest is None
    assert environments(Atoms("W", cell=[10] * 3, pbc=True)).closest is None
