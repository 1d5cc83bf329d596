"""Licences and levels of theory of the potentials and data that are in the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_mlip.provenance.ancestry import Row, ancestry
from aiida_mlip.provenance.lineage import DATASET, POTENTIAL, ancestors_of_type
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject

OPEN = ("mit", "bsd", "apache", "cc-by", "cc0", "lgpl")
"""Beginnings of names of licences without restrictions on use."""


def collect(subject: Subject) -> Content:
    """Return each potential and the data sets that were given, with licence and level of theory."""
    rows = [
        *ancestors_of_type(subject.graph, POTENTIAL),
        *(row for row in ancestors_of_type(subject.graph, DATASET) if row.pk not in subject.graph.parents),
    ]
    if subject.foundation is not None and subject.foundation.pk not in {row.pk for row in rows}:
        rows += ancestry(subject.foundation).rows.values()
    items = [_item(row) for row in rows if row.node_type.startswith((POTENTIAL, DATASET))]
    return {"items": items} if items else {}


def _item(row: Row) -> Mapping[str, Any]:
    licence = str(row.facts.get("licence", "")) or "unknown"
    is_potential = row.node_type.startswith(POTENTIAL)
    return {
        "name": row.label or row.class_name,
        "kind": "potential" if is_potential else "data set",
        "licence": licence,
        "theory": str(row.facts.get("level_of_theory", "unknown")),
        "uuid": row.uuid,
        "restricted": is_potential and not licence.lower().startswith(OPEN),
    }


SECTION = Section("Licences", collect)
