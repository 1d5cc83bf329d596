"""Equations of state against ASE's own fit, against the stress, and against what is known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import EquationOfState, birchmurnaghan

from aiida_mlip.science import properties, reference
from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA as GPA
from aiida_mlip.science.properties import PropertyError
from aiida_mlip.science.properties._bulk import fit_eos, pressure, relaxed_lattice_constant
from aiida_mlip.science.properties._crystals import (
    ATOMS_PER_CUBIC_CELL,
    cubic_cell,
    guess_volume,
    lattice_constant_from_volume,
    primitive_cell,
)
from aiida_mlip.science.properties.eos import PUBLISHED_VOLUMES, EosResult
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair


def eos(calculator: Any, **inputs: Any) -> EosResult:
    record, _ = properties.compute(properties.get("eos"), inputs, calculator)
    assert record.error is None, record.error
    return EosResult.model_validate(record.result)


@pytest.mark.parametrize("element", ["Cu", "Ni", "Al"])
def test_agrees_with_an_independent_fit(element: str) -> None:
    """ASE's Vinet fit to energies of the conventional cell, by its own script."""
    result = eos(EMT(), element=element, structure="fcc")
    volumes, energies = [], []
    for factor in np.linspace(0.98, 1.02, 9):
        atoms = bulk(element, "fcc", a=result.lattice_constant * factor, cubic=True)
        atoms.calc = EMT()
        volumes.append(atoms.get_volume() / 4)
        energies.append(atoms.get_potential_energy() / 4)
    volume, energy, modulus = EquationOfState(volumes, energies, eos="vinet").fit()
    assert result.lattice_constant == pytest.approx((4 * volume) ** (1 / 3), rel=1e-3)
    assert result.phases["fcc"].volume == pytest.approx(volume, rel=3e-3)
    assert result.phases["fcc"].energy == pytest.approx(energy, abs=1e-3)
    assert result.bulk_modulus == pytest.approx(modulus * GPA, rel=0.02)


def test_fit_recovers_its_own_parameters() -> None:
    volumes = np.linspace(13.0, 19.0, 9)
    energies = birchmurnaghan(volumes, -12.9, 320.0 / GPA, 4.7, 15.9)
    fit = fit_eos(volumes, energies)
    assert (fit.volume, fit.energy) == pytest.approx((15.9, -12.9), rel=1e-9)
    assert (fit.bulk_modulus, fit.derivative) == pytest.approx((320.0, 4.7), rel=1e-6)
    assert fit.residual < 1e-9


def test_no_minimum_is_said_in_words() -> None:
    with pytest.raises(PropertyError, match=r"no minimum between 13\.000 and 19\.000"):
        fit_eos(np.linspace(13.0, 19.0, 7), np.linspace(0.0, 1.0, 7))


@pytest.mark.parametrize("structure", sorted(ATOMS_PER_CUBIC_CELL))
def test_lattice_constant_has_zero_pressure(structure: Any) -> None:
    a = relaxed_lattice_constant("Cu", structure, EMT())
    atoms = cubic_cell("Cu", structure, a)
    atoms.calc = EMT()
    assert abs(pressure(atoms)) * GPA < 0.02


@pytest.mark.parametrize("guess", [3.2, 3.6, 4.1])
def test_lattice_constant_does_not_depend_on_the_guess(guess: float) -> None:
    assert relaxed_lattice_constant("Cu", "fcc", EMT(), guess=guess) == pytest.approx(3.58983, abs=2e-5)


def test_pressure_is_minus_the_derivative_of_the_energy() -> None:
    def cell(volume: float) -> Any:
        atoms = bulk("Al", "fcc", a=lattice_constant_from_volume("fcc", volume))
        atoms.calc = EMT()
        return atoms

    energies = [cell(volume).get_potential_energy() for volume in (15.0 - 1e-3, 15.0 + 1e-3)]
    assert pressure(cell(15.0)) == pytest.approx(-(energies[1] - energies[0]) / 2e-3, rel=1e-5)


def test_no_crystal_is_said_in_words(linear_solid: Any) -> None:
    repulsive = linear_solid(primitive_cell("W", "bcc", 8.0), 100.0, 50.0, 50.0)
    record, _ = properties.compute(properties.get("eos"), {"element": "W"}, repulsive)
    assert record.error is not None
    assert record.error.type == "PropertyError"
    assert "does not hold this crystal together" in record.error.message


def test_phases_and_curve() -> None:
    result = eos(EMT(), element="Al", structure="bcc", phases=["fcc", "A15"], volumes=[21.9, 12.0])
    assert set(result.differences) == {"fcc", "A15"}
    fcc = result.phases["fcc"]
    assert result.differences["fcc"] == pytest.approx(fcc.energy - result.phases["bcc"].energy)
    assert result.differences["fcc"] < 0
    assert [flag.name for flag in result.flags] == ["lower_phase"]
    assert (fcc.volumes[0], fcc.volumes[-1]) == (12.0, 21.9)
    assert np.all(np.diff(fcc.volumes) > 0)
    atoms = bulk("Al", "fcc", a=lattice_constant_from_volume("fcc", 12.0))
    atoms.calc = EMT()
    assert fcc.energies[0] == pytest.approx(atoms.get_potential_energy())


def test_stress_that_disagrees_with_the_energy_is_flagged() -> None:
    """A lattice constant that is not the potential's own looks the same, and is flagged too."""
    result = eos(EMT(), element="Cu", structure="fcc", lattice_constant=3.57)
    assert "volume_mismatch" in {flag.name for flag in result.flags}
    assert result.phases["fcc"].volume == pytest.approx(3.58983**3 / 4, rel=2e-3)


class Rippled(EMT):
    """EMT with a ripple of 10 meV in the energy as a function of the volume."""

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = ()) -> None:
        super().calculate(atoms, properties or ["energy"], list(system_changes))
        self.results["free_energy"] = self.results["energy"] + 0.01 * np.sin(1e3 * self.atoms.get_volume())


def test_energies_that_are_not_smooth_are_flagged() -> None:
    result = eos(Rippled(), element="Cu", structure="fcc")
    assert "poor_fit" in {flag.name for flag in result.flags}
    assert result.phases["fcc"].residual > 2e-3


def test_missing_phase_leaves_the_others() -> None:
    """A phase without a minimum of the energy is named, and the lattice constant of the first is still there."""
    record, structures = properties.compute(
        properties.get("eos"), {"element": "Cu", "structure": "fcc", "phases": ["bcc", "sc"]}, NoSimpleCube()
    )
    assert record.error is None, record.error
    assert [flag.name for flag in record.flags] == ["missing_phase"]
    assert "sc Cu has no zero of the pressure" in record.flags[0].message
    assert {item.key for item in record.series} == {"eos_FCC", "eos_BCC"}
    assert "E_SC_minus_FCC" not in {item.key for item in record.quantities}
    assert len(structures) == 2


class NoSimpleCube(EMT):
    """EMT that pushes the simple cubic crystal apart at every volume."""

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = ()) -> None:
        super().calculate(atoms, properties or ["energy"], list(system_changes))
        angles = self.atoms.cell.cellpar()[3:]
        if np.allclose(angles, 90):
            self.results["stress"][:3] -= 10.0


def test_hole_in_the_curve_is_flagged() -> None:
    class Hole(EMT):
        """EMT with a hole of 0.1 eV around 8 Å^3."""

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = ()) -> None:
            super().calculate(atoms, properties or ["energy"], list(system_changes))
            width = (self.atoms.get_volume() - 8.0) / 0.3
            self.results["free_energy"] = self.results["energy"] - 5.0 * np.exp(-(width**2))

    volumes = np.arange(6.0, 16.0, 0.5).tolist()
    result = eos(Hole(), element="Cu", structure="fcc", volumes=volumes)
    assert [flag.name for flag in result.flags] == ["further_minimum"]
    assert "near 8.0" in result.flags[0].message
    assert not eos(EMT(), element="Cu", structure="fcc", volumes=volumes).flags


def test_published_volumes_cover_the_range_of_the_reference() -> None:
    assert (PUBLISHED_VOLUMES[0], PUBLISHED_VOLUMES[-1], len(PUBLISHED_VOLUMES)) == (12.0, 21.9, 34)
    for element in ("W", "Mo", "Nb"):
        for phase in ("BCC", "FCC", "A15"):
            curve = reference.load().curve(element, f"eos_{phase}")
            assert curve is not None
            assert PUBLISHED_VOLUMES[0] < min(curve.x)
            assert max(curve.x) < PUBLISHED_VOLUMES[-1]


@pytest.mark.parametrize(("element", "energy"), [("W", -8.90), ("Mo", -6.82), ("Nb", -7.57), ("Ta", -8.10)])
def test_finnis_sinclair_has_the_crystals_it_was_fitted_to(element: str, energy: float) -> None:
    """Lattice constant and cohesive energy of experiment (Phil. Mag. A 50, 45 (1984)); fcc and A15 lie above."""
    constants = {"W": 3.1652, "Mo": 3.1472, "Nb": 3.3008, "Ta": 3.3058}
    inputs = {"element": element, "phases": ["fcc", "A15"], "volumes": list(PUBLISHED_VOLUMES)}
    record, _ = properties.compute(properties.get("eos"), inputs, FinnisSinclair())
    result = EosResult.model_validate(record.result)
    assert result.lattice_constant == pytest.approx(constants[element], abs=2e-4)
    assert result.phases["bcc"].energy == pytest.approx(energy, abs=1e-3)
    assert min(result.differences.values()) > 0
    values = {item.key: item for item in record.quantities}
    assert values["volume_BCC"].value == pytest.approx(constants[element] ** 3 / 2, rel=1e-3)
    assert {values[f"volume_{name}"].unit for name in ("BCC", "FCC", "A15")} == {"angstrom^3/atom"}
    assert len(record.series[2].x) == 34 + 7


@pytest.mark.parametrize(("structure", "neighbours"), [("bcc", 8), ("fcc", 12), ("sc", 6), ("diamond", 4), ("A15", 12)])
def test_crystals_are_what_they_are_called(structure: Any, neighbours: int) -> None:
    """Nearest neighbours of the atom in the first site, and the atoms per cubic cell."""
    cell = cubic_cell("W", structure, 5.0)
    assert len(cell) == ATOMS_PER_CUBIC_CELL[structure]
    primitive = primitive_cell("W", structure, 5.0)
    assert primitive.get_volume() / len(primitive) == pytest.approx(cell.get_volume() / len(cell))
    big = cell * (3, 3, 3)
    distances = np.sort(big.get_distances(0, range(1, len(big)), mic=True))
    assert np.sum(distances < distances[0] * 1.01) == neighbours


def test_guess_of_the_volume_exists_for_every_kind_of_table_entry() -> None:
    for element, volume in {"W": 15.8, "Al": 16.6, "Mg": 23.2, "Si": 20.0, "Po": 37.0}.items():
        assert guess_volume(element) == pytest.approx(volume, rel=0.05)
    assert 10 < guess_volume("U") < 60
