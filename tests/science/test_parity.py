"""Arrays of labels and predictions go back and forth without loss."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES, GROUP, SOURCE, STRESS
from aiida_mlip.science.parity import labelled_frames, parity_arrays, predictions_from
from aiida_mlip.science.predictions import Predictions


@pytest.fixture
def frames() -> list[Atoms]:
    first = Atoms("WMo", [[0, 0, 0], [1.5, 1.6, 1.7]], cell=[3, 3.1, 3.2], pbc=True)
    first.info = {ENERGY: -20.0, STRESS: np.arange(6) / 10, CONFIG_TYPE: "alloy", GROUP: "g", SOURCE: "uuid"}
    first.arrays[FORCES] = np.arange(6.0).reshape(2, 3)
    return [first, Atoms("Nb3", np.diag([1.0, 2.0, 3.0]))]


@pytest.fixture
def predictions() -> Predictions:
    stresses = np.vstack([np.linspace(0.1, 0.6, 6), np.full(6, np.nan)])
    forces = [np.full((2, 3), 0.5), np.arange(9.0).reshape(3, 3)]
    return Predictions(np.array([-19.0, -30.0]), forces, stresses, np.eye(2))


def test_arrays_hold_each_number_in_its_place(frames: list[Atoms], predictions: Predictions) -> None:
    arrays = parity_arrays(frames, predictions, np.array([1.0, 3.0]))
    assert arrays["energy_reference"][0] == -10.0
    assert np.isnan(arrays["energy_reference"][1])
    assert arrays["energy_predicted"].tolist() == [-9.5, -10.0]
    assert arrays["energy_shift"].tolist() == [0.5, 1.0]
    assert arrays["atom_numbers"].tolist() == [74, 42, 41, 41, 41]
    assert arrays["atom_frame"].tolist() == [0, 0, 1, 1, 1]
    assert arrays["forces_reference"][1].tolist() == [3.0, 4.0, 5.0]
    assert np.isnan(arrays["forces_reference"][2:]).all()
    assert arrays["forces_predicted"][4].tolist() == [6.0, 7.0, 8.0]
    assert arrays["config_type"].tolist() == ["alloy", "default"]
    assert all(
        array.dtype == np.float64 for name, array in arrays.items() if name.split("_")[0] in ("energy", "forces")
    )


def test_predictions_come_back(frames: list[Atoms], predictions: Predictions) -> None:
    back = predictions_from(parity_arrays(frames, predictions))
    np.testing.assert_allclose(back.energies, predictions.energies)
    for one, two in zip(back.forces, predictions.forces, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(back.stresses, predictions.stresses)
    np.testing.assert_array_equal(back.descriptors, predictions.descriptors)


def test_no_frames_are_empty_arrays() -> None:
    nothing = Predictions(np.zeros(0), [], np.zeros((0, 6)))
    arrays = parity_arrays([], nothing)
    assert arrays["forces_predicted"].shape == (0, 3)
    assert arrays["stress_reference"].shape == (0, 6)
    assert len(predictions_from(arrays)) == 0


def test_predictions_become_labels(frames: list[Atoms], predictions: Predictions) -> None:
    first, second = labelled_frames(frames, predictions)
    assert first.info[ENERGY] == -19.0
    assert first.info[CONFIG_TYPE] == "alloy"
    assert SOURCE not in first.info
    np.testing.assert_array_equal(first.info[STRESS], predictions.stresses[0])
    assert STRESS not in second.info
    assert frames[0].info[ENERGY] == -20.0, "the input is left as it is"
