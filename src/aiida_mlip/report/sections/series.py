"""Temperature, energy, uncertainty and density of the walkers over time."""

from __future__ import annotations

from aiida_mlip.report.dynamics import MOST_WALKERS, series, time_series, walkers
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return the figure."""
    found = walkers(subject.node)
    lines = series(subject.node)
    made = time_series(lines, found) if lines else None
    if made is None:
        return {}
    return {"figure": made, "hidden": max(len(found) - MOST_WALKERS, 0)}


SECTION = Section("Time series", collect)
