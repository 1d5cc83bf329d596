"""How fast the dynamics ran, and how long each check took."""

from __future__ import annotations

from aiida_mlip.report.liquid_cost import check_rows, dynamics_rows
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return both tables."""
    liquids = subject.liquids
    if liquids is None:
        return {}
    dynamics, found = dynamics_rows(liquids), check_rows(liquids)
    if not dynamics and not found:
        return {}
    return {
        "dynamics": dynamics,
        "checks": found,
        "longest": max((row["seconds"] for row in found), default=1.0) or 1.0,
        "several": len(liquids.potentials) > 1,
    }


SECTION = Section("Speed", collect)
