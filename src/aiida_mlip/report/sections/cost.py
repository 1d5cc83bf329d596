"""What ran where, with which versions, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiida import orm

from aiida_mlip.provenance.status import state_of
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject

STAGES_SHOWN = 6


@dataclass(frozen=True)
class Known:
    """What a job says of itself; ``seconds``: wall time of one of aiida-quantumespresso [s]."""

    timings: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None


def collect(subject: Subject) -> Content:
    """Return one row for each job, the time of the whole, and the versions."""
    state = state_of(subject.node)
    labels = {part.pk: part.step for part in state.walk()}
    parents = {child.pk: part for part in state.walk() for child in part.children}
    if not subject.jobs:
        return {}
    known = _results(job.pk for job in subject.jobs)
    rows = [_row(job, labels, parents, known.get(job.pk, Known())) for job in subject.jobs]
    return {
        "rows": rows,
        "longest": max((row["seconds"] or 0.0) for row in rows) or 1.0,
        "total": state.elapsed,
        "busy": sum(row["seconds"] or 0.0 for row in rows if not row["cached"]),
        "versions": _merged(item.versions for item in known.values()),
        "aiida": dict(subject.node.base.attributes.get("version", {}) or {}),
    }


def _row(
    job: orm.CalcJobNode, labels: Mapping[int, str], parents: Mapping[int, Any], known: Known
) -> Mapping[str, Any]:
    timings = known.timings
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
        "seconds": timings.get("total", known.seconds),
        "stages": stages[:STAGES_SHOWN],
        "exit_status": job.exit_status,
        "cached": job.base.caching.is_created_from_cache,
    }


def _results(pks: Iterable[int]) -> dict[int, Known]:
    """Return pk of a job -> what it says, in one query: a loop has hundreds of jobs."""
    query = orm.QueryBuilder()
    query.append(orm.CalcJobNode, filters={"id": {"in": sorted(pks)}}, tag="job", project="id")
    names = ["timings", "versions", "wall_time_seconds"]
    query.append(
        orm.Dict,
        with_incoming="job",
        edge_filters={"label": {"in": ["results", "output_parameters"]}},
        project=[f"attributes.{name}" for name in names],
    )
    query.order_by({"job": {"id": "asc"}})
    return {pk: Known(timings or {}, versions or {}, seconds) for pk, timings, versions, seconds in query.iterall()}


def _merged(all_versions: Any) -> Mapping[str, str]:
    """Return name -> version; several, joined by commas, where jobs ran with different ones."""
    found: dict[str, dict[str, None]] = {}
    for versions in all_versions:
        for name, text in versions.items():
            found.setdefault(name, {})[str(text)] = None
    return {name: ", ".join(texts) for name, texts in found.items()}


SECTION = Section("Cost and versions", collect)
