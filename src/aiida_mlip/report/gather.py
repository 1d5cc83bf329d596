"""Read from the nodes of a process what was measured, and which potential was trained from which."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.common.links import LinkType

from aiida_mlip.provenance.ancestry import ancestry
from aiida_mlip.provenance.lineage import POTENTIAL, Training, trained_from
from aiida_mlip.report.measured import CHILD_TITLE, PARENT_TITLE, Case, Measured, element_of, from_records, from_summary
from aiida_mlip.report.subject import BASELINE, Subject, results
from aiida_mlip.science import reference
from aiida_mlip.science.defects import JOB_FAILED, job_of, reference_document
from aiida_mlip.workchains.defects import Job
from aiida_mlip.workchains.reasons import reason_of

DEFECTS = "mlip.defects"

_INPUTS = (LinkType.INPUT_CALC, LinkType.INPUT_WORK)


def measured(subject: Subject) -> Measured | None:
    """Return all properties of a process beside reference values, or None where there are none (yet)."""
    if subject.kind == DEFECTS:
        return _defects(subject)
    found = {name: results(node) for name, node in subject.properties.items()}
    if subject.kind in ("mlip.property", "mlip.property.base"):
        name = subject.foundation.label if subject.foundation is not None else ""
        found = {name or "potential": next(iter(found.values()))}
        parents = {}
    else:
        best = subject.best if subject.best in found else next((n for n in found if n != BASELINE), None)
        found = {PARENT_TITLE: found.get(BASELINE, {}), CHILD_TITLE: found.get(best or "", {})}
        parents = {CHILD_TITLE: PARENT_TITLE} if all(found.values()) else {}
    found = {name: content for name, content in found.items() if content}
    return from_records(found, references(_elements(found.items())), parents) if found else None


def _elements(found: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    parts = [content.get(part, {}).values() for _, content in found for part in ("properties", "failed")]
    return [element_of(record) for records in parts for record in records]


def _defects(subject: Subject) -> Measured | None:
    if subject.summary:
        potentials = subject.summary.get("potentials", {})
        found = from_summary(subject.summary, parents({n: str(p.get("uuid", "")) for n, p in potentials.items()}))
        cases = {key: _with_reasons(case, subject.steps) for key, case in found.cases.items()}
        return dataclasses.replace(found, cases=cases)
    nodes = {
        link.link_label.removeprefix("potentials__"): link.node
        for link in subject.node.base.links.get_incoming(link_type=_INPUTS).all()
        if link.link_label.startswith("potentials__")
    }
    pairs = list(_so_far(subject.steps.values(), {node.pk: name for name, node in nodes.items()}))
    if not pairs:
        return None
    known = references(_elements(pairs))
    return from_records(pairs, known, parents({name: node.uuid for name, node in nodes.items()}))


def _with_reasons(case: Case, steps: Mapping[str, orm.ProcessNode]) -> Case:
    """Return the case with the words of the jobs that left no result; the summary knows no more than that."""
    failed = {}
    for name, reason in case.failed.items():
        step = steps.get(Job(case.potential, case.element, job_of(name)).label) if reason == JOB_FAILED else None
        failed[name] = reason if step is None else {**reason, "message": reason_of(step)}
    return dataclasses.replace(case, failed=failed)


def _so_far(
    steps: Iterable[orm.ProcessNode], names: Mapping[int, str]
) -> Iterator[tuple[str, Mapping[str, Mapping[str, Any]]]]:
    """Yield potential and results of the jobs that have ended, for a process that has no summary."""
    for step in steps:
        links = step.base.links.get_incoming(link_type=_INPUTS).all()
        name = next((names[link.node.pk] for link in links if link.node.pk in names), None)
        content = results(step)
        if name is not None and content:
            yield name, content


@cache
def _built_in() -> reference.ReferenceSet:
    return reference.load()


def references(elements: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return element -> values and curves of the built-in reference data, as a summary holds them."""
    return reference_document(_built_in(), dict.fromkeys(elements))


def parents(uuids: Mapping[str, str]) -> dict[str, str]:
    """Return potential -> the nearest of the others that it was trained from.

    :param uuids: name -> uuid of the node; those that are not in this database have no history.
    """
    names = {uuid: name for name, uuid in uuids.items() if uuid}
    found = {}
    for name, uuid in uuids.items():
        for step in trainings(uuid)[1:]:
            if names.get(step.potential.uuid, name) != name:
                found[name] = names[step.potential.uuid]
                break
    return found


def trainings(uuid: str) -> tuple[Training, ...]:
    """Return the trainings that led to a potential, newest first; nothing where it is not in this database."""
    try:
        node = orm.load_node(uuid) if uuid else None
    except NotExistent:
        return ()
    if node is None or not node.node_type.startswith(POTENTIAL):
        return ()
    return trained_from(ancestry(node), int(node.pk))


def trained_elements(uuid: str) -> tuple[str, ...]:
    """Return the elements of the data that the last training of a potential saw."""
    return tuple(dict.fromkeys(symbol for row_pk in _sets(uuid) for symbol in orm.load_node(row_pk).elements))


def _sets(uuid: str) -> Iterator[int]:
    steps = trainings(uuid)
    for label, row in steps[0].training_sets if steps else ():
        if label == "training_set":
            yield row.pk
