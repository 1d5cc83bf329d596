"""Elastic constants against exact ones, against matscipy, against published values, and in rotated frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si
from matscipy.elasticity import (
    Voigt_6x6_to_cubic,
    cubic_to_Voigt_6x6,
    fit_elastic_constants,
    measure_triclinic_elastic_constants,
    rotate_cubic_elastic_constants,
)
from numpy.typing import NDArray

from aiida_mlip.science import properties
from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA as GPA
from aiida_mlip.science.properties import PropertyError
from aiida_mlip.science.properties._crystals import primitive_cell, strained
from aiida_mlip.science.properties.elastic import ElasticResult, central_differences, fit_cubic, strain_set
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair

ASYMMETRIC = np.array(
    [
        [0.011, -0.004, 0.002, 0.007, -0.003, 0.005],
        [-0.002, 0.009, 0.001, -0.006, 0.008, 0.0],
        [0.003, 0.005, -0.012, 0.001, 0.004, -0.009],
    ]
)


def elastic(element: str, calculator: Any, **inputs: Any) -> ElasticResult:
    record, _ = properties.compute(properties.get("elastic"), {"element": element, **inputs}, calculator)
    assert record.error is None, record.error
    return ElasticResult.model_validate(record.result)


def flag_names(result: ElasticResult) -> set[str]:
    return {flag.name for flag in result.flags}


def test_fit_recovers_constants_from_asymmetric_strains() -> None:
    """No two components of the strains are equal, so no mix-up of components can hide."""
    stresses = ASYMMETRIC @ cubic_to_Voigt_6x6(500.0, 200.0, 150.0) / GPA
    fit = fit_cubic(ASYMMETRIC, stresses)
    assert (fit.c11, fit.c12, fit.c44) == pytest.approx((500.0, 200.0, 150.0), rel=1e-12)
    assert fit.misfit < 1e-10


def test_fit_sees_that_a_crystal_is_not_cubic() -> None:
    constants = cubic_to_Voigt_6x6(500.0, 200.0, 150.0)
    constants[1, 1] += 40.0
    assert fit_cubic(ASYMMETRIC, ASYMMETRIC @ constants / GPA).misfit > 5.0


def test_fit_refuses_strains_that_say_too_little() -> None:
    with pytest.raises(PropertyError, match="do not determine C11, C12 and C44"):
        fit_cubic([[0.01, 0.01, 0.01, 0, 0, 0]], [[0.1, 0.1, 0.1, 0, 0, 0]])


def test_central_differences_cancel_what_is_even_in_the_strain() -> None:
    strains = strain_set(0.01)
    constants = cubic_to_Voigt_6x6(500.0, 200.0, 150.0)
    stresses = [constants @ e + 7.0 + 1e4 * np.array(e) ** 2 for e in strains]
    e, s = central_differences(strains, stresses)
    np.testing.assert_allclose(s, e @ constants, atol=1e-12)


def test_strained_applies_the_strain_that_its_name_says() -> None:
    cell = bulk("Cu", cubic=True)
    strain = ASYMMETRIC[0]
    deformed = strained(cell, strain)
    gradient = np.linalg.solve(cell.cell.array, deformed.cell.array)
    np.testing.assert_allclose(np.diag(gradient) - 1, strain[:3], atol=1e-14)
    np.testing.assert_allclose([gradient[1, 2], gradient[0, 2], gradient[0, 1]], strain[3:] / 2, atol=1e-14)
    assert cell.cell.array[0, 0] == bulk("Cu", cubic=True).cell.array[0, 0]


def test_known_solid_is_measured(linear_solid: Any) -> None:
    a = 3.2
    calculator = linear_solid(primitive_cell("W", "bcc", a), 520.0, 200.0, 140.0)
    result = elastic("W", calculator, lattice_constant=a, strains=(1e-3, 2e-3))
    assert result.c11 == pytest.approx(520.0, rel=1e-4)
    assert result.c12 == pytest.approx(200.0, rel=1e-4)
    assert result.c44 == pytest.approx(140.0, rel=1e-4)
    assert result.stable
    assert result.anisotropy == pytest.approx(140.0 / 160.0, rel=1e-4)


@pytest.mark.parametrize(
    ("constants", "name"),
    [((520.0, 200.0, -16.0), "unstable_c44"), ((190.0, 200.0, 140.0), "unstable_c_prime")],
)
def test_unstable_crystals_are_flagged(linear_solid: Any, constants: tuple[float, float, float], name: str) -> None:
    calculator = linear_solid(primitive_cell("Nb", "bcc", 3.3), *constants)
    result = elastic("Nb", calculator, lattice_constant=3.3)
    assert name in flag_names(result)
    assert not result.stable


def test_dependence_on_the_strain_is_flagged(linear_solid: Any) -> None:
    calculator = linear_solid(primitive_cell("W", "bcc", 3.2), 520.0, 200.0, 140.0, quartic=5e3)
    result = elastic("W", calculator, lattice_constant=3.2)
    assert "strain_dependent" in flag_names(result)
    assert result.spread > 0.05


def test_stress_that_disagrees_with_the_energy_is_flagged(linear_solid: Any) -> None:
    calculator = linear_solid(primitive_cell("W", "bcc", 3.2), 520.0, 200.0, 140.0, stress_factor=1.05)
    assert flag_names(elastic("W", calculator, lattice_constant=3.2)) == {"bulk_modulus_mismatch"}


def test_unstable_against_a_change_of_volume_is_flagged(linear_solid: Any) -> None:
    """B < 0: C11 + 2 C12 is negative though C' and C44 are not."""
    calculator = linear_solid(primitive_cell("W", "bcc", 3.2), 200.0, -150.0, 140.0)
    result = elastic("W", calculator, lattice_constant=3.2)
    assert flag_names(result) == {"unstable_bulk", "no_eos"}, "such a crystal has no minimum of the energy either"
    assert not result.stable
    assert result.bulk_modulus_eos is None


class Squeezed(EMT):
    """EMT with a stress along z that no cubic crystal has under a strain along x."""

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = ()) -> None:
        super().calculate(atoms, properties or ["energy"], list(system_changes))
        self.results["stress"][2] += 0.05 * (self.atoms.cell.array[2, 0] - self.atoms.cell.array[2, 1])


def test_stresses_that_are_not_cubic_are_flagged() -> None:
    result = elastic("Cu", Squeezed(), structure="fcc")
    assert "not_cubic" in flag_names(result)
    assert result.by_strain[0].symmetry_error > 0.02


@pytest.mark.parametrize(
    ("element", "constants"),
    [
        ("W", (522.4, 204.4, 160.6)),
        ("Mo", (464.7, 161.5, 108.9)),
        ("Nb", (246.6, 133.3, 28.1)),
        ("Ta", (266.0, 161.2, 82.4)),
    ],
)
def test_finnis_sinclair_has_the_constants_it_was_fitted_to(
    element: str, constants: tuple[float, float, float]
) -> None:
    """Those of experiment, which the authors reproduce (Phil. Mag. A 50, 45 (1984))."""
    result = elastic(element, FinnisSinclair(), strains=(1e-4, 2e-4))
    assert (result.c11, result.c12, result.c44) == pytest.approx(constants, abs=0.15)
    assert result.anisotropy == pytest.approx(2 * constants[2] / (constants[0] - constants[1]), rel=2e-3)
    assert result.stable
    assert not result.flags


def test_quantities_have_the_keys_and_units_of_the_reference() -> None:
    record, _ = properties.compute(properties.get("elastic"), {"element": "W"}, FinnisSinclair())
    assert {item.key: item.unit for item in record.quantities} == {
        "C11": "GPa", "C12": "GPa", "C44": "GPa", "Cprime": "GPa", "bulk_modulus": "GPa", "anisotropy": "1",
    }  # fmt: skip


@pytest.mark.parametrize("element", ["Cu", "Ni", "Al"])
def test_agrees_with_matscipy_and_with_the_equation_of_state(element: str) -> None:
    result = elastic(element, EMT(), structure="fcc", strains=(1e-3, 2e-3))
    crystal = bulk(element, "fcc", a=result.lattice_constant, cubic=True)
    crystal.calc = EMT()
    tensor, _ = fit_elastic_constants(crystal, symmetry="cubic", delta=1e-3, verbose=False, graphics=False)
    c11, c12, c44 = np.array(Voigt_6x6_to_cubic(tensor)) * GPA
    assert (result.c11, result.c12, result.c44) == pytest.approx((c11, c12, c44), rel=2e-3)
    assert result.bulk_modulus == pytest.approx(result.bulk_modulus_eos, rel=0.02)
    assert not result.flags


def test_stress_is_the_derivative_of_the_energy() -> None:
    """The constants from finite differences of energies alone: dE/de at the strain, and d2E/de2 at zero."""
    result = elastic("Cu", EMT(), structure="fcc", strains=(1e-3, 2e-3))
    cell = bulk("Cu", "fcc", a=result.lattice_constant)

    def energy_density(strain: NDArray[np.float64]) -> float:
        atoms = strained(cell, strain)
        atoms.calc = EMT()
        return float(atoms.get_potential_energy() / cell.get_volume())

    size = 2e-3
    for pattern, expected in (
        ((1, 0, 0, 0, 0, 0), result.c11),
        ((1, -1, 0, 0, 0, 0), 4 * result.c_prime),
        ((0, 0, 0, 0, 1, 0), result.c44),
    ):
        e = size * np.array(pattern, dtype=float)
        second = (energy_density(e) - 2 * energy_density(0 * e) + energy_density(-e)) / size**2
        assert second * GPA == pytest.approx(expected, rel=5e-3)


def test_constants_do_not_depend_on_the_frame() -> None:
    """The tensor of a rotated crystal, from all six strains, is the rotated tensor of our three constants."""
    result = elastic("Ni", EMT(), structure="fcc", strains=(1e-3, 2e-3))
    rotation, _ = np.linalg.qr(np.array([[0.3, 0.9, -0.2], [0.5, -0.1, 0.8], [-0.7, 0.4, 0.6]]))
    rotation *= np.sign(np.linalg.det(rotation))
    crystal = bulk("Ni", "fcc", a=result.lattice_constant, cubic=True)
    crystal.set_cell(crystal.cell.array @ rotation.T, scale_atoms=True)
    crystal.calc = EMT()
    tensor = measure_triclinic_elastic_constants(crystal, delta=1e-3)
    full = np.einsum("iijj->ij", tensor)
    expected = rotate_cubic_elastic_constants(result.c11, result.c12, result.c44, rotation) / GPA
    np.testing.assert_allclose(full, expected[:3, :3], atol=2e-3 * expected.max())
    np.testing.assert_allclose(tensor[1, 2, 0, 2], expected[3, 4], atol=2e-3 * expected.max())


def test_silicon_with_internal_relaxation_has_the_published_constants() -> None:
    """Stillinger-Weber silicon: 151.4, 76.4 and 56.4 GPa (Cowley, Phys. Rev. Lett. 60, 2379 (1988))."""
    calculator = Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))
    result = elastic("Si", calculator, structure="diamond", fmax=1e-5)
    assert (result.c11, result.c12, result.c44) == pytest.approx((151.4, 76.4, 56.4), abs=0.1)


def test_inputs_are_not_changed() -> None:
    cell: Atoms = primitive_cell("W", "bcc", 3.2)
    before = cell.cell.array.copy()
    strained(cell, ASYMMETRIC[1])
    np.testing.assert_array_equal(cell.cell.array, before)
