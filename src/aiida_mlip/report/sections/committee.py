"""The members of a committee side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm

from aiida_mlip.report.compare import ErrorSet, error_sets
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import BASELINE, Subject, results, settings_of


def collect(subject: Subject) -> Content:
    """Return a row for each member: how it differs, its errors, and whether it was chosen."""
    rows = [_row(subject, name, node) for name, node in subject.trainings.items()]
    tests = [row["errors"] for row in rows if row["errors"] is not None]
    return {"rows": rows, "quantities_shown": tests[0].quantities if tests else (), "best": subject.best}


def _row(subject: Subject, name: str, node: orm.ProcessNode) -> Mapping[str, Any]:
    settings = settings_of(node)
    sets: tuple[ErrorSet, ...] = error_sets(subject, name) if _finished(subject, name) else ()
    return {
        "name": name,
        "node": node,
        "seed": settings.get("seed"),
        "rate": settings.get("learning_rate"),
        "epoch": results(node).get("chosen_epoch"),
        "errors": sets[0] if sets else None,
    }


def _finished(subject: Subject, name: str) -> bool:
    return bool(results(subject.evaluations.get(name)) or results(subject.trainings.get(name)))


SECTION = Section(
    "Committee",
    collect,
    applies=lambda subject: len([name for name in subject.trainings if name != BASELINE]) > 1,
)
