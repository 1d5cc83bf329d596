"""An ancestry with alike nodes folded into groups, so that 80 label calculations are one line and one box."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from aiida_mlip.provenance.ancestry import Ancestry, Row

_COUNTER = re.compile(r"[0-9a-f]{8,}|\d+")


@dataclass(frozen=True)
class Group:
    """Nodes of one kind that play one part: same class, same outcome, inputs of the same groups by the same labels.

    :param index: position in :attr:`Condensed.groups`; smaller is nearer to the root.
    """

    index: int
    rows: tuple[Row, ...]
    created: bool

    @property
    def row(self) -> Row:
        """Return the first node, as an example of all."""
        return self.rows[0]

    @property
    def title(self) -> str:
        """Return e.g. ``83 × PwCalculation``."""
        return f"{len(self.rows)} × {self.row.class_name}" if len(self.rows) > 1 else self.row.class_name

    @property
    def failed(self) -> bool:
        """Return whether these are processes that ended with an exit code other than 0."""
        return self.row.is_process and self.row.exit_status not in (0, None)


@dataclass(frozen=True)
class GroupEdge:
    """``source`` went into, or created, ``target``; both are indices of groups. ``labels`` are link labels."""

    source: int
    target: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Condensed:
    """Groups in an order in which everything comes after what was made from it."""

    groups: tuple[Group, ...]
    edges: tuple[GroupEdge, ...]

    @cached_property
    def parents(self) -> dict[int, tuple[GroupEdge, ...]]:
        """Return index -> the edges that end there, the largest groups last."""
        found: dict[int, list[GroupEdge]] = defaultdict(list)
        for edge in self.edges:
            found[edge.target].append(edge)
        return {index: tuple(sorted(edges, key=lambda e: (e.labels, e.source))) for index, edges in found.items()}

    @property
    def roots(self) -> tuple[Group, ...]:
        """Return the groups that nothing here was made from."""
        sources = {edge.source for edge in self.edges}
        return tuple(group for group in self.groups if group.index not in sources)


def condense(graph: Ancestry, *, keep: Callable[[Row], bool] = lambda _: True) -> Condensed:
    """Fold alike nodes of an ancestry into groups.

    Two nodes are alike where their class and outcome agree and they lead to the same groups through the same link
    labels, counters and hashes in the labels left out. So the inputs of 80 alike calculations are one group each.

    :param keep: nodes for which this is false are left out; roots always stay.
    """
    kept = {pk for pk, row in graph.rows.items() if pk in graph.roots or keep(row)}
    members: dict[tuple[object, ...], list[int]] = defaultdict(list)
    key_of: dict[int, tuple[object, ...]] = {}
    number: dict[tuple[object, ...], int] = {}
    for pk in towards_ancestors(graph):
        if pk not in kept:
            continue
        part = frozenset(
            (plain(edge.label), number[key_of[edge.target]])
            for edge in graph.children.get(pk, ())
            if edge.target in key_of
        )
        row = graph.rows[pk]
        alone = pk if pk in graph.roots and len(graph.roots) == 1 else None
        key = (row.node_type, row.class_name, row.exit_status, pk in graph.parents, part, alone)
        key_of[pk] = key
        number.setdefault(key, len(number))
        members[key].append(pk)
    groups = tuple(
        Group(
            index=number[key],
            rows=tuple(graph.rows[pk] for pk in sorted(pks)),
            created=any(pk in graph.parents for pk in pks),
        )
        for key, pks in members.items()
    )
    return Condensed(groups=groups, edges=_edges(graph, {pk: number[key] for pk, key in key_of.items()}))


def _edges(graph: Ancestry, index_of: dict[int, int]) -> tuple[GroupEdge, ...]:
    labels: dict[tuple[int, int], set[str]] = defaultdict(set)
    for edge in graph.edges:
        if edge.source in index_of and edge.target in index_of:
            labels[index_of[edge.source], index_of[edge.target]].add(plain(edge.label))
    return tuple(GroupEdge(s, t, tuple(sorted(found))) for (s, t), found in sorted(labels.items()))


def plain(label: str) -> str:
    """Return a link label without counters and hashes: ``frames__pw_0012`` -> ``frames__pw``."""
    return re.sub(r"_{2,}", "__", _COUNTER.sub("", label)).rstrip("_") or label


def towards_ancestors(graph: Ancestry) -> Sequence[int]:
    """Return all pks such that each comes after everything that was made from it (Kahn's algorithm)."""
    waiting = {pk: len(graph.children.get(pk, ())) for pk in graph.rows}
    ready = sorted((pk for pk, number in waiting.items() if number == 0), reverse=True)
    order: list[int] = []
    while ready:
        pk = ready.pop()
        order.append(pk)
        for edge in graph.parents.get(pk, ()):
            waiting[edge.source] -= 1
            if waiting[edge.source] == 0:
                ready.append(edge.source)
    return order
