"""The walkers of molecular dynamics: how long each ran, and what stopped it."""

from __future__ import annotations

from aiida_mlip.report.dynamics import walkers
from aiida_mlip.report.loop_figures import stop_name
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return a row for each walker."""
    found = walkers(subject.node)
    if not found:
        return {}
    rows = [
        {"name": name, "of": item, "stop": stop_name(item.stopped_by) if item.stopped_by else ""}
        for name, item in found.items()
    ]
    return {"rows": rows, "pressures": any(item.pressure is not None for item in found.values())}


SECTION = Section("Walkers", collect)
