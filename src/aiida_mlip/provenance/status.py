"""What is running and what has just ended, as a tree of processes with their stage and progress."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiida import orm
from aiida.common import timezone
from aiida.common.links import LinkType
from aiida.tools.graph.graph_traversers import traverse_graph

from aiida_mlip.provenance.progress import progress_of
from aiida_mlip.schema.job import Progress

OURS = ("aiida.workflows:mlip.%", "aiida.calculations:mlip.%")
"""Process types of this package, as SQL patterns."""

ACTIVE = ("created", "running", "waiting")
"""States of processes that have not ended."""


@dataclass(frozen=True)
class State:
    """One process at one moment.

    :param step: label of the call by its parent, e.g. ``train_00``; empty for a process nobody called.
    :param detail: for a job, where it is: queued, running, retrieving, ...
    :param progress: last progress line of a running job.
    :param children: processes called, oldest first.
    """

    pk: int
    name: str
    label: str
    step: str
    state: str
    detail: str
    exit_status: int | None
    exit_message: str
    started: datetime
    changed: datetime
    progress: Progress | None = None
    children: tuple[State, ...] = field(default=())

    @property
    def active(self) -> bool:
        """Return whether it has not ended."""
        return self.state in ACTIVE

    @property
    def failed(self) -> bool:
        """Return whether it ended in another way than with exit code 0."""
        return not self.active and (self.state != "finished" or bool(self.exit_status))

    @property
    def elapsed(self) -> float:
        """Return the seconds since it was made, or between that and its end."""
        return ((timezone.now() if self.active else self.changed) - self.started).total_seconds()

    def walk(self) -> Iterator[State]:
        """Yield this process and all it called, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()


def running() -> tuple[State, ...]:
    """Return our processes that have not ended and that none of ours called, newest first."""
    pks = _ours({"attributes.process_state": {"in": list(ACTIVE)}})
    return tuple(sorted(_states(_not_called_by(pks)), key=lambda state: -state.pk))


def finished_since(age: timedelta, limit: int = 10) -> tuple[State, ...]:
    """Return our top-level processes that ended within ``age``, newest first, without their children."""
    ended = {"attributes.process_state": {"!in": list(ACTIVE)}, "mtime": {">": timezone.now() - age}}
    pks = sorted(_not_called_by(_ours(ended)), reverse=True)[:limit]
    return tuple(sorted(_states(pks, depth=0), key=lambda state: -state.pk))


def state_of(node: orm.ProcessNode) -> State:
    """Return one process with everything it called."""
    return _states([node.pk])[0]


def _ours(filters: Mapping[str, Any]) -> set[int]:
    query = orm.QueryBuilder()
    kinds = {"or": [{"process_type": {"like": pattern}} for pattern in OURS]}
    query.append(orm.ProcessNode, filters={"and": [kinds, dict(filters)]}, project="id")
    return set(query.all(flat=True))


def _not_called_by(pks: set[int]) -> set[int]:
    """Return those that no other process called; a process called by somebody is shown inside its caller."""
    if not pks:
        return set()
    query = orm.QueryBuilder()
    query.append(orm.ProcessNode, filters={"id": {"in": sorted(pks)}}, tag="called", project="id")
    query.append(orm.WorkflowNode, with_outgoing="called")
    return pks - set(query.all(flat=True))


_PROJECT = (
    "id", "label", "ctime", "mtime", "attributes.process_label", "attributes.process_state", "attributes.exit_status",
    "attributes.exit_message", "attributes.state", "attributes.scheduler_state", "attributes.exception",
    "attributes.process_status", "process_type",
)  # fmt: skip


def _states(pks: Iterable[int], depth: int | None = None) -> list[State]:
    """Return the trees below ``pks``: two queries for the processes, one connection per computer for progress."""
    roots = sorted(set(pks))
    if not roots:
        return []
    calls = (LinkType.CALL_CALC, LinkType.CALL_WORK)
    found = traverse_graph(roots, max_iterations=depth, get_links=True, links_forward=calls)
    values = {row["id"]: row for row in _query(found["nodes"])}
    steps: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for link in sorted(found["links"] or (), key=lambda link: link.target_id):
        if link.link_type in {kind.value for kind in calls} and link.source_id in values:
            steps[link.source_id].append((link.target_id, link.link_label))
    jobs = [pk for pk, row in values.items() if row["attributes.scheduler_state"] == "running" and _active(row)]
    lines = progress_of(orm.load_node(pk) for pk in jobs)

    def build(pk: int, step: str) -> State:
        children = tuple(build(child, label) for child, label in steps.get(pk, ()) if child in values)
        return _state(values[pk], step, lines.get(pk), children)

    return [build(pk, "") for pk in roots]


def _query(pks: Iterable[int]) -> list[dict[str, Any]]:
    query = orm.QueryBuilder()
    query.append(orm.ProcessNode, filters={"id": {"in": sorted(pks)}}, project=list(_PROJECT))
    return [dict(zip(_PROJECT, row, strict=True)) for row in query.iterall()]


def _active(row: Mapping[str, Any]) -> bool:
    return row["attributes.process_state"] in ACTIVE


def _whereabouts(job: str, scheduler: str) -> str:
    """Return where an active job is: what the scheduler said of it, or else what AiiDA does with it.

    AiiDA calls a job "unstashing" after its upload and "stashing" after its end, whether or not there is anything to
    stash.
    """
    if job in {"stashing", "retrieving", "parsing"} or not scheduler:
        return {"unstashing": "submitting", "withscheduler": "submitted", "stashing": "retrieving"}.get(job, job)
    return scheduler


def _state(row: Mapping[str, Any], step: str, progress: Progress | None, children: tuple[State, ...]) -> State:
    state = str(row["attributes.process_state"] or "created")
    detail = ""
    if _active(row):
        detail = _whereabouts(str(row["attributes.state"] or ""), str(row["attributes.scheduler_state"] or ""))
    message = row["attributes.exit_message"] or row["attributes.exception"]
    if state == "killed":
        message = message or row["attributes.process_status"]
    return State(
        pk=row["id"],
        name=str(row["attributes.process_label"] or row["process_type"]),
        label=str(row["label"] or ""),
        step="" if step == "CALL" else step,
        state=state,
        detail=detail,
        exit_status=row["attributes.exit_status"],
        exit_message=str(message or ""),
        started=row["ctime"],
        changed=row["mtime"],
        progress=progress,
        children=children,
    )
