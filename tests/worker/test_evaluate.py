"""The task ``evaluate``, run by the worker's own entry in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_mlip.science.datasets.canonical import read_extxyz, write_extxyz
from aiida_mlip.science.forgetting import drift, forgetting_frames
from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES, GROUP, SOURCE, STRESS
from aiida_mlip.science.parity import predictions_from
from aiida_mlip.worker.runner import run_job

EMT_MODEL = {"architecture": "emt", "elements": ["Al", "Ni", "Cu", "Ag", "Au", "Pd", "Pt"]}


def frame(symbol: str, seed: int, **changes: Any) -> Atoms:
    """Return a rattled, asymmetric cell with EMT labels, which ``changes`` are then added to."""
    atoms = bulk(symbol, "fcc", a=3.8, cubic=True)
    atoms.set_chemical_symbols([symbol, "Cu", symbol, symbol])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.diag([0.01, -0.02, 0.015])), scale_atoms=True)
    atoms.rattle(0.05, seed=seed)
    atoms.calc = EMT()
    labels = {ENERGY: atoms.get_potential_energy(), FORCES: atoms.get_forces(), STRESS: atoms.get_stress()}
    atoms.calc = None
    atoms.info = {ENERGY: labels[ENERGY], STRESS: labels[STRESS], CONFIG_TYPE: "rattled", GROUP: "g", SOURCE: "uuid"}
    atoms.arrays[FORCES] = labels[FORCES]
    atoms.info.update(changes)
    return atoms


def evaluate(folder: Path, settings: dict[str, Any], **sets: list[Atoms]) -> dict[str, Any]:
    """Run the worker in ``folder`` and return its result."""
    (folder / "potential.json").write_text(json.dumps(EMT_MODEL))
    files = {"potential": "potential.json"}
    for name, frames in sets.items():
        files[f"set_{name}"] = f"set_{name}.xyz"
        with (folder / files[f"set_{name}"]).open("w") as handle:
            write_extxyz(frames, handle)
    job = {"contract": 1, "task": "evaluate", "settings": settings, "files": files}
    (folder / "job.json").write_text(json.dumps(job))
    assert run_job(folder / "job.json") == 0
    return json.loads((folder / "result.json").read_text())  # type: ignore[no-any-return]


def test_errors_are_those_that_were_put_in(tmp_path: Path) -> None:
    """Labels that differ from EMT by known amounts, different for each set, type and component."""
    good, bad = frame("Ni", 1), frame("Ni", 2, **{CONFIG_TYPE: "wrong"})
    bad.info[ENERGY] -= 0.4
    bad.arrays[FORCES][2] -= [0.1, -0.2, 0.3]
    bad.info[STRESS] = bad.info[STRESS] - np.array([0, 0, 0, 0.01, 0, 0])
    result = evaluate(tmp_path, {}, train=[good, bad], test=[frame("Al", 3)])
    assert result["error"] is None
    errors = result["payload"]["errors"]
    assert set(errors) == {"train", "test"}
    assert errors["test"]["all"]["energy"]["rmse"] < 1e-9
    wrong = errors["train"]["config_types"]["wrong"]
    assert wrong["energy"]["max"] == pytest.approx(0.1)
    assert wrong["forces"]["rmse"] == pytest.approx(np.sqrt(0.14 / 12))
    assert wrong["stress"]["mae"] == pytest.approx(0.01 / 6)
    assert errors["train"]["config_types"]["rattled"]["forces"]["max"] < 1e-9
    assert errors["train"]["elements"]["Ni"]["forces"]["max"] == pytest.approx(0.3)
    assert result["payload"]["counts"]["train"] == {"frames": 2, "atoms": 8, "not_finite": 0}
    assert result["payload"]["shifts"] == {}
    assert {"load", "evaluate train", "evaluate test", "write", "total"} <= set(result["timings"])


def test_arrays_put_labels_and_predictions_side_by_side(tmp_path: Path) -> None:
    frames = [frame("Ni", 1), frame("Al", 2), Atoms("Cu2", [[0, 0, 0], [2.3, 0.2, 0]])]
    evaluate(tmp_path, {"batch_size": 2}, mixed=frames)
    with np.load(tmp_path / "predictions_mixed.npz", allow_pickle=False) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    assert data["num_atoms"].tolist() == [4, 4, 2]
    assert data["config_type"].tolist() == ["rattled", "rattled", "default"]
    assert data["energy_reference"].dtype == np.float64
    np.testing.assert_allclose(data["energy_predicted"][:2], data["energy_reference"][:2], atol=1e-9)
    assert np.isnan(data["energy_reference"][2])
    assert np.isfinite(data["energy_predicted"]).all()
    assert data["forces_predicted"].shape == (10, 3)
    np.testing.assert_allclose(data["forces_predicted"][:8], data["forces_reference"][:8], atol=1e-9)
    assert data["atom_frame"].tolist() == [0] * 4 + [1] * 4 + [2] * 2
    assert data["atom_numbers"].tolist() == [28, 29, 28, 28, 13, 29, 13, 13, 29, 29]
    np.testing.assert_allclose(data["stress_predicted"][:2], data["stress_reference"][:2], atol=1e-9)
    assert np.isnan(data["stress_predicted"][2]).all(), "a cluster has no stress"
    back = predictions_from(data)
    assert back.energies[2] == pytest.approx(2 * data["energy_predicted"][2])
    assert [len(forces) for forces in back.forces] == [4, 4, 2]


def test_frames_without_labels_get_labels(tmp_path: Path) -> None:
    """The way a replay set is labelled."""
    bare = frame("Pd", 5)
    bare.info = {CONFIG_TYPE: "replay", GROUP: "one", SOURCE: "uuid of something else"}
    del bare.arrays[FORCES]
    result = evaluate(tmp_path, {"labelled": True}, replay=[bare])
    assert result["payload"]["errors"]["replay"]["all"] == {"frames": 1}
    with (tmp_path / "labelled_replay.xyz").open() as handle:
        (labelled,) = read_extxyz(handle)
    expected = frame("Pd", 5)
    assert labelled.info[ENERGY] == pytest.approx(expected.info[ENERGY], abs=1e-9)
    np.testing.assert_allclose(labelled.arrays[FORCES], expected.arrays[FORCES], atol=1e-9)
    np.testing.assert_allclose(labelled.info[STRESS], expected.info[STRESS], atol=1e-9)
    assert (labelled.info[CONFIG_TYPE], labelled.info[GROUP]) == ("replay", "one")
    assert SOURCE not in labelled.info
    np.testing.assert_array_equal(labelled.positions, bare.positions)


def test_alignment_takes_off_one_energy_per_element(tmp_path: Path) -> None:
    """Labels of another zero of energy: Ni lower by 3 eV, Cu by 5 eV; Al is not in the set of the fit."""

    def moved(atoms: Atoms) -> Atoms:
        atoms.info[ENERGY] -= 3.0 * atoms.symbols.count("Ni") + 5.0 * atoms.symbols.count("Cu")
        return atoms

    mixed = moved(frame("Ni", 4))
    pure = frame("Ni", 6)
    pure.set_chemical_symbols(["Ni"] * 4)
    pure.calc = EMT()
    pure.info[ENERGY] = pure.get_potential_energy() - 12.0
    pure.calc = None
    other = moved(frame("Ni", 7))
    sets = {"fit": [mixed, pure], "test": [other], "foreign": [moved(frame("Al", 8))]}
    result = evaluate(tmp_path, {"align_on": "fit"}, **sets)
    payload = result["payload"]
    assert payload["shifts"] == pytest.approx({"Ni": 3.0, "Cu": 5.0})
    assert payload["errors"]["test"]["all"]["energy"]["max"] < 1e-9
    assert "energy" not in payload["errors"]["foreign"]["all"], "nothing is known of Al"
    assert "forces" in payload["errors"]["foreign"]["all"]
    with np.load(tmp_path / "predictions_test.npz") as arrays:
        difference = arrays["energy_predicted"] - arrays["energy_reference"]
        np.testing.assert_allclose(arrays["energy_shift"], difference, atol=1e-9)
        assert difference[0] == pytest.approx((3 * 3 + 5) / 4)


def test_forgetting_set_through_the_worker(tmp_path: Path) -> None:
    frames = forgetting_frames(EMT_MODEL["elements"])
    result = evaluate(tmp_path, {}, forgetting=frames)
    assert result["error"] is None
    with np.load(tmp_path / "predictions_forgetting.npz") as arrays:
        predictions = predictions_from(dict(arrays))
    assert drift(frames, predictions, predictions)["all"]["forces_rmse"] == 0


@pytest.mark.parametrize(
    ("settings", "sets", "message"),
    [
        ({}, {}, "there is no data set"),
        ({}, {"a": []}, "files['set_a'] has no frames"),
        ({"batch_size": 0}, {"a": [frame("Ni", 1)]}, "settings.batch_size = 0"),
        ({"batchsize": 4}, {"a": [frame("Ni", 1)]}, "settings.batchsize is not a known field"),
        ({"align_on": "b"}, {"a": [frame("Ni", 1)]}, "align_on = 'b' is not a data set"),
        ({"align_on": "a"}, {"a": [bulk("Ni")]}, "no frame of this set has an energy"),
        ({}, {"a": [bulk("W")]}, "Frame 0 (W) has W"),
        ({"head": "other"}, {"a": [bulk("Ni")]}, "head = 'other'"),
        ({"descriptors": True}, {"a": [bulk("Ni")]}, "descriptors = True"),
    ],
)
def test_wrong_input_is_refused_in_words(
    tmp_path: Path, settings: dict[str, Any], sets: dict[str, list[Atoms]], message: str
) -> None:
    result = evaluate(tmp_path, settings, **sets)
    assert result["error"]["kind"] == "input"
    assert message in result["error"]["message"]


def test_damaged_set_is_refused_in_words(tmp_path: Path) -> None:
    evaluate(tmp_path, {}, a=[frame("Ni", 1)])
    (tmp_path / "set_a.xyz").write_text("4\nbroken\n")
    run_job(tmp_path / "job.json")
    error = json.loads((tmp_path / "result.json").read_text())["error"]
    assert error["kind"] == "input"
    assert "files['set_a']: line" in error["message"]


def test_mace_model_with_descriptors(tmp_path: Path, foundation: Path) -> None:
    """A real, tiny MACE model: energies of the batch are those of mace's own calculator."""
    from mace.calculators import MACECalculator

    frames = [frame("Ni", 1), frame("Al", 2), frame("Ni", 3)]
    (tmp_path / "potential.model").write_bytes(foundation.read_bytes())
    with (tmp_path / "a.xyz").open("w") as handle:
        write_extxyz(frames, handle)
    files = {"potential": "potential.model", "set_a": "a.xyz"}
    settings = {"descriptors": True, "batch_size": 2}
    job = {"contract": 1, "task": "evaluate", "settings": settings, "files": files}
    (tmp_path / "job.json").write_text(json.dumps(job))
    run_job(tmp_path / "job.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["error"] is None
    with np.load(tmp_path / "predictions_a.npz") as arrays:
        calculator = MACECalculator(model_paths=str(tmp_path / "potential.model"), default_dtype="float64")
        for index, atoms in enumerate(frames):
            bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, calculator=calculator)
            assert arrays["energy_predicted"][index] * 4 == pytest.approx(bare.get_potential_energy(), abs=1e-8)
            np.testing.assert_allclose(arrays["stress_predicted"][index], bare.get_stress(), atol=1e-8)
        assert arrays["descriptors"].shape[0] == 3
        assert arrays["descriptors"].shape[1] > 1
