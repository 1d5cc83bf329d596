"""Vacancies against sums written out by hand, against a pair potential, and where they have to be flagged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from aiida_mlip.science import properties
from aiida_mlip.science.properties.vacancy import VacancyResult, vacancy_cell


def vacancy(calculator: Any, **inputs: Any) -> VacancyResult:
    record, _ = properties.compute(properties.get("vacancy"), inputs, calculator)
    assert record.error is None, record.error
    return VacancyResult.model_validate(record.result)


def flag_names(result: VacancyResult) -> list[str]:
    return [flag.name for flag in result.flags]


@pytest.mark.parametrize("element", ["Cu", "Ni", "Al"])
def test_agrees_with_a_plain_ase_script(element: str) -> None:
    """E_f = E(N - 1) - (N - 1) / N E(N) in the same supercell, relaxed by another optimiser."""
    result = vacancy(EMT(), element=element, structure="fcc", sizes=[2], fmax=1e-3)
    perfect = bulk(element, "fcc", a=result.lattice_constant, cubic=True) * (2, 2, 2)
    perfect.calc = EMT()
    defect = perfect.copy()
    del defect[13]
    defect.calc = EMT()
    n, reference = len(perfect), perfect.get_potential_energy()
    unrelaxed = defect.get_potential_energy() - (n - 1) / n * reference
    BFGS(defect, logfile=None).run(fmax=1e-4, steps=100)
    relaxed = defect.get_potential_energy() - (n - 1) / n * reference
    assert result.formation_energy == pytest.approx(relaxed, abs=1e-4)
    assert result.cells[0].unrelaxed == pytest.approx(unrelaxed, abs=0.03)
    assert result.formation_energy < result.cells[0].unrelaxed


def test_pair_potential_loses_one_cohesive_energy() -> None:
    """Without relaxation, a vacancy of a pair potential costs minus the energy per atom: each bond counts half."""
    calculator = LennardJones(sigma=2.3, epsilon=0.4, rc=5.0, smooth=True)
    result = vacancy(calculator, element="Cu", structure="fcc", sizes=[3], noise=0.0)
    assert result.cells[0].unrelaxed == pytest.approx(-result.bulk_energy, rel=1e-9)


def test_orientation_of_the_cell_does_not_matter() -> None:
    """The same vacancy in a cell that is turned and has other edges, with the same atoms around it."""
    a, kwargs = 3.5898, {"noise": 0.0}
    plain = vacancy_cell("Cu", "fcc", a, 3, **kwargs)
    cube = bulk("Cu", "fcc", a=a, cubic=True)
    sheared = make_supercell(cube, [[3, 3, 0], [0, 3, 0], [0, 0, 3]])
    del sheared[0]
    sheared.rotate(35.0, (0.3, 0.5, -0.8), rotate_cell=True)
    energies = []
    for atoms in (plain, sheared):
        atoms.calc = EMT()
        BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
        energies.append(atoms.get_potential_energy())
    assert energies[0] == pytest.approx(energies[1], abs=1e-4)


def test_correction_brings_a_small_cell_close_to_zero_pressure() -> None:
    """Relaxing the cell as well (ASE's filter) is what the pressure term stands for."""
    result = vacancy(EMT(), element="Cu", structure="fcc", sizes=[2], fmax=1e-3, noise=0.0)
    cell = result.cells[0]
    atoms = vacancy_cell("Cu", "fcc", result.lattice_constant, 2)
    atoms.calc = EMT()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=200)
    relaxed = atoms.get_potential_energy() - len(atoms) * result.bulk_energy
    assert cell.pressure < 0
    assert cell.relaxation_volume < 0
    assert cell.corrected < cell.formation_energy
    assert cell.corrected == pytest.approx(relaxed, abs=3e-4)
    shrinkage = (atoms.get_volume() - (2 * result.lattice_constant) ** 3) / (result.lattice_constant**3 / 4)
    assert cell.relaxation_volume == pytest.approx(shrinkage, rel=0.1)


def test_extrapolation_and_correction_meet() -> None:
    """Two roads to an infinite cell: 1 / volume through two sizes, and the pressure of the larger one."""
    result = vacancy(EMT(), element="Cu", structure="fcc", sizes=[5, 3], fmax=1e-3, noise=0.0)
    small, large = result.cells
    assert (small.size, large.size) == (3, 5)
    assert result.extrapolated == pytest.approx(large.corrected, abs=5e-5)
    assert abs(large.corrected - small.corrected) < 0.2 * abs(large.formation_energy - small.formation_energy)
    assert result.formation_energy == large.formation_energy


def test_random_start_ends_in_the_same_minimum() -> None:
    quiet = vacancy(EMT(), element="Al", structure="fcc", sizes=[2], noise=0.0, fmax=1e-3)
    noisy = vacancy(EMT(), element="Al", structure="fcc", sizes=[2], noise=0.03, seed=5, fmax=1e-3)
    assert noisy.formation_energy == pytest.approx(quiet.formation_energy, abs=1e-4)


def test_structures_are_relaxed_and_named() -> None:
    prop = properties.get("vacancy")
    _, structures = properties.compute(prop, {"element": "Cu", "structure": "fcc", "sizes": [2]}, EMT())
    (atoms,) = structures
    assert atoms.info == {"config_type": "vacancy_2x2x2"}
    atoms.calc = EMT()
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.01


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ({"max_steps": 1, "sizes": [2]}, ["not_converged"]),
        ({"lattice_constant": 3.1, "sizes": [2]}, ["negative_energy"]),
        ({"structure": "bcc", "sizes": [2, 3]}, ["size_dependent"]),
        ({"structure": "sc", "sizes": [3], "noise": 0.05}, ["left_sites", "negative_energy"]),
    ],
)
def test_what_a_reader_has_to_know_is_flagged(inputs: dict[str, Any], names: list[str]) -> None:
    result = vacancy(EMT(), **{"element": "Cu", "structure": "fcc", **inputs})
    assert flag_names(result) == names


def test_not_converged_is_not_usable() -> None:
    inputs = {"element": "Cu", "structure": "fcc", "sizes": [2], "max_steps": 1}
    record, _ = properties.compute(properties.get("vacancy"), inputs, EMT())
    assert record.result is not None
    assert not record.usable()


def test_cell_lacks_one_atom() -> None:
    atoms: Atoms = vacancy_cell("W", "bcc", 3.18, 2, noise=0.01, seed=3)
    assert len(atoms) == 15
    np.testing.assert_array_equal(atoms.positions, vacancy_cell("W", "bcc", 3.18, 2, noise=0.01, seed=3).positions)
