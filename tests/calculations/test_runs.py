"""Real jobs on this machine: from inputs to outputs, and from the cache the second time."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import CalculationFactory
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.science import keys


def run(name: str, inputs: dict[str, Any]) -> tuple[dict[str, Any], orm.CalcJobNode]:
    outputs, node = run_get_node(CalculationFactory(name), **inputs)
    return outputs, node


def test_properties_with_emt_and_from_the_cache(properties: dict[str, Any], emt_potential: PotentialData) -> None:
    outputs, node = run("mlip.property", properties)
    assert node.is_finished_ok, node.exit_message
    result = outputs["results"]["properties"]["copper"]["result"]
    assert result["lattice_constant"] == pytest.approx(3.59, abs=0.01)  # the EMT value of ASE's own tests
    assert outputs["results"]["versions"]["ase"]
    same = PotentialData(
        io.BytesIO(b'{"architecture": "emt", "elements": ["Ni", "Cu"]}'),
        {**emt_potential.info.model_dump(), "name": "other"},
    )
    with enable_caching():
        again, second = run("mlip.property", {**properties, "potential": same})
    assert second.base.caching.get_cache_source() == node.uuid
    assert again["results"].get_dict() == outputs["results"].get_dict()
    with enable_caching():
        changed = {"properties": {"copper": {"property": "eos", "element": "Cu", "structure": "fcc", "points": 9}}}
        _, third = run("mlip.property", {**properties, "settings": changed})
    assert third.base.caching.get_cache_source() is None


def test_evaluation_with_emt(
    evaluation: dict[str, Any], emt_potential: PotentialData, emt_frames: Callable[..., list[Atoms]]
) -> None:
    """EMT judged on its own labels: forces and stresses agree, and energies differ by 4 eV/atom, as in the fixture."""
    outputs, node = run("mlip.evaluate", {**evaluation, "potential": emt_potential})
    assert node.is_finished_ok, node.exit_message
    errors = outputs["results"]["errors"]["alloys"]["all"]
    assert errors["forces"]["rmse"] < 1e-8
    assert errors["stress"]["rmse"] < 1e-8
    assert errors["energy"]["mae"] == pytest.approx(4.0, abs=1e-8)
    labelled = list(outputs["labelled"]["alloys"].frames())
    for atoms, original in zip(labelled, emt_frames(3, 4), strict=True):
        original.calc = EMT()
        np.testing.assert_allclose(atoms.arrays[keys.FORCES], original.get_forces(), atol=1e-8)
        np.testing.assert_allclose(atoms.info[keys.STRESS], original.get_stress(), atol=1e-8)
    assert outputs["predictions"]["alloys"].get_arraynames()


def test_a_refusal_of_the_worker_arrives(properties: dict[str, Any], localhost: orm.Computer) -> None:
    """What only the file itself can tell: here the model is of another architecture than its description says."""
    known = {**properties["potential"].info.model_dump(), "sha256": ""}
    wrong = PotentialData(io.BytesIO(b'{"architecture": "lj", "elements": ["Ni", "Cu"]}'), known)
    _, node = run("mlip.property", {**properties, "potential": wrong})
    assert node.exit_status == 321
    assert node.exit_message.startswith("The worker refused its input: ")


def test_an_environment_without_python_is_said(properties: dict[str, Any]) -> None:
    properties["metadata"]["options"]["prepend_text"] = "export PATH=/nonexistent"
    _, node = run("mlip.property", properties)
    assert node.exit_status == 330
    assert "prepend_text" in node.exit_message


def test_training_and_from_the_cache(training: dict[str, Any], emt_frames: Callable[..., list[Atoms]]) -> None:
    outputs, node = run("mlip.train", training)
    assert node.is_finished_ok, node.exit_message
    potential, results, history = outputs["potential"], outputs["results"], outputs["history"]
    assert potential.elements == ("Al", "Ni", "Cu")
    assert potential.info.level_of_theory == "EMT"
    assert potential.info.sha256 != training["potential"].info.sha256
    assert history.get_array("epoch").tolist() == [0, 1]
    losses = history.get_array("valid_loss")
    assert losses[results["chosen_epoch"]] == losses.min()
    assert set(results["errors"]) == {"train", "valid", "held_out"}
    assert all(check["ok"] for check in results["proof"])
    sourced = emt_frames(6, 0)
    for atoms in sourced:
        atoms.info[keys.SOURCE] = "another calculation"
    with enable_caching():
        again, second = run("mlip.train", {**training, "training_set": DatasetData(sourced)})
    assert second.base.caching.get_cache_source() == node.uuid
    assert again["potential"].info == potential.info


def test_labels_travel_from_potential_to_training(evaluation: dict[str, Any], emt_potential: PotentialData) -> None:
    """A set without labels comes back with them, ready to be trained on."""
    bare = bulk("Ni", "fcc", a=3.6, cubic=True)
    bare.rattle(0.1, seed=3)
    inputs = {**evaluation, "potential": emt_potential, "datasets": {"replay": DatasetData([bare])}}
    outputs, node = run("mlip.evaluate", inputs)
    assert node.is_finished_ok, node.exit_message
    labelled = outputs["labelled"]["replay"]
    assert labelled.labels == {keys.ENERGY: 1, keys.FORCES: 1, keys.STRESS: 1}
    assert labelled.level_of_theory == "emt potential EMT"
