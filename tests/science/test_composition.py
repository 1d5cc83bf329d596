import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science.composition import composition_energy, element_counts, element_energies

E0S = {"H": -13.5, "C": -1029.0, "O": -2043.25}


def frames() -> list[Atoms]:
    return [Atoms("CO2"), Atoms("H2O"), Atoms("CH4"), Atoms("C2H6O"), Atoms("O")]


def test_counts_are_by_atomic_number() -> None:
    symbols, counts = element_counts(frames())
    assert symbols == ["H", "C", "O"]
    np.testing.assert_array_equal(counts[3], [6, 2, 1])


def test_known_energies_are_recovered_exactly() -> None:
    energies = np.array([composition_energy(atoms, E0S) for atoms in frames()])
    assert element_energies(frames(), energies) == pytest.approx(E0S, abs=1e-8)


def test_frames_without_energy_are_left_out() -> None:
    energies = np.array([composition_energy(atoms, E0S) for atoms in frames()])
    energies[1] = np.nan
    assert element_energies(frames(), energies) == pytest.approx(E0S, abs=1e-8)


def test_each_atom_counts_the_same_whatever_the_cell() -> None:
    cells = [Atoms("W"), Atoms("W10")]
    assert element_energies(cells, np.array([1.0, 30.0]))["W"] == pytest.approx(2.0)


def test_one_formula_only_still_explains_the_mean() -> None:
    water = [Atoms("H2O"), Atoms("H2O")]
    fitted = element_energies(water, np.array([-10.0, -14.0]))
    assert composition_energy(water[0], fitted) == pytest.approx(-12.0)


def test_no_finite_energy_is_refused() -> None:
    with pytest.raises(ValueError, match="none is finite"):
        element_energies([Atoms("W")], np.array([np.nan]))
