"""What an iterative training cost, step by step, and what selection saved."""

from __future__ import annotations

from typing import Any

from aiida_mlip.report import loop_figures
from aiida_mlip.report.loop import saving
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return times and force calls of each generation, the cost of labels, and the estimate of what was saved."""
    loop = subject.loop
    if loop is None or not any(item.record.cost for item in loop.generations):
        return {}
    steps = {
        key: title
        for key, (title, _) in loop_figures.STEPS.items()
        if any(item.record.cost.get(key) for item in loop.generations)
    }
    rows: list[dict[str, Any]] = [
        {
            "number": item.number,
            "seconds": [item.record.cost.get(key) for key in steps],
            "total": sum(item.record.cost.get(key, 0.0) for key in steps),
            "calls": item.record.cost.get("force_calls"),
            "core_seconds": item.record.cost.get("label_core_seconds"),
        }
        for item in loop.generations
    ]
    start = loop.start
    return {
        "figure": loop_figures.times(loop) if steps else None,
        "steps": list(steps.values()),
        "rows": rows,
        "totals": {
            "seconds": [sum(item.record.cost.get(key, 0.0) for item in loop.generations) for key in steps],
            "total": sum(row["total"] for row in rows),
            "calls": sum(row["calls"] or 0 for row in rows),
            "core_seconds": sum(row["core_seconds"] or 0.0 for row in rows) + (start.core_seconds if start else 0.0),
        },
        "start": start,
        "saving": saving(loop),
    }


SECTION = Section("Cost of the loop", collect)
