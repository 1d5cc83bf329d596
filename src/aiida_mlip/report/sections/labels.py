"""What became of the configurations that were to be labelled, what it cost, and what failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_mlip.report.label_words import failures, report_of
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject
from aiida_mlip.schema.labelling import LabelReport


def collect(subject: Subject) -> Content:
    """Return a row for each labelling, and the failures by reason."""
    if subject.loop is not None:
        reports = list(subject.loop.label_reports)
    else:
        report = report_of(subject.node)
        reports = [("", report)] if report is not None else []
    if not reports:
        return {}
    return {
        "rows": [{"name": name, "of": report, **_each(report)} for name, report in reports],
        "failures": failures(reports),
        "theories": list(dict.fromkeys(report.level_of_theory for _, report in reports)),
        "several": len(reports) > 1,
        "total": {
            key: sum(getattr(report, key) for _, report in reports)
            for key in ("asked", "labelled", "reused", "core_seconds", "wall_seconds")
        }
        | {"failed": sum(len(report.failed) for _, report in reports)},
    }


def _each(report: LabelReport) -> Mapping[str, Any]:
    computed = report.labelled - report.reused
    return {"computed": computed, "each": report.core_seconds / computed if computed and report.core_seconds else None}


SECTION = Section("Labels", collect)
