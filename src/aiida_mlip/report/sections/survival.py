"""How long the walkers of each generation lived, and what stopped them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from aiida_mlip.report import loop_figures
from aiida_mlip.report.loop import Loop, mean_share
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return the figure, and a row for each generation and condition."""
    loop = subject.loop
    if loop is None or not any(item.record.survival for item in loop.generations):
        return {}
    return {"figure": loop_figures.survival(loop), "rows": list(_rows(loop))}


def _rows(loop: Loop) -> Iterator[Mapping[str, Any]]:
    for item in loop.generations:
        conditions = list(dict.fromkeys(walker.condition for walker in item.record.survival))
        for place, condition in enumerate(conditions):
            walkers = [walker for walker in item.record.survival if walker.condition == condition]
            stops = Counter(walker.stopped_by for walker in walkers if walker.stopped_by is not None)
            yield {
                "generation": item.number,
                "first": place == 0,
                "condition": condition,
                "walkers": len(walkers),
                "done": sum(walker.stopped_by is None for walker in walkers),
                "share": mean_share(walkers),
                "shortest": min(walker.survived_ps for walker in walkers),
                "asked": max(walker.asked_ps for walker in walkers),
                "stops": [(loop_figures.stop_name(rule), number) for rule, number in stops.most_common()],
            }


SECTION = Section("Survival of the dynamics", collect)
