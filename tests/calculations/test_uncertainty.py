"""``mlip.uncertainty``: a real job with a committee, its cache, and what is refused before and by the worker."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import CalculationFactory
from ase import Atoms

from aiida_mlip.calculations.checks.uncertainty import check_members, check_uncertainty_sets
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.data.uncertainty import UncertaintyData
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.schema.uncertainty import UncertaintySettings
from aiida_mlip.science import keys

MEMBERS = ({"sigma": 2.24, "epsilon": 0.40}, {"sigma": 2.28, "epsilon": 0.47}, {"sigma": 2.20, "epsilon": 0.35})
"""Lennard-Jones parameters [Å, eV]."""


def member(parameters: dict[str, float], elements: tuple[str, ...] = ("Ni", "Cu")) -> PotentialData:
    document = {
        "architecture": "lj",
        "elements": elements,
        "parameters": {**parameters, "rc": 5.0, "smooth": True},
    }
    facts = {"architecture": "lj", "elements": elements, "r_max": 5.0, "dtype": "float64", "num_parameters": 0}
    return PotentialData(io.BytesIO(json.dumps(document).encode()), facts)


@pytest.fixture
def committee(runtime: dict[str, Any], emt_frames: Callable[..., list[Atoms]]) -> dict[str, Any]:
    """Three potentials, and labels of a fourth to calibrate on."""
    return {
        **runtime,
        "settings": {"method": {"kind": "deep"}},
        "potentials": {f"member_{index:02d}": member(values) for index, values in enumerate(MEMBERS)},
        "calibration_set": DatasetData(emt_frames(12, 3), level_of_theory="EMT"),
    }


def run(inputs: dict[str, Any]) -> tuple[dict[str, Any], orm.CalcJobNode]:
    outputs, node = run_get_node(CalculationFactory("mlip.uncertainty"), **inputs)
    return outputs, node


def test_a_committee_is_calibrated_and_comes_from_the_cache(committee: dict[str, Any]) -> None:
    outputs, node = run(committee)
    assert node.is_finished_ok, node.exit_message
    uncertainty, results, calibration = outputs["uncertainty"], outputs["results"], outputs["calibration"]
    sums = tuple(committee["potentials"][name].info.sha256 for name in sorted(committee["potentials"]))
    assert uncertainty.kind == results["kind"] == "deep"
    assert uncertainty.potentials_sha256 == sums
    assert uncertainty.header.forces_scale == results["forces"]["scale"]
    shifts = uncertainty.model().arrays["shifts"]
    assert shifts.sum(axis=0) == pytest.approx(0.0, abs=1e-10)  # members' offsets are from their mean
    assert calibration.get_array("forces_sigma").shape == (48,)
    largest = calibration.get_array("max_forces_sigma")
    assert results["median_max_forces_sigma"] == pytest.approx(np.median(largest))
    inside = np.mean(calibration.get_array("forces_error") <= calibration.get_array("forces_sigma"))
    assert results["forces"]["coverage_after"] == pytest.approx(inside)
    assert results["versions"]["ase"]
    with enable_caching():
        again, second = run(committee)
    assert second.base.caching.get_cache_source() == node.uuid
    assert again["uncertainty"].base.caching.compute_hash() == uncertainty.base.caching.compute_hash()


def test_what_the_worker_refuses_arrives(committee: dict[str, Any]) -> None:
    """Members that are one and the same disagree on nothing; only running them shows it."""
    same = member(MEMBERS[0])
    _, node = run({**committee, "potentials": {"member_00": same, "member_01": same}})
    assert node.exit_status == 321
    assert "all uncertainties are zero" in node.exit_message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"potentials": {"a": MEMBERS[0]}}, r"'deep' is the spread of several. Give at least two"),
        (
            {"settings": {"method": {"kind": "shallow"}}, "training_set": True},
            r"'shallow' is of one potential. Give that one only",
        ),
        (
            {"potentials": {"a": MEMBERS[0]}, "settings": {"method": {"kind": "last_layer_bayes"}}},
            r"(?s)needs the last layer of a MACE potential.*training_set = None: .* is fitted to it",
        ),
        ({"settings": {"method": {"kind": "deep"}, "head": "pbe"}}, r"settings.head = 'pbe': .*no such head"),
        ({"calibration_set": "bare"}, r"calibration_set = <.*>: no configuration has REF_forces"),
        ({"calibration_set": "aluminium"}, r"potentials.member_00 = .*: it lacks Al, which calibration_set contains"),
        ({"settings": {"method": {"kind": "gap"}}}, r"settings.method"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(
    committee: dict[str, Any], emt_frames: Callable[..., list[Atoms]], change: dict[str, Any], words: str
) -> None:
    if "potentials" in change:
        change["potentials"] = {name: member(values) for name, values in change["potentials"].items()}
    if "training_set" in change:
        change["training_set"] = DatasetData(emt_frames(3, 9))
    frames = emt_frames(3, 1)
    if change.get("calibration_set") == "bare":
        for atoms in frames:
            del atoms.arrays[keys.FORCES]
        change["calibration_set"] = DatasetData(frames)
    if change.get("calibration_set") == "aluminium":
        frames[0].symbols[0] = "Al"
        change["calibration_set"] = DatasetData(frames)
    with pytest.raises(ValueError, match=words):
        run({**committee, **change})


def info(elements: tuple[str, ...], architecture: str = "mace") -> PotentialInfo:
    return PotentialInfo(architecture=architecture, elements=elements, r_max=5, dtype="float64", num_parameters=1)


def test_members_of_different_elements_are_refused() -> None:
    found = list(check_members(UncertaintySettings(), {"a": info(("Cu", "Ni")), "b": info(("Cu",))}))
    assert len(found) == 1
    assert "potentials.b" in found[0]
    assert "it lacks Ni, which another member knows" in found[0]
    assert not list(check_members(UncertaintySettings(), {"a": info(("Cu",)), "b": info(("Cu",), "emt")}))


def test_sets_that_are_not_known_yet_are_not_missed() -> None:
    settings = UncertaintySettings(method={"kind": "shallow"})
    assert not list(check_uncertainty_sets(settings, None, None, complete=False))
    assert len(list(check_uncertainty_sets(settings, None, None, complete=True))) == 1


def test_labels_that_were_trained_on_do_not_calibrate(
    aiida_profile: Any, emt_frames: Callable[..., list[Atoms]]
) -> None:
    settings = UncertaintySettings(method={"kind": "shallow"})
    frames = emt_frames(4, 3)
    training, calibration = DatasetData(frames[:3]), DatasetData(frames[2:])
    (message,) = check_uncertainty_sets(settings, training, calibration, complete=True)
    assert "calibration_set" in message
    assert "1 of its configurations are in training_set too" in message
    assert not list(check_uncertainty_sets(settings, training, DatasetData(frames[3:]), complete=True))


def test_the_job_names_its_files(committee: dict[str, Any], emt_frames: Callable[..., list[Atoms]]) -> None:
    from aiida.common.folders import SandboxFolder
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    inputs = {**committee, "training_set": DatasetData(emt_frames(3, 9))}
    process = instantiate_process(get_manager().get_runner(), CalculationFactory("mlip.uncertainty"), **inputs)
    with SandboxFolder() as folder:
        process.prepare_for_submission(folder)
        with folder.open("job.json") as handle:
            job = json.load(handle)
    members = [f"member_{index:02d}" for index in range(3)]
    assert set(job["files"]) == {*(f"potential_{name}" for name in members), "training_set", "calibration_set"}
    assert list(job["potentials"]) == members
    assert job["potentials"]["member_01"]["architecture"] == "lj"


def test_the_node_refuses_other_files(aiida_profile: Any) -> None:
    with pytest.raises(ValueError, match="is not a file of uncertainties, or damaged"):
        UncertaintyData(io.BytesIO(b"PK\x03\x04 something else"))
    with pytest.raises(ValueError, match="does not exist"):
        UncertaintyData("/nonexistent/uncertainty.npz")
