"""Each stop rule is broken by a case made for it, and held just before."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.data import covalent_radii
from scipy.stats import chi2

from aiida_mlip.schema.dynamics import StopRule, StopRules
from aiida_mlip.science.dynamics.stop_rules import (
    RULES,
    Observation,
    broken_rule,
    needs_uncertainty,
    reference_of,
    temperature_factor,
)

OFF = {"temperature": None, "distance": None, "density": None}


def water(pbc: bool = True) -> Atoms:
    """Two water molecules in a sheared cell, one of them across its border."""
    first, second = molecule("H2O"), molecule("H2O")
    second.positions += [0.1, 3.0, 0.2]
    atoms = first + second
    if pbc:
        atoms.set_cell([[6.0, 0.4, 0.0], [0.0, 7.0, 0.3], [0.5, 0.0, 8.0]])
        atoms.pbc = True
        atoms.positions -= atoms.positions[4] - [0.05, 0.1, 0.2]
        atoms.wrap()
    return atoms


def seen(atoms: Atoms, **changes: object) -> Observation:
    zeros = np.zeros((len(atoms), 3))
    return replace(Observation(atoms, -1.0, zeros, 300.0, 300.0, np.zeros(len(atoms))), **changes)


def broken(observation: Observation, start: Atoms, **limits: object) -> tuple[str, str] | None:
    rules = StopRules(**{**OFF, **limits})
    return broken_rule(observation, reference_of(start, rules.ions), rules)


def test_rules_and_names_are_the_same() -> None:
    assert set(RULES) | {"calculator_error"} == set(get_args(StopRule))
    limits = set(StopRules.model_fields) - {"relative_floor", "ions"}
    assert set(RULES) - {"not_finite"} == limits


def test_rules_that_need_an_uncertainty_are_told() -> None:
    assert needs_uncertainty(StopRules()) == []
    rules = StopRules(uncertainty=0.1, relative_uncertainty=0.2)
    assert set(needs_uncertainty(rules)) == {"uncertainty", "relative_uncertainty"}


@pytest.mark.parametrize("pbc", [True, False])
def test_bonds_of_the_start_may_stretch_so_far(pbc: bool) -> None:
    """O-H: the sum of covalent radii is 0.97 Å; one atom is moved to just below and just above 1.6 times that."""
    start = water(pbc)
    sum_of_radii = covalent_radii[8] + covalent_radii[1]
    bond = start.get_distance(3, 4, mic=True, vector=True)
    for factor, expected in ((1.59, None), (1.61, "bonds")):
        atoms = start.copy()
        atoms.positions[4] += bond * (factor * sum_of_radii / np.linalg.norm(bond) - 1)
        found = broken(seen(atoms), start, bonds=1.6)
        assert (found and found[0]) == expected
    assert "O3 and H4" in found[1] or "H4 and O3" in found[1]
    moved = start.copy()
    moved.positions += [30.0, -50.0, 3.0]
    assert broken(seen(moved), start, bonds=1.6) is None


def test_bonds_follow_the_cell_and_ions_have_none() -> None:
    start = bulk("Cu", cubic=True)
    squeezed, stretched = start.copy(), start.copy()
    squeezed.set_cell(start.cell * 0.95, scale_atoms=True)
    stretched.set_cell(start.cell * 1.4, scale_atoms=True)
    assert broken(seen(squeezed), start, bonds=1.3) is None
    assert broken(seen(stretched), start, bonds=1.3)[0] == "bonds"
    salt = Atoms("LiF", positions=[[0, 0, 0], [0, 0, 1.6]])
    apart = Atoms("LiF", positions=[[0, 0, 0], [0, 0, 5.0]])
    assert broken(seen(apart), salt, bonds=1.6) is None
    assert broken(seen(apart), salt, bonds=1.6, ions=())[0] == "bonds"


@pytest.mark.parametrize("pbc", [True, False])
def test_the_closest_pair_is_found_across_images(pbc: bool) -> None:
    start = water(pbc)
    atoms = start.copy()
    direction = atoms.get_distance(0, 5, mic=pbc, vector=True)
    atoms.positions[5] -= direction * (1 - 0.499 / np.linalg.norm(direction))
    name, message = broken(seen(atoms), start, distance=0.5)
    assert name == "distance"
    assert "0.499 Å apart" in message
    atoms.positions[5] += direction / np.linalg.norm(direction) * 0.002
    assert broken(seen(atoms), start, distance=0.5) is None
    assert broken(seen(start), start, distance=1.2)[0] == "distance"


def test_the_temperature_rule_allows_what_the_canonical_ensemble_does() -> None:
    """chi-square: 3 times the target for many atoms, more for few, where 3 is passed by chance all the time."""
    many = bulk("W", cubic=True) * (2, 2, 2)
    assert broken(seen(many, temperature=899.0), many, temperature=3.0) is None
    assert broken(seen(many, temperature=901.0), many, temperature=3.0)[0] == "temperature"
    assert temperature_factor(3.0, 45) == 3.0
    pair = water()[:2]
    limit = temperature_factor(3.0, 3)
    assert chi2.sf(3 * limit, 3) == pytest.approx(1e-9, rel=1e-3)
    assert broken(seen(pair, temperature=0.99 * limit * 300), pair, temperature=3.0) is None
    assert broken(seen(pair, temperature=1.01 * limit * 300), pair, temperature=3.0)[0] == "temperature"
    kinetic = np.random.default_rng(1).standard_normal((200_000, 3))
    assert (np.sum(kinetic**2, axis=1) / 3 > 3.0).mean() == pytest.approx(1 / 34, rel=0.05)


def test_a_temperature_beyond_all_numbers_is_not_finite() -> None:
    """Such a frame cannot be written; as a broken rule of another name it would take the other walkers down."""
    start = water()
    assert broken(seen(start, temperature=np.inf), start, temperature=3.0, distance=0.5)[0] == "not_finite"


@pytest.mark.parametrize(("factor", "expected"), [(0.71, "density"), (0.72, None), (1.41, None), (1.45, "density")])
def test_density_between_two_limits(factor: float, expected: str | None) -> None:
    """Limits of one third and 2.8 times: the cell changes by the inverse cube root."""
    start = water()
    atoms = start.copy()
    atoms.set_cell(start.cell / factor, scale_atoms=True)
    found = broken(seen(atoms), start, density=(0.36, 2.9))
    assert (found and found[0]) == expected


def test_what_is_not_periodic_has_no_density() -> None:
    start = water(pbc=False)
    assert broken(seen(start), start, density=(0.9, 1.1)) is None
    assert reference_of(start).density is None
    mass = 2 * (15.999 + 2 * 1.008) / units.mol
    assert reference_of(water()).density == pytest.approx(mass / (water().get_volume() * 1e-24), rel=1e-6)


def test_force_and_uncertainties_name_the_worst_atom() -> None:
    atoms = water()
    forces = np.zeros((6, 3))
    forces[4] = [3.0, 0.0, -4.0]
    sigma = np.array([0.1, 0.2, 0.3, 0.1, 0.5, 0.0])
    assert broken(seen(atoms, forces=forces), atoms, force=5.01) is None
    assert "H4 is 5 eV/Å" in broken(seen(atoms, forces=forces), atoms, force=4.99)[1]
    assert broken(seen(atoms, forces_sigma=sigma), atoms, uncertainty=0.5) is None
    assert "H4 is 0.5 eV/Å" in broken(seen(atoms, forces_sigma=sigma), atoms, uncertainty=0.49)[1]
    both = seen(atoms, forces=forces, forces_sigma=sigma)
    name, message = broken(both, atoms, relative_uncertainty=1.4, relative_floor=0.2)
    assert name == "relative_uncertainty"
    assert "H2 is 1.5" in message
    assert broken(both, atoms, relative_uncertainty=1.51, relative_floor=0.2) is None
    assert broken(seen(atoms, forces_sigma=None), atoms, uncertainty=1e-9, relative_uncertainty=1e-9) is None


@pytest.mark.parametrize(
    "changes",
    [{"energy": np.nan}, {"forces": np.full((6, 3), np.inf)}, {"forces_sigma": np.full(6, np.nan)}],
)
def test_what_is_not_finite_comes_first(changes: dict[str, object]) -> None:
    atoms = water()
    name, message = broken(seen(atoms, temperature=1e9, **changes), atoms, temperature=3.0)
    assert name == "not_finite"
    assert next(iter(changes)).split("_", maxsplit=1)[0] in message or "uncertainty" in message
