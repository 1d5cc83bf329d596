"""``mlip.iterative_training`` run for real: tiny MACE members, ASE's EMT as the teacher, the worker on this machine.

Jobs with the same inputs come from AiiDA's cache, so that the tests share their first generation.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching

from aiida_mlip.calculations.label import LabelCalculation
from aiida_mlip.computers.defaults import job_options
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.iterative import History
from aiida_mlip.science.keys import SOURCE
from aiida_mlip.science.origin import origin_of
from aiida_mlip.workchains.iterative import IterativeTrainingWorkChain
from aiida_mlip.workchains.iterative_resume import steps_of

Launch = Callable[..., orm.WorkChainNode]

OVERRIDES: dict[str, Any] = {
    "settings": {
        "max_generations": 2,
        "conditions": [{"name": "t300", "stages": [{"steps": 20, "temperature": 300.0}]}],
        "augmentation": {"rattles": 7, "strains": 3, "volumes": [0.95, 1.05], "molecules": False},
        # Every frame is a candidate: the loop goes on to its last generation.
        "levels": {"kind": "absolute", "lower": 1e-9, "upper": 1e3},
        "label_budget": 40,
    },
    "training": {"max_epochs": 2, "learning_rate": 0.01, "dtype": "float64", "batch_size": 4},
    "md": {"stride": 4, "uncertainty_stride": 4},
    "selection": {"budget": 3},
}
BROKEN = {
    "training": ("training.train", 461),
    "evaluation": ("evaluation", 462),
    "uncertainty": ("uncertainty", 462),
    "dynamics": ("md.md", 463),
    "selection": ("selection", 464),
}


@pytest.fixture(autouse=True)
def _cached(aiida_profile) -> Iterator[None]:
    with enable_caching(identifier="aiida.calculations:mlip.*"):
        yield


@pytest.fixture
def teacher(aiida_profile) -> PotentialData:
    return calculator("EMT", "ase.calculators.emt:EMT")


def calculator(name: str, target: str) -> PotentialData:
    document = {"architecture": "ase", "calculator": target, "elements": ["Cu", "Ni"]}
    info = {"architecture": "ase", "elements": ["Cu", "Ni"], "r_max": 6.0, "dtype": "float64", "num_parameters": 0}
    return PotentialData(io.BytesIO(json.dumps(document).encode()), {**info, "name": name})


@pytest.fixture
def build(worker_code, localhost, tiny_potential, teacher, emt_frames) -> Callable[..., Any]:
    """A function that returns the inputs of a loop with changes on top."""

    def function(changes: dict[str, Any] | None = None, **inputs: Any) -> Any:
        overrides = {**OVERRIDES, **(changes or {})}
        overrides["settings"] = {**OVERRIDES["settings"], **overrides["settings"]}
        return IterativeTrainingWorkChain.get_builder_from_protocol(
            code=worker_code,
            potential=tiny_potential,
            structures=DatasetData(emt_frames(1, seed=40)),
            options=job_options(localhost),
            protocol="fast",
            overrides=overrides,
            **{"teacher": teacher, **inputs},
        )

    return function


def run(builder: Any) -> orm.WorkChainNode:
    return run_get_node(builder)[1]


def history(node: orm.WorkChainNode) -> History:
    return History(**node.outputs.history.get_dict())


@pytest.mark.slow
def test_every_frame_is_traced_to_its_label_and_to_the_dynamics_that_asked_for_it(build, teacher) -> None:
    node = run(build())
    assert node.exit_status == 705, node.exit_message
    past = history(node)
    assert [record.generation for record in past.generations] == [1, 2]
    first, second = past.generations
    assert set(first.errors) == {"member_00", "member_01", "committee"}
    assert first.labels["labelled"] == 3
    assert second.labels == {}, "labels of the last generation would be trained on by nobody"
    assert second.selection.selected == 3
    assert past.labels_used == past.start["asked"] + 3
    assert second.frames["training"] + second.frames["validation"] == len(node.outputs.training_set)
    steps = steps_of(node)
    trajectories = {data.uuid for data in steps["g01_md"].outputs.trajectories.values()}
    kinds = [origin_of(atoms).kind for atoms in node.outputs.training_set.frames()]
    assert set(kinds) == {"augmentation", "md"}
    asked = [atoms for atoms, kind in zip(node.outputs.training_set.frames(), kinds, strict=True) if kind == "md"]
    assert len(asked) == 3
    for atoms in asked:
        origin = origin_of(atoms)
        assert origin.trajectory in trajectories
        assert origin.generation == 1
        assert origin.max_forces_sigma > 0
        job = orm.load_node(atoms.info[SOURCE])
        assert job.process_class is LabelCalculation
        assert job.inputs.potential.uuid == teacher.uuid
    held, known = node.outputs.holdout.fingerprints(), node.outputs.training_set.fingerprints()
    assert held
    assert not set(held) & set(known)
    assert node.outputs.potential.uuid in {data.uuid for data in node.outputs.potentials.values()}


@pytest.mark.slow
def test_every_data_node_behind_the_potential_has_a_creator_or_was_given(build) -> None:
    node = run(build())
    query = orm.QueryBuilder().distinct()
    query.append(orm.Data, filters={"uuid": node.outputs.potential.uuid}, tag="potential")
    query.append(orm.Data, with_descendants="potential", project="*")
    orphans = [data for data in query.all(flat=True) if data.creator is None and not isinstance(data, orm.Code)]
    # Labels of earlier runs are used again: what those were given counts as well.
    runs = [found for found in orm.QueryBuilder().append(orm.ProcessNode).all(flat=True) if found.caller is None]
    given = {value.uuid for found in runs for value in found.base.links.get_incoming().all_nodes()}
    assert any(data.uuid in given for data in orphans)
    # What the database has already, and how long labelling took, are facts that no calculation made.
    facts = {link.node.uuid for job in orm.QueryBuilder().append(orm.CalcFunctionNode).all(flat=True)
             for link in job.base.links.get_incoming().all() if link.link_label in ("outcome", "indices")}  # fmt: skip
    assert {data.uuid for data in orphans} - facts <= given


@pytest.mark.slow
def test_a_run_is_extended_without_doing_anything_again(build, worker_code) -> None:
    first = run(build())
    overrides = {"settings": {"max_generations": 3}}
    builder = IterativeTrainingWorkChain.get_builder_from_protocol(
        code=worker_code, previous=first, overrides=overrides
    )
    second = run(builder)
    assert second.exit_status == 705, second.exit_message
    steps = steps_of(second)
    assert "label_start" not in steps
    assert not [label for label in steps if label.startswith("g01_")]
    assert [label for label in steps if label.startswith("g02_")] == [
        "g02_label_settings", "g02_label", "g02_extend_set", "g02_label_record",
    ]  # fmt: skip
    past = history(second)
    assert [record.generation for record in past.generations] == [1, 2, 3]
    assert past.generations[1].labels["labelled"] == 3
    assert past.labels_used == history(first).labels_used + 3
    assert len(second.outputs.training_set) == len(first.outputs.training_set) + 3
    assert second.outputs.holdout.uuid == first.outputs.holdout.uuid


@pytest.mark.slow
def test_a_run_that_was_killed_after_its_first_generation_goes_on(build, worker_code) -> None:
    killed = kill_after(build(), "g01_record")
    assert killed.is_killed
    builder = IterativeTrainingWorkChain.get_builder_from_protocol(code=worker_code, previous=killed)
    node = run(builder)
    assert node.exit_status == 705, node.exit_message
    steps = steps_of(node)
    assert "g01_label" in steps
    assert "g01_train_00" not in steps
    assert len(history(node).generations) == 2
    assert history(node).generations[0].labels["labelled"] == 3  # the killed run may have made them, or the next one


def kill_after(builder: Any, step: str) -> orm.WorkChainNode:
    """Run a work chain and kill it as soon as a step has ended."""
    runner = get_manager().get_runner()
    process = instantiate_process(runner, builder)

    async def watch() -> None:
        while step not in steps_of(process.node) and not process.has_terminated():
            await asyncio.sleep(0.05)
        process.kill("by a test")

    async def both() -> None:
        await asyncio.gather(process.step_until_terminated(), watch())

    runner.loop.run_until_complete(both())
    return process.node


@pytest.mark.slow
@pytest.mark.parametrize("what", BROKEN)
def test_a_step_that_fails_ends_the_run_with_everything_made_before(build, broken_code, what: str) -> None:
    path, status = BROKEN[what]
    builder = build()
    namespace = builder
    for name in path.split("."):
        namespace = namespace[name]
    namespace.code = broken_code
    node = run(builder)
    assert node.exit_status == status, node.exit_message
    assert "[3" in node.exit_message
    assert history(node).ended == "failed"
    assert len(node.outputs.training_set) >= 8
    assert "holdout" in node.outputs
    assert ("potential" in node.outputs) == (what != "training")


@pytest.mark.slow
def test_a_loop_that_nothing_surprises_has_converged(build) -> None:
    sure = {"settings": {"levels": {"kind": "absolute", "lower": 1e3, "upper": 1e4}}}
    node = run(build(sure))
    assert node.exit_status == 0, node.exit_message
    past = history(node)
    assert past.ended == "converged"
    assert len(past.generations) == 1
    assert past.generations[0].selection.accurate == past.generations[0].selection.frames


@pytest.mark.slow
def test_the_label_budget_is_never_exceeded(build) -> None:
    node = run(build({"settings": {"label_budget": 14, "max_generations": 5}}))
    assert node.exit_status == 706, node.exit_message
    past = history(node)
    assert past.labels_used == 14
    assert past.generations[0].labels["asked"] == 14 - past.start["asked"]


def test_a_first_set_without_labels_ends_the_run(build) -> None:
    node = run(build(teacher=calculator("not there", "nowhere.ase:Nothing")))
    assert node.exit_status == 460, node.exit_message
    assert "g01_sets" not in steps_of(node)


def test_a_first_set_too_small_to_be_held_out_ends_the_run_with_what_to_do(build) -> None:
    small = {"rattles": 1, "strains": 0, "volumes": [], "molecules": False}
    node = run(build({"settings": {"augmentation": small}}))
    assert node.exit_status == 201, node.exit_message
    assert "set would be empty" in node.exit_message


def test_the_entry_point_has_an_outline_that_reads_as_the_algorithm() -> None:
    description = str(IterativeTrainingWorkChain.spec().get_outline().get_description())
    found = re.findall(r"\b(label_start|label|train|measure|explore|select|record|finish)\(", description)
    assert found == ["label_start", "label", "train", "measure", "explore", "select", "record", "finish"]
