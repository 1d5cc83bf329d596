"""Parsers: outputs of finished tasks, and an exit code with a reason and a remedy for everything else."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from ase import Atoms

from aiida_mlip.calculations.base import EXIT_CODES
from aiida_mlip.calculations.evaluate import EvaluateCalculation
from aiida_mlip.calculations.train import TrainCalculation
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.errors import ErrorKind
from aiida_mlip.science import keys
from aiida_mlip.science.datasets.canonical import write_extxyz

Parse = Callable[..., tuple[dict[str, Any], Any]]
MODEL = b"PK\x03\x04 a stand-in for a trained model: nothing here loads it"


@pytest.fixture
def training(emt_frames: Callable[..., list[Atoms]]) -> dict[str, Any]:
    """Inputs of a training that its parser looks at."""
    return {"training_set": DatasetData(emt_frames(2), level_of_theory="EMT")}


@pytest.fixture
def evaluation(emt_frames: Callable[..., list[Atoms]], tiny_potential: PotentialData) -> dict[str, Any]:
    return {
        "settings": orm.Dict({"labelled": True}),
        "potential": tiny_potential,
        "datasets__alloys": DatasetData(emt_frames(2, 3)),
    }


def trained(document: dict[str, Any]) -> dict[str, Any]:
    """Return the result with the checksum of the stand-in."""
    document["payload"]["potential"]["sha256"] = hashlib.sha256(MODEL).hexdigest()
    return document


def failed(document: dict[str, Any], kind: ErrorKind, **details: Any) -> dict[str, Any]:
    """Return the result as a failing task would write it."""
    error = {"kind": kind, "message": "This happened.", "remedy": "Do that.", "details": details}
    return {**document, "error": error, "payload": {}}


def arrays(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)
    return buffer.getvalue()


def extxyz(frames: list[Atoms]) -> bytes:
    text = io.StringIO()
    write_extxyz(frames, text)
    return text.getvalue().encode()


def test_training(parse: Parse, result: Callable[[str], dict], training: dict[str, Any]) -> None:
    document = trained(result("train"))
    outputs, node = parse("train", training, {"result.json": document}, {"potential.model": MODEL})
    assert node.is_finished_ok, node.exit_message
    potential = outputs["potential"]
    assert potential.info.level_of_theory == "EMT"
    assert potential.info.e0s["Default"]["Ni"] == document["payload"]["e0s"]["Default"]["Ni"]
    history = {name: array.tolist() for name, array in outputs["history"].get_iterarrays()}
    assert history["epoch"] == [0, 1]
    assert history["valid_loss"] == document["payload"]["history"]["valid"]["Default"]["loss"]
    assert {"train_loss", "seconds", "valid_rmse_energy", "valid_rmse_forces", "valid_rmse_stress"} <= set(history)
    results = outputs["results"].get_dict()
    assert results["errors"]["held"]["all"]["energy"]["n"] == 2
    assert results["initial"]["Default"]["loss"] == document["payload"]["history"]["initial"]["Default"]["loss"]
    assert results["epochs"] == {"first": 0, "last": 1}
    assert results["versions"]["mace-torch"] == "0.3.16"
    assert results["timings"]["total"] == document["timings"]["total"]
    assert "history" not in results


def test_heads_have_arrays_of_their_own(parse: Parse, result: Callable[[str], dict], training: dict[str, Any]) -> None:
    document = trained(result("train"))
    document["payload"]["history"]["valid"]["pt_head"] = {"loss": [2.0, None]}
    outputs, _ = parse("train", training, {"result.json": document}, {"potential.model": MODEL})
    np.testing.assert_array_equal(outputs["history"].get_array("valid_pt_head_loss"), [2.0, np.nan])


def test_numbers_that_the_database_cannot_hold(
    parse: Parse, result: Callable[[str], dict], training: dict[str, Any]
) -> None:
    document = trained(result("train"))
    document["payload"]["errors"]["held"]["all"]["energy"]["rmse"] = float("nan")
    outputs, node = parse("train", training, {"result.json": document}, {"potential.model": MODEL})
    assert node.is_finished_ok
    assert outputs["results"].store()["errors"]["held"]["all"]["energy"]["rmse"] is None


def test_evaluation(
    parse: Parse, result: Callable[[str], dict], evaluation: dict[str, Any], emt_frames: Callable[..., list[Atoms]]
) -> None:
    large = {
        "predictions_alloys.npz": arrays(energy=np.array([1.0, np.nan]), forces=np.arange(24.0).reshape(8, 3)),
        "labelled_alloys.xyz": extxyz(emt_frames(2, 3)),
    }
    outputs, node = parse("evaluate", evaluation, {"result.json": result("evaluate")}, large)
    assert node.is_finished_ok, node.exit_message
    assert outputs["results"]["errors"]["alloys"]["all"]["frames"] == 2
    np.testing.assert_array_equal(outputs["predictions"]["alloys"].get_array("energy"), [1.0, np.nan])
    labelled = outputs["labelled"]["alloys"]
    assert labelled.labels[keys.FORCES] == 2
    assert labelled.level_of_theory == "mace potential tiny"


def test_labels_are_not_kept_where_nobody_asked(
    parse: Parse, result: Callable[[str], dict], evaluation: dict[str, Any]
) -> None:
    evaluation["settings"] = orm.Dict({"labelled": False})
    large = {"predictions_alloys.npz": arrays(energy=np.zeros(2))}
    outputs, node = parse("evaluate", evaluation, {"result.json": result("evaluate")}, large)
    assert node.is_finished_ok, node.exit_message
    assert "labelled" not in outputs


def test_properties(parse: Parse, result: Callable[[str], dict], emt_frames: Callable[..., list[Atoms]]) -> None:
    large = {"structures_eos.xyz": extxyz(emt_frames(1))}
    outputs, node = parse("property", {}, {"result.json": result("property")}, large)
    assert node.is_finished_ok, node.exit_message
    assert outputs["results"]["properties"]["eos"]["quantities"][1]["unit"] == "GPa"
    assert outputs["results"]["failed"] == {}
    assert len(outputs["structures"]["eos"]) == 1


KINDS = {
    ErrorKind.INPUT: 321,
    ErrorKind.CONTRACT: 310,
    ErrorKind.BACKEND_IMPORT: 330,
    ErrorKind.DEVICE: 331,
    ErrorKind.OUT_OF_MEMORY: 340,
    ErrorKind.WALLTIME: 401,
    ErrorKind.DIVERGED: 430,
    ErrorKind.STRATEGY: 440,
    ErrorKind.EXCEPTION: 320,
}


@pytest.mark.parametrize(
    ("kind", "task"),
    [*((kind, "train") for kind in ErrorKind), (ErrorKind.WALLTIME, "evaluate"), (ErrorKind.WALLTIME, "property")],
)
def test_every_failure_has_its_exit_code(
    kind: ErrorKind, task: str, parse: Parse, result: Callable[[str], dict]
) -> None:
    _, node = parse(task, {}, {"result.json": failed(result(task), kind)})
    assert node.exit_status == KINDS[kind]
    assert "This happened. Do that." in node.exit_message


def test_running_out_of_time_keeps_what_there_is(
    parse: Parse, result: Callable[[str], dict], training: dict[str, Any]
) -> None:
    document = result("train")
    partial = {"history": document["payload"]["history"], "warnings": ["a warning"]}
    document = {**failed(document, ErrorKind.WALLTIME, checkpoint=True, last_epoch=1), "payload": partial}
    outputs, node = parse("train", training, {"result.json": document})
    assert node.exit_status == 400
    assert outputs["history"].get_array("epoch").tolist() == [0, 1]
    assert outputs["results"]["epochs"]["last"] == 1
    assert outputs["results"]["warnings"] == ["a warning"]
    assert "potential" not in outputs


def test_properties_that_are_done_are_a_checkpoint(parse: Parse, result: Callable[[str], dict]) -> None:
    document = failed(result("property"), ErrorKind.WALLTIME)
    document["payload"] = result("property")["payload"]
    outputs, node = parse("property", {}, {"result.json": document, "partial.json": "{}"})
    assert node.exit_status == 400
    assert "eos" in outputs["results"]["properties"]


def test_a_task_of_a_failed_start_may_be_unknown(parse: Parse, result: Callable[[str], dict]) -> None:
    """A worker that cannot even read its job names the wrong task; the reason still arrives."""
    document = {**failed(result("train"), ErrorKind.BACKEND_IMPORT), "task": "evaluate"}
    _, node = parse("train", {}, {"result.json": document})
    assert node.exit_status == 330


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        (lambda d: d.update(contract=99), 310, "aiida-mlip setup"),
        (lambda d: d.pop("contract"), 310, "contract = None"),
        (lambda d: d.update(task="evaluate"), 310, "result.task = 'evaluate'"),
        (lambda d: d.update(task="dance"), 301, "result.task = 'dance'"),
        (lambda d: d.update(remarks=[]), 301, "result.remarks is not a known field"),
        (lambda d: d["payload"].pop("potential"), 301, "result.payload.potential is required"),
        (lambda d: d["payload"]["potential"].pop("r_max"), 301, "result.payload.potential.r_max is required"),
        (lambda d: d["payload"]["potential"].update(sha256="0" * 64), 302, "damaged on the way. Submit again"),
    ],
)
def test_results_that_cannot_be_used(
    *,
    change: Callable[[dict], Any],
    status: int,
    said: str,
    parse: Parse,
    result: Callable[[str], dict],
    training: dict[str, Any],
) -> None:
    document = trained(result("train"))
    change(document)
    _, node = parse("train", training, {"result.json": document}, {"potential.model": MODEL})
    assert node.exit_status == status
    assert said in node.exit_message


@pytest.mark.parametrize(
    ("text", "said"), [('{"contract": 1, "ta', "cut short"), ("[]", "not a JSON object"), ("", "cut short")]
)
def test_unreadable_results(text: str, said: str, parse: Parse) -> None:
    _, node = parse("train", {}, {"result.json": text})
    assert node.exit_status == 301
    assert said in node.exit_message


def test_missing_model(parse: Parse, result: Callable[[str], dict], training: dict[str, Any]) -> None:
    outputs, node = parse("train", training, {"result.json": trained(result("train"))})
    assert node.exit_status == 302
    assert "potential.model was not retrieved" in node.exit_message
    assert outputs["history"].get_array("epoch").tolist() == [0, 1]


@pytest.mark.parametrize(
    "large",
    [
        {},
        {"predictions_alloys.npz": b"PK\x03\x04 cut"},
        {"predictions_alloys.npz": arrays(energy=np.zeros(2)), "labelled_alloys.xyz": b"4\nProperties=species:S:1"},
    ],
)
def test_missing_or_damaged_predictions(
    large: dict[str, bytes], parse: Parse, result: Callable[[str], dict], evaluation: dict[str, Any]
) -> None:
    _, node = parse("evaluate", evaluation, {"result.json": result("evaluate")}, large)
    assert node.exit_status == 302
    assert "Submit again" in node.exit_message


TRACEBACK = """Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/scratch/a/b/mlip-worker.pyz/__main__.py", line 3, in <module>
{last}
"""

WITHOUT_RESULT = [
    ("worker.out", TRACEBACK.format(last="ModuleNotFoundError: No module named 'numpy'"), 330, "prepend_text"),
    ("worker.out", TRACEBACK.format(last="RuntimeError: something"), 320, "RuntimeError: something"),
    ("worker.out", TRACEBACK.format(last="MemoryError"), 340, "smaller batch_size"),
    ("worker.out", "/usr/bin/env: ‘python3’: No such file or directory", 330, "Python >= 3.11"),
    ("_scheduler-stderr.txt", "bash: line 3: python3: command not found", 330, "Python >= 3.11"),
    ("_scheduler-stderr.txt", "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.", 340, "more memory"),
    ("_scheduler-stderr.txt", "slurmstepd: error: Detected 1 oom-kill event(s) in step 7.batch", 340, "more memory"),
    ("_scheduler-stderr.txt", "_aiidasubmit.sh: line 9:  412 Killed  './mlip-worker.pyz' 'job.json'", 340, "Signal 9"),
    ("_scheduler-stderr.txt", "slurmstepd: error: *** JOB 7 CANCELLED DUE TO TIME LIMIT ***", 401, "max_wallclock"),
    ("_scheduler-stderr.txt", "slurmstepd: error: *** JOB 7 CANCELLED DUE TO NODE FAILURE ***", 140, "node"),
    ("_scheduler-stderr.txt", "line 9: 412 Segmentation fault (core dumped) './mlip-worker.pyz'", 320, "torch"),
    ("_scheduler-stderr.txt", "./mlip-worker.pyz: Permission denied", 330, "another work_dir"),
    ("worker.out", "OSError: [Errno 28] No space left on device", 320, "Make space"),
    ("worker.out", "loading the model\n\n", 300, "its last words were: loading the model"),
    ("worker.out", "", 300, "it printed nothing"),
]


@pytest.mark.parametrize(("name", "text", "status", "said"), WITHOUT_RESULT)
def test_jobs_without_a_result_say_why(name: str, text: str, status: int, said: str, parse: Parse) -> None:
    _, node = parse("train", {}, {name: text})
    assert node.exit_status == status
    assert said in node.exit_message


def test_what_the_scheduler_found_out_is_kept(parse: Parse) -> None:
    """No exit code of the parser: AiiDA then keeps that of the scheduler's plugin."""
    _, node = parse("train", {}, {"worker.out": "Killed"}, status=110)
    assert node.exit_status == 0


def test_a_complete_result_wins_over_the_scheduler(
    parse: Parse, result: Callable[[str], dict], training: dict[str, Any]
) -> None:
    outputs, node = parse(
        "train", training, {"result.json": trained(result("train"))}, {"potential.model": MODEL}, status=120
    )
    assert node.is_finished_ok
    assert "potential" in outputs


def test_every_exit_code_is_triggered_here() -> None:
    triggered = {*KINDS.values(), 400, *(status for _, _, status, _ in WITHOUT_RESULT), 301, 302, 310}
    assert {code.status for code in EXIT_CODES} <= triggered


def test_exit_codes_are_the_same_everywhere() -> None:
    for process in (TrainCalculation, EvaluateCalculation):
        for code in EXIT_CODES:
            known = process.exit_codes[code.label]
            assert (known.status, known.invalidates_cache) == (code.status, code.invalidates_cache)
            assert "{message}" in known.message


def test_stored_results_are_json(result: Callable[[str], dict]) -> None:
    for task in ("train", "evaluate", "property"):
        assert json.loads(json.dumps(result(task)))["contract"] == 1
