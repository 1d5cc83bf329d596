"""The data provenance of one node, read from the database in a few queries and kept as plain rows.

A path in the graph is data -> calculation -> data; workflows are not on it, they are how the path came about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.tools.graph.graph_traversers import traverse_graph

CHUNK = 5000
"""Nodes asked for in one query."""

_BACKWARD = (LinkType.INPUT_CALC, LinkType.CREATE)

SETTINGS_TYPES = ("data.core.dict.", "data.core.int.", "data.core.float.", "data.core.bool.", "data.core.str.",
                  "data.core.list.", "data.core.enum.")  # fmt: skip
"""Beginnings of the node types that carry settings rather than results."""


@dataclass(frozen=True)
class Row:
    """What a listing says of one node."""

    pk: int
    uuid: str
    node_type: str
    process_type: str
    label: str
    process_label: str
    exit_status: int | None
    ctime: str
    versions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_process(self) -> bool:
        """Return whether this is a calculation or workflow rather than data."""
        return self.node_type.startswith("process.")

    @property
    def is_job(self) -> bool:
        """Return whether this is a calculation that ran on a computer."""
        return self.node_type.startswith("process.calculation.calcjob.")

    @property
    def is_code(self) -> bool:
        """Return whether this is a code."""
        return self.node_type.startswith("data.core.code.")

    @property
    def is_settings(self) -> bool:
        """Return whether this is a number, text, list or dictionary."""
        return self.node_type.startswith(SETTINGS_TYPES)

    @property
    def class_name(self) -> str:
        """Return the class of data, or the label of a process, e.g. ``DatasetData`` or ``PwCalculation``."""
        return self.process_label or self.node_type.split(".")[-2]


@dataclass(frozen=True)
class Edge:
    """``source`` is an input of, or created, ``target``; both are pks."""

    source: int
    target: int
    label: str


@dataclass(frozen=True)
class Ancestry:
    """Everything a set of nodes was made from, and how.

    :param roots: pks of the nodes asked about; they are part of ``rows``.
    :param rows: pk -> what is known of the node.
    :param edges: links from inputs to calculations and from calculations to what they created.
    """

    roots: tuple[int, ...]
    rows: Mapping[int, Row]
    edges: tuple[Edge, ...]

    @cached_property
    def parents(self) -> Mapping[int, tuple[Edge, ...]]:
        """Return pk -> the edges that end there, by label."""
        found: dict[int, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            found[edge.target].append(edge)
        return {pk: tuple(sorted(edges, key=lambda e: (e.label, e.source))) for pk, edges in found.items()}

    @cached_property
    def children(self) -> Mapping[int, tuple[Edge, ...]]:
        """Return pk -> the edges that start there, by label."""
        found: dict[int, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            found[edge.source].append(edge)
        return {pk: tuple(sorted(edges, key=lambda e: (e.label, e.target))) for pk, edges in found.items()}

    def creator(self, pk: int) -> Row | None:
        """Return the calculation that made the data node, or None where it was given."""
        incoming = self.parents.get(pk, ())
        return self.rows[incoming[0].source] if incoming and not self.rows[pk].is_process else None

    def inputs(self, pk: int) -> tuple[tuple[str, Row], ...]:
        """Return (link label, node) of everything the calculation was given."""
        return tuple((edge.label, self.rows[edge.source]) for edge in self.parents.get(pk, ()))

    def jobs(self) -> tuple[Row, ...]:
        """Return the calculations that ran on a computer, oldest first."""
        return tuple(sorted((row for row in self.rows.values() if row.is_job), key=lambda row: row.pk))


def ancestry(nodes: orm.Node | Iterable[orm.Node]) -> Ancestry:
    """Read what ``nodes`` were made from.

    A workflow stands for what it returned, or, while it has returned nothing, for what it was given.

    :param nodes: stored node or nodes.
    :raises ValueError: if a node is not stored.
    """
    given = [nodes] if isinstance(nodes, orm.Node) else list(nodes)
    roots = tuple(dict.fromkeys(pk for node in given for pk in _roots(node)))
    found = traverse_graph(roots, get_links=True, links_backward=_BACKWARD)
    pks = set(found["nodes"])
    kinds = {kind.value for kind in _BACKWARD}
    edges = tuple(
        Edge(source=link.source_id, target=link.target_id, label=link.link_label)
        for link in sorted(found["links"])
        if link.link_type in kinds
    )
    return Ancestry(roots=roots, rows=rows(pks), edges=edges)


def rows(pks: Iterable[int]) -> dict[int, Row]:
    """Return pk -> row for the nodes, in one query for each :data:`CHUNK` of them."""
    wanted, found = sorted(set(pks)), {}
    for start in range(0, len(wanted), CHUNK):
        query = orm.QueryBuilder().append(
            orm.Node, filters={"id": {"in": wanted[start : start + CHUNK]}}, project=list(_PROJECT)
        )
        for values in query.iterall():
            row = _row(dict(zip(_PROJECT, values, strict=True)))
            found[row.pk] = row
    return found


_FACTS = ("num_frames", "num_atoms", "name", "licence", "level_of_theory", "sha256", "element", "formula", "filename")
_PROJECT = (
    "id", "uuid", "node_type", "process_type", "label", "ctime", "attributes.process_label", "attributes.exit_status",
    "attributes.version", *(f"attributes.{name}" for name in _FACTS),
)  # fmt: skip


def _row(value: Mapping[str, Any]) -> Row:
    return Row(
        pk=value["id"],
        uuid=value["uuid"],
        node_type=value["node_type"],
        process_type=value["process_type"] or "",
        label=value["label"] or "",
        process_label=value["attributes.process_label"] or "",
        exit_status=value["attributes.exit_status"],
        ctime=value["ctime"].isoformat(timespec="seconds"),
        versions=value["attributes.version"] if isinstance(value["attributes.version"], dict) else {},
        facts={name: value[f"attributes.{name}"] for name in _FACTS if value[f"attributes.{name}"] is not None},
    )


def _roots(node: orm.Node) -> list[int]:
    """Return the pks to start from: the node, or what stands for a workflow."""
    if not node.is_stored:
        raise ValueError(f"node {node.uuid} is not stored: only stored nodes have an ancestry")
    if not isinstance(node, orm.WorkflowNode):
        return [node.pk]
    returned = node.base.links.get_outgoing(link_type=LinkType.RETURN).all()
    potentials = [link.node.pk for link in returned if link.node.node_type.startswith("data.mlip.potential.")]
    if potentials or returned:
        return potentials or [link.node.pk for link in returned]
    return [link.node.pk for link in node.base.links.get_incoming(link_type=LinkType.INPUT_WORK).all()] or [node.pk]
