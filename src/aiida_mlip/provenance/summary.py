"""The ancestry in a few sentences."""

from __future__ import annotations

from collections import defaultdict

from aiida_mlip.provenance.ancestry import Ancestry, Row
from aiida_mlip.provenance.describe import facts, software
from aiida_mlip.provenance.lineage import (
    POTENTIAL,
    ancestors_of_type,
    label_calculations,
    origins,
    orphans,
    trained_from,
)


def label_counts(graph: Ancestry) -> tuple[tuple[str, int, str], ...]:
    """Return (class of the label calculations, their number, versions of their program)."""
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in label_calculations(graph):
        kinds[row.class_name].append(row)
    return tuple((name, len(found), software(found)) for name, found in sorted(kinds.items()))


def given_data(graph: Ancestry) -> tuple[Row, ...]:
    """Return what was given from outside, without settings and codes."""
    return tuple(row for row in origins(graph) if not (row.is_settings or row.is_code))


def summary_lines(graph: Ancestry) -> list[str]:
    """Return sentences on the labels, the chain of potentials, and on data without a history."""
    lines = [
        f"labels: {number} × {name}{f' ({program})' if program else ''}"
        for name, number, program in label_counts(graph)
    ] or ["labels: no label calculation in this database (the labels were given)"]
    if ancestors_of_type(graph, POTENTIAL):
        chain = [step.potential for step in trained_from(graph)]
        lines.append(
            ("trained from: " if len(chain) > 1 else "potential: ")
            + " ← ".join(f"{row.label or row.class_name} ({row.pk})" for row in chain)
        )
    loose = orphans(graph)
    lines += [f"without history: {row.class_name} {row.pk} {facts(row)}".rstrip() for row in loose]
    return lines or ["nothing"]
