"""What a selection found in the frames of each walker."""

from __future__ import annotations

from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.selection_words import selection_of
from aiida_mlip.report.subject import Subject, settings_of


def collect(subject: Subject) -> Content:
    """Return a row for each walker, the levels, and what the filters refused."""
    found = selection_of(subject)
    if found is None:
        return {}
    return {
        "rows": found.by_walker.items(),
        "total": found.counts,
        "levels": settings_of(subject.node).get("levels", {}),
        "filtered_by": {name: number for name, number in found.filtered_by.items() if number},
    }


SECTION = Section("Selection", collect)
