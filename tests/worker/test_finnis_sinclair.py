"""The Finnis-Sinclair potentials against the values that their authors fitted them to, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from aiida_mlip.science import properties
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair

PUBLISHED = {
    "W": (3.1652, 8.90, 522.4, 204.4, 160.6),
    "Mo": (3.1472, 6.82, 464.7, 161.5, 108.9),
    "Nb": (3.3008, 7.57, 246.6, 133.2, 28.1),
    "Ta": (3.3058, 8.10, 266.0, 161.2, 82.4),
}
"""Lattice constant [Å], cohesive energy [eV/atom], C11, C12, C44 [GPa] (Finnis and Sinclair 1984, table 1)."""


@pytest.mark.parametrize("element", PUBLISHED)
def test_published_bulk_properties(element: str) -> None:
    a, cohesive, *constants = PUBLISHED[element]
    record, _ = properties.compute(properties.get("elastic"), {"element": element}, FinnisSinclair())
    assert record.result is not None
    assert record.result["lattice_constant"] == pytest.approx(a, abs=5e-4)
    assert [record.result[key] for key in ("c11", "c12", "c44")] == pytest.approx(constants, rel=3e-3)
    atoms = bulk(element, "bcc", a=a)
    atoms.calc = FinnisSinclair()
    assert atoms.get_potential_energy() == pytest.approx(-cohesive, abs=2e-3)


def test_forces_stress_and_energies_of_atoms() -> None:
    atoms = bulk("Mo", cubic=True) * (2, 1, 2)
    atoms.rattle(0.1, seed=3)
    strain = np.array([[0.02, 0.01, 0], [0, -0.01, 0.03], [0, 0, 0.01]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.calc = FinnisSinclair()
    assert atoms.get_forces() == pytest.approx(calculate_numerical_forces(atoms, 1e-4), abs=1e-6)
    assert atoms.get_stress() == pytest.approx(calculate_numerical_stress(atoms, 1e-5), abs=1e-7)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())


def test_other_elements_are_refused() -> None:
    atoms = bulk("Fe")
    atoms.calc = FinnisSinclair()
    with pytest.raises(ValueError, match=r"elements = \['Fe'\]: Finnis-Sinclair needs one of W, Mo, Nb, Ta"):
        atoms.get_potential_energy()
