"""How far an iterative training is: counts, held-out errors and labels of each generation, and what is done now."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from pydantic import ValidationError

from aiida_mlip.provenance.status import State
from aiida_mlip.schema.iterative import GenerationRecord, History
from aiida_mlip.schema.labelling import PROGRESS_EXTRA

LOOP, LABELLING = "IterativeTrainingWorkChain", "LabelWorkChain"
"""Process labels of the work chains that are described here."""

_HISTORY = re.compile(r"start_history|continue_history|end_failed|g\d+_(label_)?record")
_STEP = re.compile(r"g(?P<generation>\d+)_(?P<name>[a-z]+)")

_DOING: Mapping[str, str] = {
    "train": "training",
    "evaluate": "measuring",
    "uncertainty": "measuring",
    "md": "exploring",
    "select": "selecting",
    "label": "labelling",
}
"""Beginning of a step -> what is done in it."""


def loop_text(state: State) -> str:
    """Return one line for each generation of an iterative training, and one for what is done now; else nothing."""
    if state.name != LOOP:
        return ""
    history = _history(state)
    lines = [_start_line(history.start)] if history.start else []
    lines += [_line(record) for record in history.generations]
    return "\n".join([*lines, *_now(state)])


def labels_text(state: State) -> str:
    """Return how many labels a labelling has made, and how many it still makes; empty for other processes."""
    if state.name != LABELLING:
        return ""
    query = orm.QueryBuilder().append(orm.ProcessNode, filters={"id": state.pk}, project=f"extras.{PROGRESS_EXTRA}")
    found = query.first(flat=True)
    return _counts(found, ("labelled", "failed", "running", "waiting")) if found else ""


def _history(state: State) -> History:
    """Return the history of the newest step that made one; an empty one before there is any."""
    steps = [child for child in state.children if _HISTORY.fullmatch(child.step) and not child.failed]
    for child in sorted(steps, key=lambda child: -child.pk):
        query = orm.QueryBuilder().append(orm.ProcessNode, filters={"id": child.pk}, tag="step")
        query.append(orm.Dict, with_incoming="step", edge_filters={"type": LinkType.CREATE.value})
        node = query.first(flat=True)
        try:
            return History(**node.get_dict()) if node is not None else History()
        except ValidationError:
            continue
    return History()


def _line(record: GenerationRecord) -> str:
    """Return e.g. ``generation 2: 40 accurate, 8 candidate, 2 failed · E 4.2 meV/atom · F 83 meV/Å``."""
    parts = []
    if record.selection is not None:
        parts.append(_counts(record.selection.model_dump(), ("accurate", "candidate", "failed"), zeros=True))
    parts += _errors(record.errors)
    if record.labels:
        done = {"done": record.labels["labelled"], "failed": len(record.labels["failed"])}
        parts.append(f"labels: {_counts(done, ('done', 'failed'))}")
    if record.converged:
        parts.append("converged")
    return f"generation {record.generation}: {' · '.join(parts)}"


def _errors(errors: Mapping[str, Any]) -> Iterator[str]:
    """Yield the held-out errors of the committee, or of the only member."""
    table = errors.get("committee") or (next(iter(errors.values())) if len(errors) == 1 else {})
    cell = table.get("all", {})
    for quantity, name, unit in (("energy", "E", "meV/atom"), ("forces", "F", "meV/Å")):
        if quantity in cell:
            yield f"{name} {cell[quantity]['rmse'] * 1e3:.3g} {unit}"


def _start_line(report: Mapping[str, Any]) -> str:
    done = {"done": report["labelled"], "failed": len(report.get("failed", ()))}
    return f"first set: labels: {_counts(done, ('done', 'failed'))}"


def _now(state: State) -> Iterator[str]:
    """Yield what is being done; labels that a generation asked for are its last step."""
    running = [child for child in state.children if child.active]
    for child in running[:1]:
        found = _STEP.match(child.step)
        if found is None:
            yield "labelling the first set" if child.step == "label_start" else child.step
        else:
            yield f"generation {int(found['generation'])}: {_DOING.get(found['name'], found['name'])}"


def _counts(values: Mapping[str, Any], words: tuple[str, ...], *, zeros: bool = False) -> str:
    return ", ".join(f"{values[word]} {word}" for word in words if zeros or values.get(word))
