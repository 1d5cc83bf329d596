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
from aiida_mlip.science.properties import Journal, Notebook
from aiida_mlip.science.properties._point_defects import embed
from aiida_mlip.science.properties.vacancy import VacancyResult, vacancy_cell
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair


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


@pytest.mark.parametrize(
    ("element", "published", "tolerance"),
    [("W", 3.63, 0.005), ("Mo", 2.55, 0.01), ("Nb", 2.48, 0.03), ("Ta", 2.87, 0.03)],
)
def test_finnis_sinclair_metals_have_their_published_energies(element: str, published: float, tolerance: float) -> None:
    """M. W. Finnis, J. E. Sinclair, Phil. Mag. A 50, 45 (1984); two decimals, small cells, and other relaxations."""
    result = vacancy(FinnisSinclair(), element=element, sizes=[4, 5])
    assert result.extrapolated == pytest.approx(published, abs=tolerance)
    assert result.corrected == pytest.approx(result.extrapolated, abs=5e-3)


def test_a_warm_start_ends_in_the_same_state_with_no_more_steps() -> None:
    """The larger of two cells starts from the displacements of the smaller one."""
    cold = vacancy(FinnisSinclair(), element="Ta", sizes=[5])
    warm = vacancy(FinnisSinclair(), element="Ta", sizes=[4, 5])
    assert warm.cells[1].formation_energy == pytest.approx(cold.formation_energy, abs=5e-4)
    assert warm.cells[1].steps < cold.cells[0].steps
    assert warm.cells[1].unrelaxed < cold.cells[0].unrelaxed


def test_embedding_moves_an_atom_as_its_image_in_the_small_cell() -> None:
    small, large = vacancy_cell("W", "bcc", 3.2, 3), vacancy_cell("W", "bcc", 3.2, 5)
    relaxed = small.copy()
    (near,) = np.flatnonzero(np.all(np.isclose(small.positions, 1.6), axis=1))
    relaxed.positions[near] -= [0.1, 0.2, 0.3]
    positions = embed(small, relaxed, large, (np.zeros(3), np.zeros(3)))
    moved = positions - large.positions
    (image,) = np.flatnonzero(np.all(np.isclose(large.positions, 1.6), axis=1))
    share = 1 - 1 / len(small)  # a shift of the whole cell does not count
    np.testing.assert_allclose(moved[image], -share * np.array([0.1, 0.2, 0.3]), atol=1e-12)
    assert np.linalg.norm(moved, axis=1)[np.arange(len(large)) != image].max() < 0.01


def test_correction_counts_only_the_pressure_of_the_defect() -> None:
    """At another lattice constant than the potential's own, the crystal itself is under pressure."""
    own = vacancy(FinnisSinclair(), element="W", sizes=[3])
    squeezed = vacancy(FinnisSinclair(), element="W", sizes=[3], lattice_constant=own.lattice_constant - 0.005)
    assert abs(own.bulk_pressure) < 0.01
    assert squeezed.bulk_pressure > 1
    assert squeezed.relaxation_volume == pytest.approx(own.relaxation_volume, rel=0.15)
    gain = squeezed.formation_energy - squeezed.corrected
    assert gain == pytest.approx(own.formation_energy - own.corrected, rel=0.3)


def test_keys_tell_raw_corrected_and_extrapolated_apart() -> None:
    record, _ = properties.compute(properties.get("vacancy"), {"element": "Nb", "sizes": [3, 4]}, FinnisSinclair())
    values = {quantity.key: quantity.value for quantity in record.quantities}
    raw, corrected = values["vacancy_formation"], values["vacancy_formation_corrected"]
    assert raw > corrected > values["vacancy_formation_extrapolated"]
    assert values["vacancy_relaxation_volume"] < 0
    assert [flag.name for flag in record.flags] == ["size_dependent"]
    assert record.usable()


def test_an_unfinished_size_goes_on() -> None:
    class OverError(Exception):
        pass

    def stop(stage: str, step: int, total: int) -> None:
        if stage == "4x4x4":
            raise OverError

    prop, inputs, notebook = properties.get("vacancy"), {"element": "W", "sizes": [3, 4]}, Notebook()
    with pytest.raises(OverError):
        properties.compute(prop, inputs, FinnisSinclair(), Journal(stop, notebook), propagate=(OverError,))
    assert set(notebook.steps) == {"bulk", "3x3x3"}
    stages: list[str] = []
    journal = Journal(lambda stage, step, total: stages.append(stage), notebook)
    record, structures = properties.compute(prop, inputs, FinnisSinclair(), journal)
    assert record.result == properties.compute(prop, inputs, FinnisSinclair())[0].result
    assert set(stages) == {"4x4x4"}
    assert [atoms.info["config_type"] for atoms in structures] == ["vacancy_3x3x3", "vacancy_4x4x4"]
