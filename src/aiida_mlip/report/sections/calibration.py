"""Uncertainties beside true errors: of one estimate, or of each generation of a loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida_mlip.report import calibration_figures
from aiida_mlip.report.calibration import KINDS, compared, result_of, uncertainty_result
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject
from aiida_mlip.schema.uncertainty import UncertaintyResult

UNCERTAINTY = "mlip.uncertainty"


def collect(subject: Subject) -> Content:
    """Return the figure of the last estimate, the numbers of all, and the rank correlations by generation."""
    if subject.kind == UNCERTAINTY:
        nodes = {"": subject.node}
        found = {"": result} if (result := result_of(subject.node)) is not None else {}
        numbers: list[int] = []
    else:
        generations = subject.loop.generations if subject.loop is not None else ()
        nodes = {item.title: item.steps["uncertainty"] for item in generations if "uncertainty" in item.steps}
        results = ((item, uncertainty_result(item.record.uncertainty)) for item in generations)
        found = {item.title: result for item, result in results if result is not None}
        numbers = [item.number for item in generations if item.title in found]
    if not found:
        return {}
    pairs = next(
        ((name, kinds) for name in reversed(found) if name in nodes and (kinds := compared(nodes[name]))), None
    )
    ranks = [(number, _ranks(result)) for number, result in zip(numbers, found.values(), strict=False)]
    return {
        "figure": calibration_figures.calibration(pairs[1]) if pairs is not None else None,
        "of": pairs[0] if pairs is not None else "",
        "sizes": [(item.kind.title.lower(), len(item.error)) for item in pairs[1]] if pairs is not None else [],
        "rows": [row for name, result in found.items() for row in _rows(name, result)],
        "named": bool(numbers),
        "ranks": calibration_figures.correlations(ranks) if len(ranks) > 1 else None,
        "last": list(found.values())[-1],
    }


def _ranks(result: UncertaintyResult) -> dict[str, float | None]:
    parts = ((kind.title, getattr(result, kind.field)) for kind in KINDS)
    return {title: part.rank_correlation for title, part in parts if part is not None}


def _rows(name: str, result: UncertaintyResult) -> Iterator[Mapping[str, Any]]:
    known = [kind for kind in KINDS if getattr(result, kind.field) is not None]
    for place, kind in enumerate(known):
        yield {
            "name": name if place == 0 else "",
            "first": place == 0,
            "kind": kind.title,
            "of": getattr(result, kind.field),
        }


SECTION = Section("Calibration of the uncertainty", collect)
