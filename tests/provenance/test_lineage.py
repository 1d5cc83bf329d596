"""Questions to the graph, answered on provenance built by hand."""

from __future__ import annotations

import pytest
from aiida import orm

from aiida_mlip.provenance.ancestry import ancestry
from aiida_mlip.provenance.condense import condense, plain, towards_ancestors
from aiida_mlip.provenance.lineage import (
    ancestors_of_type,
    label_calculations,
    origins,
    orphans,
    traced_frames,
    trained_from,
)
from aiida_mlip.provenance.summary import summary_lines


@pytest.fixture(scope="module")
def made(aiida_profile, graphs):
    labels = graphs.labels(5)
    first = graphs.finetuning(labels.dataset, graphs.potential("foundation").store(), "first")
    return labels, first


def test_a_potential_leads_down_to_every_label_calculation(made):
    labels, first = made
    graph = ancestry(first.potential)
    assert [row.pk for row in label_calculations(graph)] == sorted(job.pk for job in labels.jobs)
    assert {row.uuid for row in label_calculations(graph)} == {job.uuid for job in labels.jobs}
    assert [row.pk for row in ancestors_of_type(graph, "data.mlip.dataset.")] == sorted(
        node.pk for node in (labels.dataset, first.nodes["training"], first.nodes["validation"])
    )


def test_a_relaxation_that_only_gave_a_structure_is_no_label(aiida_profile, graphs):
    labels = graphs.labels(1)
    relax = graphs.start(orm.CalcJobNode, "PwCalculation", kind="aiida.calculations:quantumespresso.pw")
    structure = orm.StructureData(ase=graphs.tungsten(9, ""))
    graphs.end(relax, {"output_structure": structure})
    scf = graphs.start(
        orm.CalcJobNode, "PwCalculation", {"structure": structure}, kind="aiida.calculations:quantumespresso.pw"
    )
    output = orm.Dict({"energy": -1.0})
    graphs.end(scf, {"output_parameters": output})
    collect = graphs.start(orm.CalcFunctionNode, "merge", {"dataset": labels.dataset, "energies__pw_0": output})
    merged = graphs.DatasetData([graphs.tungsten(9, "bulk", scf.uuid)])
    graphs.end(collect, {"result": merged})
    graph = ancestry(merged)
    assert {row.pk for row in label_calculations(graph)} == {scf.pk, labels.jobs[0].pk}
    assert relax.pk in graph.rows


def test_a_workflow_stands_for_the_potential_it_returned(made):
    _, first = made
    assert ancestry(first.chain).roots == (first.potential.pk,)


def test_a_workflow_that_returned_nothing_stands_for_its_inputs(aiida_profile, graphs):
    foundation = graphs.potential("foundation").store()
    chain = graphs.start(orm.WorkChainNode, "FinetuneWorkChain", {"potential": foundation})
    assert ancestry(chain).roots == (foundation.pk,)


def test_the_chain_of_potentials_goes_back_to_the_foundation_model(made, graphs):
    labels, first = made
    second = graphs.finetuning(labels.dataset, first.potential, "second")
    chain = trained_from(ancestry(second.potential))
    assert [step.potential.label for step in chain] == ["second", "first", "foundation"]
    assert [step.job.pk if step.job else None for step in chain] == [second.train.pk, first.train.pk, None]
    assert chain[0].start is not None
    assert chain[0].start.pk == first.potential.pk
    assert dict(chain[1].training_sets)["training_set"].pk == first.nodes["training"].pk


def test_asking_for_the_chain_without_a_potential_says_so(made):
    labels, _ = made
    with pytest.raises(ValueError, match="no potential"):
        trained_from(ancestry(labels.dataset))


def test_nothing_but_declared_inputs_comes_from_nowhere(made):
    labels, first = made
    graph = ancestry(first.potential)
    given = {row.pk for row in origins(graph) if not row.is_settings}
    assert given == {labels.pseudo.pk, first.foundation.pk, *(structure.pk for structure in labels.structures)}
    assert orphans(graph) == ()


def test_settings_completed_inside_a_workflow_are_found_when_asked_for(made):
    labels, first = made
    found = orphans(ancestry(first.potential), settings=True)
    assert {row.pk for row in found} == {node.pk for node in labels.parameters}


def test_data_made_from_nothing_inside_a_workflow_is_an_orphan(made, graphs):
    labels, _ = made
    chain = graphs.start(orm.WorkChainNode, "FinetuneWorkChain", {"dataset": labels.dataset})
    invented = graphs.DatasetData([graphs.tungsten(77, "bulk")]).store()
    train = graphs.start(
        orm.CalcJobNode,
        "TrainCalculation",
        {"training_set": invented, "validation_set": labels.dataset},
        kind="aiida.calculations:mlip.train",
        caller=chain,
    )
    trained = graphs.potential("from-nowhere")
    graphs.end(train, {"potential": trained})
    assert [row.pk for row in orphans(ancestry(trained))] == [invented.pk]
    assert any("without history: DatasetData" in line for line in summary_lines(ancestry(trained)))


def test_frames_are_traced_to_label_nodes_of_this_database(made, graphs):
    labels, first = made
    assert traced_frames(labels.dataset) == (5, 5)
    assert traced_frames(first.nodes["training"]) == (4, 4)
    imported = graphs.DatasetData([graphs.tungsten(1, "bulk", "another-database"), graphs.tungsten(2, "bulk")]).store()
    assert traced_frames(imported) == (0, 2)


def test_alike_nodes_become_one_group_and_nothing_is_lost(made):
    labels, first = made
    graph = ancestry(first.potential)
    condensed = condense(graph)
    groups = {(group.title, group.created): group for group in condensed.groups}
    assert ("5 × PwCalculation", True) in groups
    assert ("5 × StructureData", False) in groups
    assert sum(len(group.rows) for group in condensed.groups) == len(graph.rows)
    assert len(condensed.groups) < 20
    assert {row.pk for row in groups["5 × PwCalculation", True].rows} == {job.pk for job in labels.jobs}


def test_the_training_and_the_validation_set_stay_apart(made):
    _, first = made
    titles = [group.title for group in condense(ancestry(first.potential)).groups]
    assert titles.count("DatasetData") == 3


def test_groups_come_after_what_was_made_from_them(made):
    _, first = made
    condensed = condense(ancestry(first.potential))
    assert condensed.groups[0].row.pk == first.potential.pk
    assert all(edge.target < edge.source for edge in condensed.edges)
    assert [group.index for group in condensed.groups] == list(range(len(condensed.groups)))


def test_the_order_of_nodes_respects_every_link(made):
    graph = ancestry(made[1].potential)
    place = {pk: i for i, pk in enumerate(towards_ancestors(graph))}
    assert len(place) == len(graph.rows)
    assert all(place[edge.target] < place[edge.source] for edge in graph.edges)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("structures__pw_012", "structures__pw"),
        ("training_set", "training_set"),
        ("12", "12"),
        ("c_1a2b3c4d5e", "c"),
        ("pw_0012__structure", "pw__structure"),
    ],
)
def test_counters_and_hashes_are_left_out_of_link_labels(label, expected):
    assert plain(label) == expected


def test_the_ancestry_of_many_labels_takes_few_queries(aiida_profile, graphs):
    """The number of queries grows with the depth of the graph, not with the number of its nodes."""
    from sqlalchemy import event

    def queries(number: int) -> int:
        dataset = graphs.labels(number).dataset
        engine = dataset.backend.get_session().get_bind()
        seen: list[str] = []

        def count(_conn, _cursor, statement, *_):
            seen.append(statement)

        event.listen(engine, "before_cursor_execute", count)
        try:
            ancestry(dataset)
        finally:
            event.remove(engine, "before_cursor_execute", count)
        return len(seen)

    assert queries(9) <= queries(3) + 2


def test_an_unstored_node_is_refused(aiida_profile, graphs):
    with pytest.raises(ValueError, match="not stored"):
        ancestry(graphs.potential("new"))
