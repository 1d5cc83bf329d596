"""Reports and lineage of fine-tunings that really ran: a tiny MACE model, EMT labels, the worker on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_mlip.provenance.ancestry import ancestry
from aiida_mlip.provenance.lineage import label_calculations, orphans, trained_from
from aiida_mlip.provenance.status import state_of
from aiida_mlip.report import key_figure
from aiida_mlip.report.page import render
from aiida_mlip.report.pages import PAGES

BROKEN = "This section could not be made"
LIMITS = {"energy": 1e6, "forces": 1e6, "stress": 1e6}


@pytest.fixture
def launch(worker_code, localhost, tiny_potential, emt_frames):
    """A function that runs a fine-tuning with changed settings and returns its node."""
    from aiida_mlip.computers.defaults import job_options
    from aiida_mlip.data.dataset import DatasetData
    from aiida_mlip.workchains.finetune import FinetuneWorkChain

    def function(training: dict[str, Any], **overrides: Any) -> orm.WorkChainNode:
        builder = FinetuneWorkChain.get_builder_from_protocol(
            code=worker_code,
            potential=tiny_potential.store(),
            dataset=DatasetData(emt_frames(30, seed=11), level_of_theory="EMT").store(),
            options=job_options(localhost),
            protocol="fast",
            overrides={
                "training": {"max_epochs": 2, "dtype": "float64", "learning_rate": 0.01, **training},
                "accept": {"max_ratio": LIMITS},
                **overrides,
            },
        )
        return run_get_node(builder)[1]

    return function


@pytest.mark.slow
def test_the_report_of_a_real_replay_committee_has_every_section(launch, tmp_path):
    node = launch(
        {"strategy": {"kind": "replay"}},
        committee={"size": 2},
        replay={"num_frames": 12},
        properties={name: {"element": "Cu", "structure": "fcc"} for name in ("eos", "elastic")},
    )
    assert node.exit_status == 0, node.exit_message
    page = render(node)
    assert BROKEN not in page
    assert [name for name in PAGES["mlip.finetune"].sections if f'<section id="{name}">' not in page] == []
    assert key_figure(node, tmp_path / "errors.png").stat().st_size > 10_000
    for child in node.called:
        if child.process_type and child.process_type.partition(":")[2] in PAGES:
            assert BROKEN not in render(child)
    check_lineage(node)


def check_lineage(node: orm.WorkChainNode) -> None:
    """Check the ancestry of what came out: nothing from nowhere, and the chain down to the foundation model."""
    graph = ancestry(node)
    assert orphans(graph) == ()
    assert {row.class_name for row in orphans(graph, settings=True)} <= {"Int"}  # the numbers of the members
    chain = trained_from(graph, node.outputs.potential.pk)  # the newest of a committee may be another member
    assert [step.potential.uuid for step in chain] == [node.outputs.potential.uuid, node.inputs.potential.uuid]
    assert {row.class_name for row in label_calculations(graph)} == {"EvaluateCalculation"}
    steps = {part.step for part in state_of(node).walk()}
    assert {"train_00", "train_01", "label_replay", "baseline_evaluation", "evaluation_01"} <= steps


@pytest.mark.slow
def test_the_report_of_a_training_that_diverged_shows_the_job_that_failed(launch):
    node = launch({"learning_rate": 0.9, "max_epochs": 30, "divergence_factor": 1.001, "clip_grad": 1e6})
    diverged = [job for job in node.called_descendants if job.exit_status == 430]
    assert diverged
    page = render(node)
    assert BROKEN not in page
    assert "exit code 430" in page
    assert BROKEN not in render(diverged[0])
    assert "Lower the learning rate" in render(diverged[0])
