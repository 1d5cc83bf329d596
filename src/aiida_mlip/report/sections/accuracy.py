"""Agreement with references, apart from stability: it decides nothing."""

from __future__ import annotations

from aiida_mlip.report.lights import accuracy_of
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return one row for each comparison."""
    liquids = subject.liquids
    rows = accuracy_of(liquids) if liquids is not None else []
    if not rows or liquids is None:
        return {}
    levels = {tests.result.level_of_theory for tests in liquids.forces.values()} - {"none"}
    return {
        "rows": rows,
        "several": len(liquids.potentials) > 1,
        "places": any(row.where for row in rows),
        "levels": sorted(levels),
    }


SECTION = Section("Accuracy", collect)
