"""An iterative training generation by generation: one row each, and what became of the frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_mlip.report import loop_figures
from aiida_mlip.report.loop import Generation
from aiida_mlip.report.numbers import QUANTITIES
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return the table and the bars."""
    loop = subject.loop
    if loop is None:
        return {}
    rows = [_row(item) for item in loop.generations]
    return {
        "rows": rows,
        "quantities_shown": [key for key in QUANTITIES if any(row["errors"][key] is not None for row in rows)],
        "figure": loop_figures.counts(loop) if any(row["counts"] for row in rows) else None,
        "measured_on": loop.last.measured_on,
        "start": loop.start,
        "filtered": any(row["counts"].filtered for row in rows if row["counts"]),
    }


def _row(item: Generation) -> Mapping[str, Any]:
    record = item.record
    return {
        "number": item.number,
        "frames": record.frames,
        "members": len(record.potentials),
        "errors": {key: item.error(key) for key in QUANTITIES},
        "levels": record.levels,
        "counts": record.selection,
        "fraction": record.candidate_fraction,
        "labels": item.labels,
        "survived": item.survived,
        "share": item.survived_share,
        "converged": record.converged,
        "reasons": record.reasons,
    }


SECTION = Section("Generations", collect)
