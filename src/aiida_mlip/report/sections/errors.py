"""Errors on each set, by configuration type and element, before and after."""

from __future__ import annotations

from aiida_mlip.report import figures
from aiida_mlip.report.compare import METRICS, between, error_sets
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import BASELINE, Subject, results


def collect(subject: Subject) -> Content:
    """Return the tables, and the figure of the set that counts."""
    sets = error_sets(subject)
    if not sets:
        return {}
    shifts = results(subject.evaluations.get(BASELINE)).get("shifts", {})
    return {
        "sets": sets,
        "figure": figures.errors_by_type(sets[0]),
        "metrics": METRICS,
        "shifts": shifts,
        "between": between(subject),
        "baseline_only": subject.kind == "mlip.finetune" and not any(item.compared for item in sets),
    }


SECTION = Section("Errors", collect)
