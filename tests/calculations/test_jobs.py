"""What a calculation writes and uploads, without running it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import SandboxFolder
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.plugins import CalculationFactory

from aiida_mlip.calculations.checks.runtime import WORKER_FILE
from aiida_mlip.schema.job import CONTRACT, JOB_FILE, Job
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.worker import bundle


def prepare(name: str, inputs: dict[str, Any]) -> tuple[Job, CalcInfo, list[str]]:
    """Return the job file, what AiiDA is told to copy, and the files it is to upload besides."""
    process = instantiate_process(get_manager().get_runner(), CalculationFactory(name), **inputs)
    with SandboxFolder() as folder:
        info = process.prepare_for_submission(folder)
        text = Path(folder.abspath, JOB_FILE).read_text(encoding="utf-8")
        return Job(**json.loads(text)), info, sorted(folder.get_content_list())


def test_training_job(training: dict[str, Any]) -> None:
    job, info, uploaded = prepare("mlip.train", training)
    assert job.contract == CONTRACT
    assert job.settings == TrainSettings(**training["settings"]).model_dump(mode="json")
    assert job.files == {
        "train": "train.xyz",
        "valid": "valid.xyz",
        "test_held_out": "test_held_out.xyz",
        "potential": "foundation.model",
    }
    assert job.potential == training["potential"].info.model_dump(mode="json")
    assert job.time_limit is None
    assert uploaded == [JOB_FILE]
    copied = {target: node for node, _, target in info.local_copy_list}
    assert set(copied) == set(job.files.values())
    assert copied["train.xyz"] == training["training_set"].uuid
    assert copied["foundation.model"] == training["potential"].uuid
    assert "result.json" in info.retrieve_list
    assert "progress.jsonl" in info.retrieve_list
    assert info.retrieve_temporary_list == ["potential.model"]
    assert info.remote_copy_list == []


def test_no_path_of_this_machine_is_in_the_job(training: dict[str, Any], tmp_path: Path) -> None:
    job, _, _ = prepare("mlip.train", training)
    text = job.model_dump_json()
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text
    assert not any(Path(name).is_absolute() for name in job.files.values())


def test_the_worker_stops_itself_before_the_scheduler_would(training: dict[str, Any]) -> None:
    training["metadata"]["options"]["max_wallclock_seconds"] = 1000
    assert prepare("mlip.train", training)[0].time_limit == 900.0


def test_restart_copies_checkpoints(training: dict[str, Any], localhost: orm.Computer) -> None:
    training["restart_folder"] = orm.RemoteData(remote_path="/scratch/earlier", computer=localhost).store()
    job, info, uploaded = prepare("mlip.train", training)
    assert job.files["restart"] == "restart"
    assert info.remote_copy_list == [(localhost.uuid, "/scratch/earlier/checkpoints", "restart/")]
    assert "restart" in uploaded


def test_scratch_needs_no_potential(training: dict[str, Any]) -> None:
    training.pop("potential")
    training["settings"] |= {"strategy": {"kind": "scratch"}, "e0_policy": {"kind": "average"}}
    job, _, _ = prepare("mlip.train", training)
    assert job.potential is None
    assert "potential" not in job.files


def test_replay_set_is_uploaded(training: dict[str, Any]) -> None:
    training["replay_set"] = training["test_sets"].pop("held_out")
    training["settings"] |= {"strategy": {"kind": "replay"}, "loss": {"kind": "universal"}}
    assert prepare("mlip.train", training)[0].files["replay"] == "replay.xyz"


def test_evaluation_job(evaluation: dict[str, Any]) -> None:
    job, info, _ = prepare("mlip.evaluate", evaluation)
    assert job.files == {"potential": "potential.model", "set_alloys": "set_alloys.xyz"}
    assert job.settings["labelled"] is True
    assert [directive[0] for directive in info.retrieve_temporary_list] == ["predictions_*.npz", "labelled_*.xyz"]


def test_property_job(properties: dict[str, Any], localhost: orm.Computer) -> None:
    properties["restart_folder"] = orm.RemoteData(remote_path="/scratch/earlier", computer=localhost).store()
    job, info, _ = prepare("mlip.property", properties)
    assert job.settings["properties"]["copper"]["property"] == "eos"
    assert job.settings["properties"]["copper"]["points"] == 7
    assert info.remote_copy_list == [(localhost.uuid, "/scratch/earlier/partial.json", "restart/")]
    assert "partial.json" in info.retrieve_list


@pytest.mark.parametrize("name", ["mlip.train", "mlip.evaluate", "mlip.property"])
def test_one_process_without_mpi_is_the_default(name: str) -> None:
    options = CalculationFactory(name).spec().inputs["metadata"]["options"]
    assert options["resources"].default() == {"num_machines": 1, "num_mpiprocs_per_machine": 1}
    assert options["withmpi"].default is False
    assert options["parser_name"].default == name


def test_settings_are_stored_with_all_defaults(training: dict[str, Any]) -> None:
    given = dict(training["settings"])
    builder = CalculationFactory("mlip.train").get_builder()
    builder.settings = training["settings"]
    assert builder.settings.get_dict() == TrainSettings(**given).model_dump(mode="json")
    assert training["settings"] == given


def test_the_builder_refuses_wrong_settings_at_once() -> None:
    builder = CalculationFactory("mlip.property").get_builder()
    with pytest.raises(ValueError, match=r"settings\.batch_size is not a known field"):
        builder.settings = {"properties": {"eos": {"element": "Cu"}}, "batch_size": 2}


def test_the_worker_has_one_name() -> None:
    assert WORKER_FILE == bundle.WORKER_FILE
