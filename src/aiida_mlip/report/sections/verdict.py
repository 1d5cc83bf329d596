"""Each potential and element in a sentence, and all numbers in one table that is coloured by tolerance."""

from __future__ import annotations

from aiida_mlip.report.gather import DEFECTS
from aiida_mlip.report.sections import _evaluation
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject
from aiida_mlip.report.verdict import changes, verdicts

MOST_CARDS = 8
"""Cards that come before the table; more of them come after it."""

MOST_COLUMNS = 4
"""Cards in a row."""


def collect(subject: Subject) -> Content:
    """Return the verdicts, what a training changed, the matrix, and the tolerances."""
    measured = subject.measured
    if measured is None or not measured.cases:
        return {}
    several = len(measured.elements) > 1
    return {
        "verdicts": verdicts(measured),
        "most": MOST_CARDS,
        "columns": min(len(measured.elements) if several else len(measured.names), MOST_COLUMNS),
        "changes": list(changes(measured)),
        "lineages": _evaluation.lineages(measured),
        "matrix": _evaluation.matrix(measured),
        "tolerances": _evaluation.tolerances(measured) if measured.compared else [],
    }


SECTION = Section("At one look", collect, applies=lambda subject: subject.kind == DEFECTS)
