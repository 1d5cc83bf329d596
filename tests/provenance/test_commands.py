"""`aiida-mlip lineage` and `aiida-mlip status` as a user calls them."""

from __future__ import annotations

import json

import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_mlip.cli import main


@pytest.fixture(scope="module")
def made(aiida_profile, graphs):
    labels = graphs.labels(3)
    return labels, graphs.finetuning(labels.dataset, graphs.potential("foundation").store(), "mine")


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_lineage_prints_the_tree_down_to_the_label_calculations(made):
    result = run("lineage", made[1].chain.pk)
    assert result.exit_code == 0, result.output
    assert "3 × PwCalculation" in result.output
    assert "labels: 3 × PwCalculation (pw.x 6.7)" in result.output
    assert f"trained from: mine ({made[1].potential.pk}) ← foundation ({made[1].foundation.pk})" in result.output
    assert "without history" not in result.output


def test_a_potential_that_was_given_was_trained_from_nothing_here(made):
    output = run("lineage", made[1].foundation.pk).output
    assert f"potential: foundation ({made[1].foundation.pk})" in output
    assert "trained from" not in output


def test_full_lists_every_uuid(made):
    labels, first = made
    result = run("lineage", first.potential.uuid, "--full")
    assert all(job.uuid in result.output for job in labels.jobs)
    assert labels.jobs[0].uuid not in run("lineage", first.potential.uuid).output


def test_json_holds_every_node_and_link(made):
    labels, first = made
    document = json.loads(run("lineage", first.potential.pk, "--json").output)
    assert set(document["label_calculations"]) == {job.uuid for job in labels.jobs}
    known = {node["uuid"] for node in document["nodes"]}
    assert {uuid for link in document["links"] for uuid in (link["from"], link["to"])} <= known
    assert document["orphans"] == []


def test_the_graph_is_written(made, tmp_path):
    path = tmp_path / "lineage.svg"
    assert run("lineage", made[1].potential.pk, "--graph", path).exit_code == 0
    assert "PwCalculation" in path.read_text()


def test_a_wrong_suffix_ends_with_one_clear_line(made, tmp_path):
    result = run("lineage", made[1].potential.pk, "--graph", tmp_path / "lineage.bmp")
    assert result.exit_code == 1
    assert ".bmp" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["lineage", "status"])
def test_an_unknown_node_is_refused_with_the_way_out(aiida_profile, command):
    result = run(command, 999999999)
    assert result.exit_code == 1
    assert "no such node" in result.output
    assert "verdi process list" in result.output


def test_status_of_data_points_to_lineage(made):
    result = run("status", made[1].potential.pk)
    assert result.exit_code == 1
    assert "not a process" in result.output


def test_status_shows_one_process_with_its_steps(made):
    result = run("status", made[1].chain.pk)
    assert result.exit_code == 0, result.output
    assert "FinetuneWorkChain" in result.output
    assert "train_00" in result.output


def test_status_without_a_process_lists_what_runs_and_what_ended(made, graphs):
    node = graphs.start(orm.WorkChainNode, "FinetuneWorkChain", kind="aiida.workflows:mlip.finetune")
    result = run("status")
    graphs.end(node)
    running, _, ended = result.output.partition("ended recently")
    assert f"FinetuneWorkChain {node.pk}" in running
    assert f"FinetuneWorkChain {made[1].chain.pk}" in ended
