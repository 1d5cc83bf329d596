"""Bars of elastic constants, point defects, surfaces and dislocations, each beside its reference."""

from __future__ import annotations

from aiida_mlip.report import bars
from aiida_mlip.report.sections import _evaluation
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return one group of figures for each kind of quantity."""
    measured = subject.measured
    groups = list(bars.grouped(measured)) if measured is not None else []
    if measured is None or not groups:
        return {}
    return {
        "groups": groups,
        "key": _evaluation.key(measured),
        "single": len(measured.elements) == 1,
        "hatched": any(flag["unusable"] for flag in _evaluation.flags(measured)),
    }


SECTION = Section("Beside the reference", collect)
