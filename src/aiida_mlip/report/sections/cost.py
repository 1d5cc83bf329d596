"""What ran where, with which versions, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm

from aiida_mlip.provenance.status import state_of
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject, has_output, results

STAGES_SHOWN = 6


def collect(subject: Subject) -> Content:
    """Return one row for each job, the time of the whole, and the versions."""
    state = state_of(subject.node)
    labels = {part.pk: part.step for part in state.walk()}
    parents = {child.pk: part for part in state.walk() for child in part.children}
    rows = [_row(job, labels, parents) for job in subject.jobs]
    if not rows:
        return {}
    by_job = {job.pk: results(job).get("versions", {}) for job in subject.jobs}
    return {
        "rows": rows,
        "longest": max((row["seconds"] or 0.0) for row in rows) or 1.0,
        "total": state.elapsed,
        "busy": sum(row["seconds"] or 0.0 for row in rows if not row["cached"]),
        "versions": _merged(by_job.values()),
        "aiida": dict(subject.node.base.attributes.get("version", {}) or {}),
    }


def _row(job: orm.CalcJobNode, labels: Mapping[int, str], parents: Mapping[int, Any]) -> Mapping[str, Any]:
    timings: Mapping[str, float] = results(job).get("timings", {})
    stages = sorted(((name, s) for name, s in timings.items() if name != "total"), key=lambda item: -item[1])
    parent = parents.get(job.pk)
    step = labels.get(job.pk, "")
    if parent is not None and parent.step:
        step = f"{parent.step}, {step}"
    return {
        "step": step or job.process_label,
        "class": job.process_label,
        "pk": job.pk,
        "computer": job.computer.label if job.computer is not None else "",
        "seconds": timings.get("total", _foreign_seconds(job)),
        "stages": stages[:STAGES_SHOWN],
        "exit_status": job.exit_status,
        "cached": job.base.caching.is_created_from_cache,
    }


def _foreign_seconds(job: orm.CalcJobNode) -> float | None:
    """Return the wall time that a job of aiida-quantumespresso says it took."""
    if not has_output(job, "output_parameters"):
        return None
    seconds = job.outputs.output_parameters.get("wall_time_seconds", None)
    return None if seconds is None else float(seconds)


def _merged(all_versions: Any) -> Mapping[str, str]:
    """Return name -> version; several, joined by commas, where jobs ran with different ones."""
    found: dict[str, dict[str, None]] = {}
    for versions in all_versions:
        for name, text in versions.items():
            found.setdefault(name, {})[str(text)] = None
    return {name: ", ".join(texts) for name, texts in found.items()}


SECTION = Section("Cost and versions", collect)
