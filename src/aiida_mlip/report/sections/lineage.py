"""What everything was made from, down to each label calculation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from aiida_mlip.provenance.ancestry import Row
from aiida_mlip.provenance.describe import facts
from aiida_mlip.provenance.draw import COLOURS, svg, visible
from aiida_mlip.provenance.lineage import POTENTIAL, TRAIN, ancestors_of_type, label_calculations, orphans, trained_from
from aiida_mlip.provenance.summary import given_data, label_counts
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject

KEY = {"given": "given", "created": "computed data", "job": "calculation on a computer", "function": "step in Python"}

MOST_BOXES = 60
"""Drawings with more groups than this are left to `aiida-mlip lineage --graph`."""


def collect(subject: Subject) -> Content:
    """Return the drawing, what was given, the label calculations and the chain of potentials."""
    graph = subject.graph
    condensed = visible(graph)
    chain = trained_from(graph) if ancestors_of_type(graph, POTENTIAL) else ()
    return {
        "drawing": Markup(svg(condensed)) if len(condensed.groups) <= MOST_BOXES else "",  # noqa: S704 - escaped there
        "key": [(title, *COLOURS[kind]) for kind, title in KEY.items()],
        "labels": label_counts(graph),
        "trained": bool(ancestors_of_type(graph, TRAIN)),
        "jobs": list(_jobs(label_calculations(graph))),
        "given": [(row.class_name, row, facts(row)) for row in given_data(graph)],
        "chain": [step.potential for step in chain],
        "orphans": orphans(graph),
        "number": len(graph.rows),
    }


def _jobs(rows: tuple[Row, ...]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        yield {"pk": row.pk, "uuid": row.uuid, "name": row.class_name, "time": row.ctime[:16].replace("T", " ")}


SECTION = Section("Lineage", collect)
