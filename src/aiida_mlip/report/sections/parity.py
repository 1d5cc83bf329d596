"""Predictions against labels, point by point."""

from __future__ import annotations

from aiida_mlip.report import figures
from aiida_mlip.report.compare import between, error_sets
from aiida_mlip.report.parity import LIMIT, parity_points
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import BASELINE, Subject

SET_NAMES = {"holdout": "hold-out"}
"""Set -> its name in a sentence, where that is another."""


def collect(subject: Subject) -> Content:
    """Return the figure of the set that counts."""
    names = [item.name for item in error_sets(subject)]
    baseline = subject.evaluations.get(BASELINE)
    job = subject.evaluations.get(subject.best or "") or baseline
    for name in names:
        if after := parity_points(job, name):
            before = parity_points(baseline, name) if job is not baseline else {}
            sizes = {key: points.total for key, points in after.items() if points.total > LIMIT}
            return {
                "figure": figures.parity(before, after),
                "name": SET_NAMES.get(name, name),
                "compared": bool(before),
                "thinned": sizes,
                "between": between(subject),
            }
    return {}


SECTION = Section("Parity", collect, applies=lambda subject: bool(subject.evaluations))
