"""What a reader has to know of the numbers, and which are missing and why."""

from __future__ import annotations

from aiida_mlip.report.gather import DEFECTS
from aiida_mlip.report.sections import _evaluation
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return flags and failures."""
    measured = subject.measured
    if measured is None or not measured.cases:
        return {}
    return {"flags": _evaluation.flags(measured), "failed": _evaluation.failures(measured)}


SECTION = Section("Flags and failures", collect, applies=lambda subject: subject.kind == DEFECTS)
