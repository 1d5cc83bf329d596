"""Errors against hand-made differences, with unequal frame sizes and asymmetric numbers."""

import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science.errors import error_table
from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES, STRESS
from aiida_mlip.science.predictions import Predictions


@pytest.fixture
def frames():
    one = Atoms("Cu2Ni", positions=np.eye(3), cell=[4, 5, 6], pbc=True)
    one.info.update({ENERGY: -9.0, STRESS: np.arange(6) * 0.1, CONFIG_TYPE: "bulk"})
    one.arrays[FORCES] = np.array([[1.0, 0, 0], [0, 2.0, 0], [0, 0, -4.0]])
    two = Atoms("Ni", positions=[[0, 0, 0]])
    two.info.update({ENERGY: -2.0})
    two.arrays[FORCES] = np.zeros((1, 3))
    return [one, two]


@pytest.fixture
def predictions(frames):
    return Predictions(
        energies=np.array([-9.3, -1.9]),
        forces=[frames[0].arrays[FORCES] + [[0.3, 0, 0], [0, 0, 0], [0, 0, 0.6]], np.array([[0.0, -0.1, 0.2]])],
        stresses=np.array([np.arange(6) * 0.1 + [0, 0, 0.06, 0, 0, 0], [np.nan] * 6]),
    )


def test_energies_are_per_atom(frames, predictions):
    cell = error_table(frames, predictions)["all"]["energy"]
    assert cell["n"] == 2
    assert cell["mae"] == pytest.approx((0.1 + 0.1) / 2)
    assert cell["rmse"] == pytest.approx(0.1)


def test_forces_are_per_component_over_all_atoms(frames, predictions):
    table = error_table(frames, predictions)
    assert table["all"]["forces"]["n"] == 12
    assert table["all"]["forces"]["mae"] == pytest.approx((0.3 + 0.6 + 0.1 + 0.2) / 12)
    assert table["all"]["forces"]["rmse"] == pytest.approx(np.sqrt((0.09 + 0.36 + 0.01 + 0.04) / 12))
    assert table["all"]["forces"]["max"] == pytest.approx(0.6)


def test_each_configuration_type_and_element_has_its_own_cell(frames, predictions):
    table = error_table(frames, predictions)
    assert set(table["config_types"]) == {"bulk", "default"}
    assert table["config_types"]["default"]["forces"]["mae"] == pytest.approx(0.1)
    assert table["elements"]["Cu"]["forces"]["mae"] == pytest.approx(0.3 / 6)
    assert table["elements"]["Ni"]["forces"]["mae"] == pytest.approx((0.6 + 0.1 + 0.2) / 6)
    assert table["elements"]["Ni"]["frames"] == 2


def test_what_cannot_be_compared_is_left_out(frames, predictions):
    table = error_table(frames, predictions)
    assert table["all"]["stress"]["n"] == 6
    assert table["all"]["stress"]["rmse"] == pytest.approx(0.06 / np.sqrt(6))
    assert "stress" not in table["config_types"]["default"]


def test_the_order_of_the_frames_does_not_matter(frames, predictions):
    swapped = Predictions(predictions.energies[::-1], predictions.forces[::-1], predictions.stresses[::-1])
    again, first = error_table(frames[::-1], swapped)["all"], error_table(frames, predictions)["all"]
    assert all(again[name] == pytest.approx(first[name]) for name in ("energy", "forces", "stress"))


def test_a_wrong_number_of_frames_is_refused(frames, predictions):
    with pytest.raises(ValueError, match="2 for 1 frames"):
        error_table(frames[:1], predictions)


def test_a_wrong_number_of_atoms_is_refused(frames, predictions):
    wrong = Predictions(predictions.energies, predictions.forces[::-1], predictions.stresses)
    with pytest.raises(ValueError, match="shape"):
        error_table(frames, wrong)
