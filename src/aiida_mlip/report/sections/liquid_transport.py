"""How molecules move: mean squared displacements, whether they diffuse yet, and how fast."""

from __future__ import annotations

from aiida_mlip.report import lights
from aiida_mlip.report.liquid_structure_figures import displacements
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return the figure and what the check says."""
    liquids = subject.liquids
    if liquids is None:
        return {}
    runs = [run for run in liquids.telling() if "transport_lag_ps" in run.curves]
    rows = lights.answers(liquids.runs, lambda result: result.check == "transport")
    made = displacements(liquids, runs) if runs else None
    if made is None and not rows:
        return {}
    return {"figure": made, "rows": rows, "several": len(liquids.potentials) > 1}


SECTION = Section("Transport", collect)
