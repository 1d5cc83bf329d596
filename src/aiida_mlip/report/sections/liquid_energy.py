"""Is energy conserved, and shared evenly: drift at constant energy, and the temperatures of the parts of the motion."""

from __future__ import annotations

from aiida_mlip.report.liquid_figures import energy_drift, equipartition
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return both figures."""
    liquids = subject.liquids
    if liquids is None:
        return {}
    drift, parts = energy_drift(liquids), equipartition(liquids)
    return {"drift": drift, "parts": parts} if drift is not None or parts is not None else {}


SECTION = Section("Energy", collect)
