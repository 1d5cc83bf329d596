"""Equations of state, gamma lines and paths, with the points of the reference."""

from __future__ import annotations

from aiida_mlip.report import curves
from aiida_mlip.report.sections import _evaluation
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return one group of figures for each kind of curve."""
    measured = subject.measured
    groups = list(curves.drawn(measured)) if measured is not None else []
    if measured is None or not groups:
        return {}
    return {
        "groups": [(panel.title, curves.key_of(panel), charts) for panel, charts in groups],
        "key": _evaluation.key(measured),
        "single": len(measured.elements) == 1,
        "dotted": any(flag["unusable"] for flag in _evaluation.flags(measured)),
    }


SECTION = Section("Curves", collect)
