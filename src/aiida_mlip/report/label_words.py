"""A labelling in a sentence and a few numbers; also what failed, by reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiida import orm

from aiida_mlip.report.cards import Card, card
from aiida_mlip.report.loop import label_report, stored
from aiida_mlip.report.numbers import core_hours, duration, plural, significant
from aiida_mlip.report.subject import Subject, has_output, results
from aiida_mlip.schema.labelling import LabelFailure, LabelReport
from aiida_mlip.science.datasets.audit.report import describe_frames

SHOWN = 160
"""Letters of a reason."""


def report_of(node: orm.ProcessNode) -> LabelReport | None:
    """Return the report of a labelling work chain, or what the results of a labelling job say; None without either."""
    if has_output(node, "report"):
        return label_report(node.outputs.report.get_dict())
    content = results(node)
    if "failed" not in content:
        return None
    labelled = len(node.outputs.labelled) if has_output(node, "labelled") else 0
    failed = [LabelFailure.model_validate({"index": item["index"], "reason": item["reason"]})
              for item in content["failed"]]  # fmt: skip
    timings = content.get("timings", {})
    return LabelReport(
        asked=int(content.get("counts", {}).get("asked", labelled + len(failed))),
        labelled=labelled,
        reused=0,
        failed=tuple(failed),
        level_of_theory=node.outputs.labelled.level_of_theory if labelled else "unknown",
        wall_seconds=float(timings.get("total", 0.0)),
    )


def sentences(subject: Subject) -> Iterator[str]:
    """Yield how many configurations were labelled, and how many not."""
    report = report_of(subject.node)
    if report is None:
        return
    reused = f" ({report.reused} of them found in the database)" if report.reused else ""
    failed = f"; {len(report.failed)} failed" if report.failed else "; none failed"
    yield f"{report.labelled} of {plural(report.asked, 'configuration')} were labelled{reused}{failed}."


def cards(subject: Subject) -> Iterator[Card]:
    """Yield the counts and the cost."""
    report = report_of(subject.node)
    if report is None:
        return
    yield card("Labelled", str(report.labelled), "", f"of {plural(report.asked, 'configuration')}")
    yield card("Computed", str(report.labelled - report.reused), "", f"{report.reused} found in the database")
    yield card("Failed", str(len(report.failed)), "", "reasons below" if report.failed else "")
    if report.core_seconds:
        number, unit = core_hours(report.core_seconds).split(" ", 1)
        computed = report.labelled - report.reused
        each = f"{significant(report.core_seconds / computed)} core-s each" if computed else ""
        yield card("Cost", number, unit, each)
    if report.wall_seconds:
        yield card("Wall time", duration(report.wall_seconds), "", "first submission to last result")


def failures(reports: Sequence[tuple[str, LabelReport]]) -> list[Mapping[str, Any]]:
    """Return failed labels by reason: where, which, and an example of the process.

    :param reports: (name of the set, report).
    """
    found: dict[tuple[str, str], list[LabelFailure]] = {}
    for name, report in reports:
        for failure in report.failed:
            found.setdefault((name, failure.reason), []).append(failure)
    return [
        {
            "set": name,
            "reason": reason if len(reason) <= SHOWN else f"{reason[:SHOWN].rstrip()} …",
            "number": len(group),
            "frames": describe_frames([failure.index for failure in group]),
            "process": _process(group[0]),
        }
        for (name, reason), group in found.items()
    ]


def _process(failure: LabelFailure) -> str:
    node = stored(failure.process)
    return f"{node.process_label} {node.pk}" if node is not None else ""
