"""Properties of one potential, or of one before and after a training, beside published reference values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida_mlip.report import figures
from aiida_mlip.report.measured import Measured, before_after, in_order
from aiida_mlip.report.sections import _evaluation
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject
from aiida_mlip.report.verdict import changes


def collect(subject: Subject) -> Content:
    """Return the matrix of all numbers, what the training changed, flags, and what failed."""
    measured = subject.measured
    if measured is None or not measured.cases:
        return {}
    rows = before_after(measured)
    compared = bool(measured.parents)
    return {
        "matrix": _evaluation.matrix(measured) if measured.rows else None,
        "changes": list(changes(measured)),
        "lineages": [],
        "compared": compared,
        "figure": figures.deviations(rows) if compared and any(row["reference"] for row in rows) else None,
        "flags": _evaluation.flags(measured),
        "failed": _evaluation.failures(measured),
        "tolerances": _evaluation.tolerances(measured) if measured.compared else [],
        "conditions": list(_conditions(measured)),
    }


def _conditions(measured: Measured) -> Iterator[Mapping[str, Any]]:
    """Yield how each property was computed with the last potential."""
    for element in measured.elements:
        for case in measured.of_element(element)[-1:]:
            for name in in_order(case.records):
                record = case.records[name]
                yield {
                    "name": name,
                    "inputs": record.get("inputs", {}),
                    "calls": record.get("force_calls"),
                    "seconds": record.get("seconds"),
                }


SECTION = Section("Properties", collect, applies=lambda subject: bool(subject.properties))
