"""The built-in crystals are what they are called, and the drift measures changes of the surface only."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list

from aiida_mlip.science.forgetting import CRYSTALS, drift, forgetting_frames
from aiida_mlip.science.predictions import Predictions

# crystal -> (species, coordination number, nearest distance [Å] and its tolerance), from textbooks
COORDINATION = {
    "Al": ("Al", 12, 2.86), "Ni": ("Ni", 12, 2.49), "Cu": ("Cu", 12, 2.55), "Au": ("Au", 12, 2.88),
    "Na": ("Na", 8, 3.72), "Fe": ("Fe", 8, 2.49), "Nb": ("Nb", 8, 2.86), "Mo": ("Mo", 8, 2.73),
    "Mg": ("Mg", 12, 3.20), "Ti": ("Ti", 12, 2.92), "Zn": ("Zn", 12, 2.79),
    "C": ("C", 4, 1.54), "Si": ("Si", 4, 2.35), "SiC": ("Si", 4, 1.89), "GaAs": ("As", 4, 2.45),
    "LiF": ("Li", 6, 2.01), "NaCl": ("Cl", 6, 2.82), "CsCl": ("Cs", 8, 3.57), "CaF2": ("Ca", 8, 2.36),
    "MgO": ("O", 6, 2.11), "TiO2": ("Ti", 6, 1.96), "SrTiO3": ("Ti", 6, 1.95), "SiO2": ("Si", 4, 1.61),
    "Al2O3": ("Al", 6, 1.91), "ZnO": ("Zn", 4, 1.98), "TiC": ("C", 6, 2.17), "NiAl": ("Ni", 8, 2.50),
}  # fmt: skip


@pytest.mark.parametrize("crystal", CRYSTALS, ids=lambda crystal: crystal.name)
def test_crystals_have_the_coordination_of_the_textbook(crystal) -> None:  # type: ignore[no-untyped-def]
    species, number, distance = COORDINATION[crystal.name]
    atoms = crystal.build()
    first, lengths = neighbor_list("id", atoms, 1.12 * distance)
    for index in [atom.index for atom in atoms if atom.symbol == species]:
        assert np.sum(first == index) == number
    nearest = np.mean([lengths[first == atom.index].mean() for atom in atoms if atom.symbol == species])
    assert nearest == pytest.approx(distance, rel=0.02)


def test_frames_are_complete_reproducible_and_strained() -> None:
    frames = forgetting_frames()
    assert len(frames) == 3 * len(CRYSTALS)
    assert 20 <= len(CRYSTALS) <= 30
    assert sum(map(len, frames)) < 600, "the set has to stay cheap"
    again = forgetting_frames()
    for one, two in zip(frames, again, strict=True):
        np.testing.assert_array_equal(one.positions, two.positions)
    for trio in zip(frames[0::3], frames[1::3], frames[2::3], strict=True):
        volumes = [atoms.get_volume() for atoms in trio]
        assert volumes[0] < volumes[1] < volumes[2]
        assert len({atoms.info["group"] for atoms in trio}) == 1
    assert len({atoms.info["group"] for atoms in frames}) == len(CRYSTALS)
    for atoms in frames:
        distances = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]
        assert distances.min() > 1.3


def test_frames_of_some_elements_are_the_same_frames() -> None:
    everything = {(a.info["group"], i % 3): a for i, a in enumerate(forgetting_frames())}
    some = forgetting_frames({"Si", "C", "Mo"})
    assert {atoms.info["group"] for atoms in some} == {"C", "Si", "SiC", "Mo"}
    for index, atoms in enumerate(some):
        np.testing.assert_array_equal(atoms.positions, everything[atoms.info["group"], index % 3].positions)
    assert {atoms.info["config_type"] for atoms in some} == {"covalent", "bcc metals"}
    assert {a.info["group"] for a in forgetting_frames({"Si", "C", "Mo"}, exclude={"C"})} == {"Si", "Mo"}
    assert forgetting_frames({"Xe"}) == []


@pytest.fixture
def metals() -> tuple[list[Atoms], Predictions]:
    frames = forgetting_frames({"Al", "Ni", "Cu", "Au"})
    return frames, predict(frames)


def predict(frames: list[Atoms]) -> Predictions:
    energies, forces, stresses = [], [], []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        stresses.append(atoms.get_stress())
    return Predictions(np.array(energies), forces, np.array(stresses))


def test_forces_and_stresses_of_the_frames_are_not_zero(metals: tuple[list[Atoms], Predictions]) -> None:
    _, predictions = metals
    assert all(np.abs(forces).max() > 0.05 for forces in predictions.forces)
    assert np.all(np.abs(predictions.stresses).max(axis=1) > 1e-3)


def test_no_change_is_no_drift(metals: tuple[list[Atoms], Predictions]) -> None:
    result = drift(metals[0], metals[1], metals[1])
    assert result["all"]["frames"] == len(metals[0])
    assert set(result["families"]) == {"fcc metals", "metallic compounds"}
    for cell in (result["all"], *result["families"].values()):
        for key in ("energy_rmse", "energy_shift", "forces_rmse", "forces_max", "forces_relative", "stress_rmse"):
            assert cell[key] == 0


def test_other_atomic_energies_are_no_drift(metals: tuple[list[Atoms], Predictions]) -> None:
    frames, before = metals
    shifts = {"Al": 3.0, "Ni": -1.7, "Cu": 0.4, "Au": 11.0}
    moved = np.array([sum(shifts[symbol] for symbol in atoms.get_chemical_symbols()) for atoms in frames])
    result = drift(frames, before, Predictions(before.energies + moved, before.forces, before.stresses))
    assert result["all"]["energy_rmse"] < 1e-12
    assert abs(result["all"]["energy_shift"]) > 1.0


def test_known_changes_are_measured(metals: tuple[list[Atoms], Predictions]) -> None:
    """Energies move by +d, -d, 0 per atom in each crystal, forces of one family by a constant vector."""
    frames, before = metals
    sizes = np.array([len(atoms) for atoms in frames])
    d = 0.006
    energies = before.energies + sizes * np.resize([d, -d, 0.0], len(frames))
    chosen = [atoms.info["config_type"] == "metallic compounds" for atoms in frames]
    vector = np.array([0.1, -0.2, 0.05])
    forces = [f + vector if hit else f for f, hit in zip(before.forces, chosen, strict=True)]
    result = drift(frames, before, Predictions(energies, forces, before.stresses + 0.001))
    assert result["all"]["energy_rmse"] == pytest.approx(d * np.sqrt(2 / 3))
    assert result["families"]["fcc metals"]["forces_rmse"] == 0
    cell = result["families"]["metallic compounds"]
    assert cell["forces_rmse"] == pytest.approx(np.sqrt(np.mean(vector**2)))
    assert cell["forces_max"] == pytest.approx(0.2)
    reference = np.concatenate([f.ravel() for f, hit in zip(before.forces, chosen, strict=True) if hit])
    assert cell["forces_relative"] == pytest.approx(np.sqrt(np.mean(vector**2) / np.mean(reference**2)))
    assert cell["stress_rmse"] == pytest.approx(0.001)


def test_missing_stresses_are_none(metals: tuple[list[Atoms], Predictions]) -> None:
    frames, before = metals
    without = Predictions(before.energies, before.forces, np.full((len(frames), 6), np.nan))
    assert drift(frames, before, without)["all"]["stress_rmse"] is None


def test_inputs_are_not_changed(metals: tuple[list[Atoms], Predictions]) -> None:
    frames, before = metals
    energies = before.energies.copy()
    drift(frames, before, before)
    np.testing.assert_array_equal(before.energies, energies)


def test_what_cannot_be_compared_is_refused(metals: tuple[list[Atoms], Predictions]) -> None:
    frames, before = metals
    with pytest.raises(ValueError, match="predictions for 2 frames"):
        drift(frames[:2], before, before)
    single = Predictions(before.energies[:1], before.forces[:1], before.stresses[:1])
    with pytest.raises(ValueError, match="at least two frames of one composition"):
        drift(frames[:1], single, single)
    nothing = Predictions(np.zeros(0), [], np.zeros((0, 6)))
    with pytest.raises(ValueError, match="frames is empty"):
        drift([], nothing, nothing)
