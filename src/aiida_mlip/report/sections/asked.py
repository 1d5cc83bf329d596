"""Which configurations were asked for and why, and how wrong the model was there."""

from __future__ import annotations

from aiida_mlip.report import calibration_figures
from aiida_mlip.report.asked import Asked, asked_by, asked_by_loop, compared, row
from aiida_mlip.report.loop import labelling_of
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject

SELECT = "mlip.select"

SHOWN = 12
"""Rows of the table that are seen without opening the rest."""


def collect(subject: Subject) -> Content:
    """Return a row for each configuration, and its uncertainty beside the error that came out."""
    items = asked_of(subject)
    if not items:
        return {}
    pairs, rows = list(compared(items)), [row(item) for item in items]
    above = sum(error > sigma for _, sigma, error in pairs)
    return {
        "rows": rows,
        "formulas": len({item["formula"] for item in rows}) > 1,
        "shown": SHOWN,
        "figure": calibration_figures.asked_for(items),
        "pairs": len(pairs),
        "above": above,
        "by_generation": subject.loop is not None,
    }


def asked_of(subject: Subject) -> tuple[Asked, ...]:
    """Return the configurations that a loop, or a selection by itself, asked for."""
    if subject.kind == SELECT:
        return asked_by(subject.node, labelling_of(subject.node))
    return asked_by_loop(subject.loop) if subject.loop is not None else ()


SECTION = Section("Configurations asked for", collect)
