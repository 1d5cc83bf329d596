"""What came from what: potentials, data sets and the calculations that made their labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiida import orm
from aiida.common.links import LinkType
from aiida.tools.graph.graph_traversers import traverse_graph

from aiida_mlip.provenance.ancestry import Ancestry, Row, ancestry
from aiida_mlip.science import keys

POTENTIAL = "data.mlip.potential."
DATASET = "data.mlip.dataset."
TRAIN = "aiida.calculations:mlip.train"

GEOMETRIES = (
    "aiida.calculations:mlip.md", "aiida.calculations:mlip.select", "aiida.calculations:mlip.uncertainty",
)  # fmt: skip
"""Process types of ours that make configurations, or choose them: the labels of what they were given are not those of
what they made."""

NOT_LABELS = (TRAIN, *GEOMETRIES, "aiida.calculations:mlip.property")
"""Process types of ours whose outputs are configurations or potentials, never labels."""


def ancestors_of_type(graph: Ancestry, prefix: str) -> tuple[Row, ...]:
    """Return the ancestors whose node type or process type starts with ``prefix``, oldest first.

    :param prefix: e.g. ``data.mlip.dataset.`` or ``aiida.calculations:quantumespresso.pw``.
    """
    found = (row for row in graph.rows.values() if row.node_type.startswith(prefix) or _is(row, prefix))
    return tuple(sorted(found, key=lambda row: row.pk))


def label_calculations(graph: Ancestry, start: int | None = None) -> tuple[Row, ...]:
    """Return the jobs whose outputs the labels of a data set were read from, oldest first.

    These are the first jobs met on the way back from the data set through calcfunctions; what those jobs were made
    from in turn (the relaxation that gave a structure, say) is further ancestry and not a label. Asked for a
    potential, it goes back to the data sets the potential was trained on, and theirs in turn. Where a configuration
    came from dynamics, it does not go on to the labels of the potential that drove it, unless asked for the dynamics.

    :param start: pk to start from; None: the roots of ``graph``.
    """
    found: dict[int, Row] = {}
    seen: set[int] = set()
    asked = set(graph.roots) if start is None else {start}
    todo = list(asked)
    while todo:
        pk = todo.pop()
        if pk in seen:
            continue
        seen.add(pk)
        row = graph.rows[pk]
        if row.is_job and not any(_is(row, kind) for kind in NOT_LABELS) and pk not in graph.roots:
            found[pk] = row
            continue
        creator = graph.creator(pk)
        if creator is None or pk in asked or not any(_is(creator, kind) for kind in GEOMETRIES):
            todo.extend(edge.source for edge in graph.parents.get(pk, ()))
    return tuple(sorted(found.values(), key=lambda row: row.pk))


@dataclass(frozen=True)
class Training:
    """One step in the history of a potential: the job, what it started from and what it made."""

    potential: Row
    job: Row | None
    start: Row | None
    training_sets: tuple[tuple[str, Row], ...] = ()


def trained_from(graph: Ancestry, potential: int | None = None) -> tuple[Training, ...]:
    """Return the chain of trainings from ``potential`` back to the one that was given, newest first.

    The last entry has no job: it is the foundation model, or a potential trained from scratch has ``start`` None.

    :param potential: pk; None: the newest potential of the ancestry.
    :raises ValueError: if there is no potential.
    """
    known = ancestors_of_type(graph, POTENTIAL)
    if not known:
        raise ValueError("there is no potential in this ancestry: give the pk of a potential or of its training")
    row: Row | None = graph.rows[potential] if potential is not None else known[-1]
    chain: list[Training] = []
    while row is not None:
        job = graph.creator(row.pk)
        inputs = graph.inputs(job.pk) if job else ()
        starts = [node for label, node in inputs if node.node_type.startswith(POTENTIAL) and label == "potential"]
        sets = tuple((label, node) for label, node in inputs if node.node_type.startswith(DATASET))
        chain.append(Training(row, job, starts[0] if starts else None, sets))
        row = starts[0] if starts else None
    return tuple(chain)


def origins(graph: Ancestry) -> tuple[Row, ...]:
    """Return the data nodes of the ancestry that nothing created: all that was given from outside."""
    return tuple(row for pk, row in sorted(graph.rows.items()) if not row.is_process and graph.creator(pk) is None)


def orphans(graph: Ancestry, *, settings: bool = False) -> tuple[Row, ...]:
    """Return the data that appeared from nowhere: not created, and not an input that a user declared.

    Declared are the inputs of processes that no other process called: what a person submitted. Data that a workflow
    makes on the way without a calculation is an orphan, since nothing says where its content came from.

    :param settings: also count numbers, texts, lists and dictionaries; workflows of other packages often complete
        their input dictionaries on the way.
    """
    loose = [row for row in origins(graph) if not row.is_code and (settings or not row.is_settings)]
    if not loose:
        return ()
    declared = declared_inputs(row.pk for row in graph.rows.values() if row.is_process)
    return tuple(row for row in loose if row.pk not in declared and row.pk not in graph.roots)


def declared_inputs(processes: Iterable[int]) -> set[int]:
    """Return the pks of the inputs of the top-level processes that the given ones are, or were called by."""
    pks = set(processes)
    if not pks:
        return set()
    calls = (LinkType.CALL_CALC, LinkType.CALL_WORK)
    family = traverse_graph(pks, get_links=True, links_backward=calls)
    called = {link.target_id for link in family["links"] if link.link_type in {kind.value for kind in calls}}
    top = set(family["nodes"]) - called
    query = orm.QueryBuilder()
    query.append(orm.ProcessNode, filters={"id": {"in": sorted(top)}}, tag="process")
    query.append(orm.Data, with_outgoing="process", project="id")
    return set(query.all(flat=True))


def label_nodes_of_frames(dataset: orm.Data) -> dict[str, int]:
    """Return uuid of the label node -> number of frames; the empty text counts frames without one."""
    counts: dict[str, int] = {}
    for atoms in dataset.frames():
        source = str(atoms.info.get(keys.SOURCE, ""))
        counts[source] = counts.get(source, 0) + 1
    return counts


def traced_frames(dataset: orm.Data, graph: Ancestry | None = None) -> tuple[int, int]:
    """Return how many frames name a label node that is really in the data set's ancestry, and how many there are."""
    graph = graph or ancestry(dataset)
    known = {row.uuid for row in graph.rows.values()}
    counts = label_nodes_of_frames(dataset)
    return sum(number for source, number in counts.items() if source in known), sum(counts.values())


def _is(row: Row, prefix: str) -> bool:
    """Return whether the process type is ``prefix`` or below it (``mlip.train`` is not ``mlip.train.base``)."""
    return row.process_type == prefix or (row.process_type.startswith(prefix) and row.is_job)
