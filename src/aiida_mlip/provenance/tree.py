"""The ancestry as a tree of text, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape
from rich.tree import Tree

from aiida_mlip.provenance.ancestry import Ancestry, Row
from aiida_mlip.provenance.condense import Condensed, Group, condense
from aiida_mlip.provenance.describe import facts, group_facts
from aiida_mlip.provenance.lineage import label_calculations, origins, orphans

STYLES: Mapping[str, str] = {"process": "bold cyan", "given": "bold yellow", "data": "green"}


def lineage_tree(graph: Ancestry, *, full: bool = False, settings: bool = False) -> Tree:
    """Return the ancestry from the newest node down to what was given.

    :param full: list each node of a group instead of their number.
    :param settings: also show dictionaries, numbers and texts that were given.
    """
    writer = _Writer(
        condense(graph, keep=lambda row: settings or not row.is_settings or row.pk in graph.parents),
        labels=frozenset(row.pk for row in label_calculations(graph)),
        full=full,
    )
    top = Tree("made from", hide_root=True)
    for group in writer.condensed.roots:
        writer.grow(top, group, via="")
    return top


@dataclass
class _Writer:
    """Turns groups into branches; a group met before is only named."""

    condensed: Condensed
    labels: frozenset[int]
    full: bool
    shown: set[int] = field(default_factory=set)

    def grow(self, tree: Tree, group: Group, via: str) -> None:
        """Add ``group``, reached through the link ``via``, and what it was made from."""
        again = group.index in self.shown
        branch = tree.add(_line(group, via, is_label=group.row.pk in self.labels, again=again))
        if again:
            return
        self.shown.add(group.index)
        if self.full and len(group.rows) > 1:
            for row in group.rows:
                branch.add(f"[dim]{row.pk}  {row.uuid}  {row.ctime}[/]  {escape(facts(row))}")
        for edge in self.condensed.parents.get(group.index, ()):
            source = self.condensed.groups[edge.source]
            self.grow(branch, source, via="" if source.row.is_process else ", ".join(edge.labels))


def _line(group: Group, via: str, *, is_label: bool, again: bool) -> str:
    style = STYLES["process" if group.row.is_process else "data" if group.created else "given"]
    where = f"pk {group.row.pk} · {group.row.uuid[:8]}" if len(group.rows) == 1 else _span(group.rows)
    parts = [f"[dim]{escape(via)}[/] " if via else "", f"[{style}]{escape(group.title)}[/]", f"  [dim]{where}[/]"]
    if again:
        return "".join([*parts, "  [dim](above)[/]"])
    if is_label:
        parts.append("  [bold magenta]labels[/]")
    elif not group.created and not group.row.is_process:
        parts.append("  [yellow]given[/]")
    text = group_facts(group)
    return "".join([*parts, f"  {escape(text)}" if text else ""])


def _span(rows: tuple[Row, ...]) -> str:
    return f"pk {rows[0].pk} … {rows[-1].pk}"


def lineage_document(graph: Ancestry) -> dict[str, Any]:
    """Return the ancestry as plain values: every node with uuid, class and versions, every link, and the summary."""
    return {
        "roots": [graph.rows[pk].uuid for pk in graph.roots],
        "label_calculations": [row.uuid for row in label_calculations(graph)],
        "given": [row.uuid for row in origins(graph)],
        "orphans": [row.uuid for row in orphans(graph)],
        "nodes": [_plain(row) for _, row in sorted(graph.rows.items())],
        "links": [
            {"from": graph.rows[edge.source].uuid, "to": graph.rows[edge.target].uuid, "label": edge.label}
            for edge in graph.edges
        ],
    }


def _plain(row: Row) -> dict[str, Any]:
    return {
        "pk": row.pk,
        "uuid": row.uuid,
        "class": row.class_name,
        "node_type": row.node_type,
        "process_type": row.process_type,
        "label": row.label,
        "created": row.ctime,
        "exit_status": row.exit_status,
        "versions": dict(row.versions),
        "facts": dict(row.facts),
    }
