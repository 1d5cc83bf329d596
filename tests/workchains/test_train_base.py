"""mlip.train.base: what each handler does, with finished jobs that are made by hand.

The same with real jobs is in ``test_train_base_runs.py``.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.orm.nodes.process.process import ProcessState
from aiida.orm.utils.serialize import deserialize_unsafe, serialize
from ase import Atoms

from aiida_mlip.calculations import train_settings
from aiida_mlip.calculations.train import TrainCalculation
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.training import EarlyStopping, TrainSettings
from aiida_mlip.workchains.early_stopping import should_stop, slices_without_improvement
from aiida_mlip.workchains.train_base import TrainBaseWorkChain

SETTINGS = {
    "strategy": {"kind": "naive"},
    "learning_rate": 1e-2,
    "e0_policy": {"kind": "estimated"},
    "max_epochs": 10,
    "batch_size": 4,
}
TRAINING_LINE = '{"time": 1.0, "stage": "train", "step": 0, "total": 10}'


@pytest.fixture
def start(
    worker_code: orm.PortableCode,
    localhost: orm.Computer,
    tiny_potential: PotentialData,
    emt_frames: Callable[..., list[Atoms]],
) -> Callable[..., TrainBaseWorkChain]:
    """A function that returns a work chain before its first job; keywords change the settings."""

    def run(**changes: Any) -> TrainBaseWorkChain:
        inputs = {
            "code": worker_code,
            "metadata": {"computer": localhost},
            "settings": {**SETTINGS, **changes},
            "potential": tiny_potential,
            "training_set": DatasetData(emt_frames(6, 0)),
            "validation_set": DatasetData(emt_frames(2, 1)),
        }
        chain = instantiate_process(get_manager().get_runner(), TrainBaseWorkChain, train=inputs)
        chain.setup()
        chain.start_slice()
        return chain

    return run


@pytest.fixture
def finish(localhost: orm.Computer) -> Callable[..., orm.CalcJobNode]:
    """A function that gives a work chain a finished job; ``epochs``: how many it has done since the beginning."""

    def run(
        chain: TrainBaseWorkChain, label: str = "", *, epochs: int = 0, losses: Any = None, trained: bool = True
    ) -> orm.CalcJobNode:
        settings = chain.ctx.inputs.settings
        node = orm.CalcJobNode(computer=localhost, process_type="aiida.calculations:mlip.train")
        node.base.links.add_incoming(
            settings if settings.is_stored else settings.store(), LinkType.INPUT_CALC, "settings"
        )
        node.set_process_state(ProcessState.FINISHED)
        code = TrainCalculation.exit_codes[label].format(message="the reason") if label else None
        node.set_exit_status(code.status if code else 0)
        node.set_exit_message(code.message if code else None)
        node.store()
        give(node, "remote_folder", orm.RemoteData(remote_path=f"/scratch/{node.pk}", computer=localhost))
        retrieved = orm.FolderData()
        if trained:
            retrieved.base.repository.put_object_from_filelike(io.BytesIO(TRAINING_LINE.encode()), "progress.jsonl")
        give(node, "retrieved", retrieved)
        if epochs:
            known = {"epochs": {"first": 0, "last": epochs - 1}, "timings": {"total": 2.5}, "chosen_epoch": 0}
            give(node, "results", orm.Dict(known))
            history = orm.ArrayData()
            history.set_array("valid_loss", np.array(losses if losses is not None else np.geomspace(1, 0.1, epochs)))
            give(node, "history", history)
        chain.ctx.iteration += 1
        chain.ctx.children.append(node)
        chain.ctx.jobs.append(node)
        return node

    return run


def give(node: orm.CalcJobNode, label: str, data: orm.Data) -> None:
    data.base.links.add_incoming(node, LinkType.CREATE, label)
    data.store()


def reports(chain: TrainBaseWorkChain) -> str:
    return "\n".join(entry.message for entry in orm.Log.collection.get_logs_for(chain.node))


def test_out_of_time_goes_on_from_the_checkpoint(start: Any, finish: Any) -> None:
    chain = start()
    node = finish(chain, "ERROR_WALLTIME_WITH_CHECKPOINT", epochs=3)
    assert chain.inspect_process().status == 0
    assert chain.should_run_process()
    assert chain.ctx.inputs.restart_folder.uuid == node.outputs.remote_folder.uuid
    assert chain.ctx.inputs.settings["max_epochs"] == 10
    assert "out of time after epoch 2; going on from the checkpoint" in reports(chain)


def test_epochs_have_to_increase(start: Any, finish: Any) -> None:
    chain = start()
    finish(chain, "ERROR_WALLTIME_WITH_CHECKPOINT", epochs=3)
    assert chain.inspect_process().status == 0
    finish(chain, "ERROR_WALLTIME_WITH_CHECKPOINT", epochs=4)
    assert chain.inspect_process().status == 0
    finish(chain, "ERROR_WALLTIME_WITH_CHECKPOINT", epochs=4)
    code = chain.inspect_process()
    assert code == chain.exit_codes.ERROR_NO_PROGRESS.format(message=code.message.split("last restart: ")[1])
    assert "the reason" in code.message


def test_a_job_that_the_scheduler_ended_is_continued_once(start: Any, finish: Any) -> None:
    """It left no result, so nobody knows how far it came."""
    chain = start()
    finish(chain, "ERROR_SCHEDULER_OUT_OF_WALLTIME")
    assert chain.inspect_process().status == 0
    assert "restart_folder" in chain.ctx.inputs
    finish(chain, "ERROR_SCHEDULER_OUT_OF_WALLTIME")
    assert chain.inspect_process().status == 452


def test_time_for_no_epoch_ends_it(start: Any, finish: Any) -> None:
    chain = start()
    finish(chain, "ERROR_WALLTIME_WITHOUT_CHECKPOINT")
    code = chain.inspect_process()
    assert code.status == 452
    assert "Not even one epoch fits into the time" in code.message


@pytest.mark.parametrize("label", ["ERROR_OUT_OF_MEMORY", "ERROR_SCHEDULER_OUT_OF_MEMORY"])
def test_out_of_memory_halves_the_batch(label: str, start: Any, finish: Any) -> None:
    chain = start()
    finish(chain, label)
    assert chain.inspect_process().status == 0
    settings = chain.ctx.inputs.settings
    assert (settings["batch_size"], settings["valid_batch_size"]) == (2, 4)
    assert settings.creator.process_label == "with_smaller_batch"
    assert "mace does not accumulate gradients" in reports(chain)


def test_a_batch_of_one_cannot_be_halved(start: Any, finish: Any) -> None:
    chain = start(batch_size=1, valid_batch_size=1)
    finish(chain, "ERROR_OUT_OF_MEMORY")
    assert chain.inspect_process().status == 453


def test_divergence_starts_again_with_a_lower_learning_rate_once(start: Any, finish: Any) -> None:
    chain = start()
    finish(chain, "ERROR_WALLTIME_WITH_CHECKPOINT", epochs=3)
    chain.inspect_process()
    assert "restart_folder" in chain.ctx.inputs
    finish(chain, "ERROR_TRAINING_DIVERGED", epochs=4)
    assert chain.inspect_process().status == 0
    settings = chain.ctx.inputs.settings
    assert settings["learning_rate"] == pytest.approx(1e-3)
    assert settings.creator.process_label == "with_lower_learning_rate"
    assert "restart_folder" not in chain.ctx.inputs
    finish(chain, "ERROR_TRAINING_DIVERGED", epochs=1)
    code = chain.inspect_process()
    assert code.status == 454
    assert "diverged again with a lower learning rate" in code.message


@pytest.mark.parametrize(
    "label", ["ERROR_NO_RESULT", "ERROR_SCHEDULER_NODE_FAILURE", "ERROR_UNREADABLE_RESULT", "ERROR_MISSING_FILE"]
)
def test_a_lost_job_is_submitted_again_once(label: str, start: Any, finish: Any) -> None:
    chain = start()
    node = finish(chain, label)
    assert chain.inspect_process().status == 0
    assert chain.ctx.inputs.restart_folder.uuid == node.outputs.remote_folder.uuid
    finish(chain, label)
    assert chain.inspect_process().status == 455


def test_a_job_that_never_trained_has_no_checkpoints(start: Any, finish: Any) -> None:
    """Its folder may lack even those that it was to go on from, so the earlier folder is kept."""
    chain = start()
    first = finish(chain, "ERROR_WALLTIME_WITH_CHECKPOINT", epochs=2)
    chain.inspect_process()
    finish(chain, "ERROR_NO_RESULT", trained=False)
    chain.inspect_process()
    assert chain.ctx.inputs.restart_folder.uuid == first.outputs.remote_folder.uuid


@pytest.mark.parametrize(
    "label",
    ["ERROR_REFUSED_INPUT", "ERROR_WORKER_EXCEPTION", "ERROR_BACKEND_IMPORT", "ERROR_STRATEGY_NOT_APPLIED"],
)
def test_what_a_restart_does_not_repair_ends_it_with_the_reason(label: str, start: Any, finish: Any) -> None:
    chain = start()
    finish(chain, label)
    code = chain.inspect_process()
    assert code.status == 450
    assert "the reason" in code.message


def test_a_finished_job_ends_it(start: Any, finish: Any) -> None:
    chain = start()
    finish(chain, epochs=10)
    assert chain.inspect_process() is None
    assert not chain.should_run_process()
    chain.inspect_slice()
    assert not chain.should_run_slice()


def test_outputs_of_one_job_pass_through(start: Any, finish: Any) -> None:
    chain = start()
    node = finish(chain, epochs=10)
    outputs = chain.get_outputs(node)
    assert outputs["results"].uuid == node.outputs.results.uuid
    assert outputs["history"].uuid == node.outputs.history.uuid


def test_results_cover_the_chain(start: Any, finish: Any) -> None:
    chain = start()
    finish(chain, "ERROR_WALLTIME_WITH_CHECKPOINT", epochs=3)
    chain.inspect_process()
    finish(chain, "ERROR_OUT_OF_MEMORY")
    chain.inspect_process()
    results = chain.get_outputs(finish(chain, epochs=10))["results"]
    assert results.creator.process_label == "chain_results"
    assert [job["epochs"].get("last") for job in results["chain"]] == [2, 9]
    assert results["timings"]["total"] == 5.0
    assert results["changed"]["batch_size"] == {"asked": 4, "used": 2}
    assert any("does not accumulate gradients" in warning for warning in results["warnings"])


def test_epochs_are_trained_in_slices(start: Any, finish: Any) -> None:
    chain = start(early_stopping={"slice_epochs": 4, "patience": 1})
    assert chain.ctx.inputs.settings["max_epochs"] == 4
    node = finish(chain, epochs=4)
    assert chain.inspect_process() is None
    chain.inspect_slice()
    assert chain.should_run_slice()
    chain.start_slice()
    assert chain.should_run_process()
    assert chain.ctx.inputs.settings["max_epochs"] == 8
    assert chain.ctx.inputs.settings.creator.process_label == "next_slice"
    assert chain.ctx.inputs.restart_folder.uuid == node.outputs.remote_folder.uuid
    finish(chain, epochs=8)
    chain.inspect_process()
    chain.inspect_slice()
    chain.start_slice()
    assert chain.ctx.inputs.settings["max_epochs"] == 10
    finish(chain, epochs=10)
    chain.inspect_process()
    chain.inspect_slice()
    assert not chain.should_run_slice()


def test_slices_end_where_nothing_improves(start: Any, finish: Any) -> None:
    chain = start(early_stopping={"slice_epochs": 2, "patience": 1})
    finish(chain, epochs=4, losses=[1.0, 0.5, 0.7, 0.6])
    chain.inspect_process()
    chain.inspect_slice()
    assert not chain.should_run_slice()
    assert "early stopping" in reports(chain)


def test_repairs_last_over_slices(start: Any, finish: Any) -> None:
    chain = start(early_stopping={"slice_epochs": 4, "patience": 1})
    finish(chain, "ERROR_OUT_OF_MEMORY")
    chain.inspect_process()
    finish(chain, epochs=4)
    chain.inspect_process()
    chain.inspect_slice()
    chain.start_slice()
    assert chain.ctx.inputs.settings["batch_size"] == 2
    assert chain.ctx.inputs.settings["max_epochs"] == 8


def test_the_daemon_can_save_and_load_it_between_two_jobs(start: Any, finish: Any) -> None:
    chain = start(early_stopping={"slice_epochs": 4, "patience": 1})
    for data in (chain.ctx.inputs.potential, chain.ctx.inputs.training_set, chain.ctx.inputs.validation_set):
        data.store()
    node = finish(chain, "ERROR_WALLTIME_WITH_CHECKPOINT", epochs=3)
    chain.inspect_process()
    loaded = deserialize_unsafe(serialize(chain.ctx))
    assert loaded.inputs.restart_folder.uuid == node.outputs.remote_folder.uuid
    assert [job.uuid for job in loaded.jobs] == [node.uuid]
    assert loaded.inputs.metadata.computer.uuid == node.computer.uuid


def test_wrong_inputs_are_refused_before_anything_starts(start: Any) -> None:
    with pytest.raises(ValueError, match=r"settings\.batch_size = 9: .* Use at most 6"):
        start(batch_size=9)


@pytest.mark.parametrize(
    ("losses", "options", "waited"),
    [
        ([5, 4, 3, 2, 1], {"slice_epochs": 1, "patience": 1}, 0),
        ([5, 4, 4, 3, 3, 3], {"slice_epochs": 1, "patience": 1}, 2),
        ([5, 1, 4, 3, 2, 2], {"slice_epochs": 2, "patience": 1}, 2),
        ([5, 1, 4, 0.9], {"slice_epochs": 2, "patience": 1}, 0),
        ([1.0, 0.995, 0.9], {"slice_epochs": 1, "patience": 1, "min_delta": 0.01}, 0),
        ([1.0, 0.995, 0.992], {"slice_epochs": 1, "patience": 1, "min_delta": 0.01}, 2),
        ([1.0], {"slice_epochs": 3, "patience": 1}, 0),
    ],
)
def test_slices_without_improvement(losses: list[float], options: dict[str, Any], waited: int) -> None:
    typed = EarlyStopping(**options)
    assert slices_without_improvement(losses, typed) == waited
    assert should_stop(losses, typed) is (waited >= typed.patience)


def test_small_improvements_add_up() -> None:
    """Each is measured against the best that counted, so a slow descent is not taken for a standstill for ever."""
    losses = [1.0, 0.994, 0.988]
    assert slices_without_improvement(losses, EarlyStopping(slice_epochs=1, patience=2, min_delta=0.01)) == 0


@pytest.mark.usefixtures("aiida_profile")
def test_settings_functions_keep_everything_else() -> None:
    full = TrainSettings(**SETTINGS, early_stopping={"slice_epochs": 3, "patience": 2}).model_dump(mode="json")
    asked = orm.Dict(full)
    for changed, names in (
        (train_settings.first_slice(asked), {"max_epochs"}),
        (train_settings.with_smaller_batch(asked), {"batch_size", "valid_batch_size"}),
        (train_settings.with_lower_learning_rate(asked), {"learning_rate"}),
    ):
        assert {name for name, value in full.items() if changed[name] != value} == names
        TrainSettings(**changed.get_dict())
