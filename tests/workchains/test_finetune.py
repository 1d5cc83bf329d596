"""``mlip.finetune`` run for real: a tiny MACE model, EMT labels, the worker on this machine.

Jobs with the same inputs come from AiiDA's cache, so that the tests share their baselines and trainings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching

from aiida_mlip.computers.defaults import job_options
from aiida_mlip.science import keys

TRAINING = {"max_epochs": 2, "learning_rate": 0.01, "dtype": "float64", "batch_size": 4}


@pytest.fixture(autouse=True)
def _cached(aiida_profile) -> Iterator[None]:
    with enable_caching(identifier="aiida.calculations:mlip.*"):
        yield


@pytest.fixture
def dataset(aiida_profile, emt_frames):
    from aiida_mlip.data.dataset import DatasetData

    return DatasetData(emt_frames(30, seed=11), level_of_theory="EMT").store()


@pytest.fixture
def launch(worker_code, localhost, tiny_potential, dataset):
    """A function that runs a fine-tuning with changed inputs and returns its node."""
    from aiida_mlip.workchains.finetune import FinetuneWorkChain

    stored = tiny_potential.store()

    def function(overrides: dict[str, Any] | None = None, data: Any = None, **inputs: Any) -> orm.WorkChainNode:
        changes = {"training": TRAINING, "accept": {"max_ratio": {"energy": 1e6, "forces": 1e6, "stress": 1e6}}}
        changes |= overrides or {}
        changes["training"] = TRAINING | changes["training"]
        builder = FinetuneWorkChain.get_builder_from_protocol(
            code=worker_code,
            potential=stored,
            dataset=data or dataset,
            options=job_options(localhost),
            protocol="fast",
            overrides=changes,
        )
        for path, value in inputs.items():
            *namespaces, name = path.split("__")
            target = builder
            for namespace in namespaces:
                target = target[namespace]
            target[name] = value
        return run_get_node(builder)[1]

    return function


@pytest.fixture
def code_that_works_once(localhost, worker_zipapp: Path, tmp_path: Path) -> orm.PortableCode:
    """A worker whose second job fails: the first leaves a file behind that stops it."""
    from aiida_mlip.computers.codes import worker_prepend_text
    from aiida_mlip.computers.local import local_worker

    marker = tmp_path / "marker"
    return orm.PortableCode(
        label="mlip-worker-once",
        computer=localhost,
        filepath_executable=worker_zipapp.name,
        filepath_files=str(worker_zipapp.parent),
        prepend_text=f"{worker_prepend_text(local_worker(1), 1)}\n[ -e {marker} ] && exit 1\ntouch {marker}",
    ).store()


@pytest.mark.slow
def test_a_fine_tuning_returns_potential_sets_audits_and_summary(launch, dataset) -> None:
    node = launch({"properties": {"elastic": {"element": "Cu", "structure": "fcc"}}})
    assert node.exit_status == 0, node.exit_message
    summary = node.outputs.summary.get_dict()
    assert summary["best"] == "member_00"
    assert node.outputs.potential.uuid == node.outputs.potentials.member_00.uuid
    assert sum(len(part) for part in node.outputs.sets.values()) == len(dataset)
    rows = {(row["config_type"], row["quantity"]): row for row in summary["errors"]["test"]}
    assert rows["all", "forces"]["after"] != rows["all", "forces"]["before"]
    assert {"rattled", "strained"} <= {name for name, _ in rows}
    assert summary["properties"]["baseline"]["elastic"]["quantities"]
    assert summary["forgetting"]["member_00"]["all"]["forces_rmse"] > 0
    links = {link.link_label for link in node.base.links.get_outgoing().all()}
    wanted = {"split", "audit", "baseline_evaluation", "baseline_properties", "audit_against_baseline", "train_00"}
    assert wanted | {"evaluation_00", "properties_00", "summarize", "forgetting_set"} <= links


@pytest.mark.slow
def test_every_data_node_behind_the_potential_has_a_creator_or_was_given(launch, dataset) -> None:
    node = launch()
    given = {value.uuid for value in node.base.links.get_incoming().all_nodes()}
    query = orm.QueryBuilder()
    query.append(orm.Data, filters={"uuid": node.outputs.potential.uuid}, tag="potential")
    query.append(orm.Data, with_descendants="potential", project="*")
    orphans = [data for data in query.all(flat=True) if data.creator is None and not isinstance(data, orm.Code)]
    assert {data.uuid for data in orphans} <= given
    assert dataset.uuid in {data.uuid for data in orphans}


@pytest.mark.slow
def test_energies_before_are_compared_after_a_shift_and_energies_after_are_not(launch) -> None:
    node = launch()
    called = {link.link_label: link.node for link in node.base.links.get_outgoing().all()}
    assert set(called["baseline_evaluation"].outputs.results["shifts"]) == {"Cu", "Ni"}
    assert called["evaluation_00"].outputs.results["shifts"] == {}


@pytest.mark.slow
def test_a_committee_has_members_that_differ(launch) -> None:
    node = launch({"committee": {"size": 2, "vary": ["seed", "bootstrap", "hyperparameters"]}})
    assert node.exit_status == 0, node.exit_message
    members = node.outputs.potentials
    assert set(members.keys()) == {"member_00", "member_01"}
    assert members.member_00.info.sha256 != members.member_01.info.sha256
    trained = [members[name].creator.inputs for name in ("member_00", "member_01")]
    assert [inputs.settings["seed"] for inputs in trained] == [1, 2]
    assert [inputs.settings["learning_rate"] for inputs in trained] == [0.01, 0.005]
    assert trained[0].training_set.uuid != trained[1].training_set.uuid


@pytest.mark.slow
def test_replay_is_chosen_and_labelled_in_the_graph(launch) -> None:
    node = launch({"training": {"strategy": {"kind": "replay"}}, "replay": {"num_frames": 12, "seed": 5}})
    assert node.exit_status == 0, node.exit_message
    replay = node.outputs.potential.creator.inputs.replay_set
    assert len(replay) == 12
    assert replay.labels[keys.FORCES] == 12
    assert replay.creator.process_label == "EvaluateCalculation"
    assert node.outputs.potential.info.head in node.outputs.potential.info.heads
    assert len(node.outputs.potential.info.heads) == 2


@pytest.mark.slow
def test_errors_in_the_data_end_a_strict_run_and_not_a_lenient_one(launch, emt_frames) -> None:
    from aiida_mlip.data.dataset import DatasetData

    frames = emt_frames(30, seed=11)
    frames[4].arrays[keys.FORCES] = frames[4].arrays[keys.FORCES] + 3.0
    data = DatasetData(frames).store()
    node = launch(data=data)
    assert node.exit_status == 201
    assert "force" in node.exit_message
    assert "train_00" not in {link.link_label for link in node.base.links.get_outgoing().all()}
    assert any(finding["severity"] == "error" for finding in node.outputs.audits.data["findings"])
    assert launch({"audit": {"strict": False}}, data=data).exit_status == 0


def test_sets_that_cannot_be_trained_on_end_it_before_anything_is_spent(launch, emt_frames) -> None:
    from aiida_mlip.data.dataset import DatasetData

    frames = emt_frames(30, seed=12)
    for atoms in frames:
        atoms.arrays[keys.FORCES] *= 0.0
    node = launch({"audit": {"strict": False}}, data=DatasetData(frames).store())
    assert node.exit_status == 202
    assert "forces are 0" in node.exit_message
    assert not [child for child in node.called if isinstance(child, orm.CalcJobNode)]


def test_a_data_set_that_cannot_be_split_ends_it_with_what_to_do(launch, emt_frames) -> None:
    from aiida_mlip.data.dataset import DatasetData

    frames = emt_frames(12, seed=13)
    for atoms in frames:
        atoms.info[keys.GROUP] = "one trajectory"
    node = launch({"audit": {"strict": False}}, data=DatasetData(frames).store())
    assert node.exit_status == 202
    assert "the valid set would be empty" in node.exit_message
    assert "by_group" in node.exit_message


@pytest.mark.slow
def test_a_potential_worse_than_its_baseline_is_returned_with_a_warning(launch) -> None:
    tiny = {"energy": 1e-9, "forces": 1e-9, "stress": 1e-9}
    node = launch({"accept": {"max_ratio": tiny, "floor": tiny}})
    assert node.exit_status == 700
    assert "forces" in node.exit_message
    assert "potential" in node.outputs


@pytest.mark.slow
def test_more_forgotten_than_accepted_is_a_warning(launch) -> None:
    ratio = {"energy": 1e6, "forces": 1e6, "stress": 1e6}
    node = launch({"accept": {"max_ratio": ratio, "max_forgotten_forces": 1e-9}})
    assert node.exit_status == 701
    assert "eV/angstrom" in node.exit_message


@pytest.mark.slow
def test_a_baseline_that_cannot_be_evaluated(launch, broken_code) -> None:
    node = launch(evaluation__code=broken_code)
    assert node.exit_status == 450
    assert "EvaluateCalculation" in node.exit_message


@pytest.mark.slow
def test_a_replay_set_that_cannot_be_labelled(launch, broken_code) -> None:
    overrides = {"training": {"strategy": {"kind": "replay"}}, "replay": {"num_frames": 5}}
    assert launch(overrides, evaluation__code=broken_code).exit_status == 451


@pytest.mark.slow
def test_a_training_that_fails(launch, broken_code) -> None:
    node = launch(training__train__code=broken_code)
    assert node.exit_status == 452
    assert "member_00" in node.exit_message


@pytest.mark.slow
def test_a_trained_potential_that_cannot_be_evaluated(launch, code_that_works_once) -> None:
    assert launch(evaluation__code=code_that_works_once).exit_status == 453


@pytest.mark.slow
def test_properties_that_fail_are_a_warning(launch, broken_code) -> None:
    node = launch({"properties": {"elastic": {"element": "Cu", "structure": "fcc"}}}, properties__code=broken_code)
    assert node.exit_status == 702
    assert "potential" in node.outputs


@pytest.mark.slow
def test_an_own_split_is_used_as_it_is(worker_code, localhost, tiny_potential, emt_frames) -> None:
    from aiida_mlip.data.dataset import DatasetData
    from aiida_mlip.workchains.finetune import FinetuneWorkChain

    sizes = {"training": 16, "validation": 5, "test": 6}
    sets = {name: DatasetData(emt_frames(size, seed=20 + size)).store() for name, size in sizes.items()}
    builder = FinetuneWorkChain.get_builder_from_protocol(
        code=worker_code,
        potential=tiny_potential.store(),
        sets=sets,
        options=job_options(localhost),
        protocol="fast",
        overrides={"training": TRAINING, "measure_forgetting": False, "audit": {"strict": False}},
    )
    node = run_get_node(builder)[1]
    assert node.exit_status in (0, 700), node.exit_message
    assert node.outputs.potential.creator.inputs.training_set.uuid == sets["training"].uuid
    assert np.isclose(node.outputs.summary["errors"]["test"][0]["frames"], 6)


def test_the_entry_point_has_an_outline_that_reads_as_the_algorithm() -> None:
    from aiida_mlip.workchains.finetune import FinetuneWorkChain

    description = str(FinetuneWorkChain.spec().get_outline().get_description())
    found = re.findall(r"\b(audit|split|measure_baseline|train|measure_members|summarize|judge)\(", description)
    assert list(dict.fromkeys(found)) == [
        "audit",
        "split",
        "measure_baseline",
        "train",
        "measure_members",
        "summarize",
        "judge",
    ]
