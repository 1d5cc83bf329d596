"""An iterative training as a report reads it: its generations, the processes of each, and what both cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.common.links import LinkType

from aiida_mlip.schema.iterative import GenerationRecord, History, Survival
from aiida_mlip.schema.labelling import LabelReport

if TYPE_CHECKING:
    from aiida_mlip.report.subject import Subject

ITERATIVE = "mlip.iterative_training"

COMMITTEE = "committee"
"""Name of the mean of all members among errors."""

FIRST_SET = "first set"
"""What the labelling of the first set is called."""

_STEP = re.compile(r"g(\d+)_(.+)")


@dataclass(frozen=True)
class Generation:
    """One generation: its record, and name of a step (``train_00``, ``md``, ...) -> its process."""

    record: GenerationRecord
    steps: Mapping[str, orm.ProcessNode]

    @property
    def number(self) -> int:
        """Return its number; the first is 1."""
        return self.record.generation

    @property
    def title(self) -> str:
        """Return what it is called on a page."""
        return f"generation {self.number}"

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names of the members that have errors, without the committee."""
        return tuple(name for name in self.record.errors if name != COMMITTEE)

    def table(self, member: str = COMMITTEE) -> Mapping[str, Any]:
        """Return the error table on the hold-out set; of the only member where there is no committee."""
        found = self.record.errors.get(member)
        if found is None and member == COMMITTEE and len(self.record.errors) == 1:
            found = next(iter(self.record.errors.values()))
        return found or {}

    @property
    def measured_on(self) -> str:
        """Return the set that the errors are of: the validation set where nothing was held out."""
        frames = self.record.frames
        return "validation set" if "validation" in frames and "holdout" not in frames else "hold-out set"

    def error(self, quantity: str, member: str = COMMITTEE) -> float | None:
        """Return the root mean square error on the hold-out set [eV/atom, eV/Å, eV/Å^3]."""
        number = self.table(member).get("all", {}).get(quantity, {}).get("rmse")
        return None if number is None else float(number)

    @cached_property
    def labels(self) -> LabelReport | None:
        """Return what became of the configurations that were to be labelled; None where none were asked for."""
        return label_report(self.record.labels)

    @property
    def survived(self) -> tuple[int, int]:
        """Return how many walkers reached the end of what was asked of them, and how many there were."""
        walkers = self.record.survival
        return sum(walker.stopped_by is None for walker in walkers), len(walkers)

    @property
    def survived_share(self) -> float | None:
        """Return the mean over the walkers of the survived part of the time asked for."""
        return mean_share(self.record.survival)


@dataclass(frozen=True)
class Loop:
    """All generations that are there, those of earlier runs first."""

    history: History
    generations: tuple[Generation, ...]

    @property
    def first(self) -> Generation:
        """Return the first generation."""
        return self.generations[0]

    @property
    def last(self) -> Generation:
        """Return the last generation."""
        return self.generations[-1]

    @property
    def measured(self) -> tuple[Generation, ...]:
        """Return the generations with errors on the hold-out set."""
        return tuple(item for item in self.generations if item.table())

    @property
    def start(self) -> LabelReport | None:
        """Return the labelling of the first set; None where it was given with its labels."""
        return label_report(self.history.start)

    @property
    def label_reports(self) -> tuple[tuple[str, LabelReport], ...]:
        """Return (``first set`` or ``generation n``, report) of all labelling."""
        found = [(FIRST_SET, self.start), *((item.title, item.labels) for item in self.generations)]
        return tuple((name, report) for name, report in found if report is not None)


@dataclass(frozen=True)
class Saving:
    """What selection saved against labelling every frame that passed the geometry filters; an estimate.

    :param frames: frames of the strided trajectories that passed the filters.
    :param asked: of these, frames that were sent to be labelled.
    :param seconds: mean core-seconds of a label that was computed.
    """

    frames: int
    asked: int
    seconds: float | None

    @property
    def core_seconds(self) -> float | None:
        """Return the core-seconds that were not spent; None where no label was computed."""
        return None if self.seconds is None else (self.frames - self.asked) * self.seconds


def loop_of(subject: Subject) -> Loop | None:
    """Return the generations of a process; None where there are none, or it is of another kind."""
    if subject.kind != ITERATIVE:
        return None
    history = _history(subject)
    if not history.generations:
        return None
    return Loop(history, tuple(Generation(item, _steps(subject, item)) for item in history.generations))


def _history(subject: Subject) -> History:
    """Return the history that came out; of a process that has not ended, the newest one it made."""
    from aiida_mlip.report.subject import has_output  # noqa: PLC0415 - that module reads loops

    if has_output(subject.node, "history"):
        return History.model_validate(subject.node.outputs.history.get_dict())
    for step in reversed(list(subject.steps.values())):
        if isinstance(step, orm.CalcFunctionNode):
            for content in _dicts(step):
                if "generations" in content:
                    return History.model_validate(content)
    return History()


def _dicts(step: orm.ProcessNode) -> list[Mapping[str, Any]]:
    made = step.base.links.get_outgoing(link_type=LinkType.CREATE).all_nodes()
    return [node.get_dict() for node in made if isinstance(node, orm.Dict)]


def _steps(subject: Subject, record: GenerationRecord) -> Mapping[str, orm.ProcessNode]:
    """Return the steps of a generation that are in this database, whichever run made them."""
    own = {
        found[2]: node
        for label, node in subject.steps.items()
        if (found := _STEP.fullmatch(label)) and int(found[1]) == record.generation
    }
    for label, uuid in record.processes.items():
        matched = _STEP.fullmatch(label)
        name = matched[2] if matched else label
        if name not in own and (node := stored(uuid)) is not None:
            own[name] = node
    if "label" not in own and "select" in own and (job := labelling_of(own["select"])) is not None:
        own["label"] = job
    return own


def labelling_of(select: orm.ProcessNode) -> orm.ProcessNode | None:
    """Return the process that labelled what was selected, whole or cut to a budget; None where there is none yet."""
    todo = select.base.links.get_outgoing(link_label_filter="selected").all_nodes()
    while todo:
        for link in todo.pop().base.links.get_outgoing(link_type=(LinkType.INPUT_WORK, LinkType.INPUT_CALC)).all():
            if link.link_label == "configurations":
                return link.node
            if link.link_label == "selected" and isinstance(link.node, orm.CalcFunctionNode):
                made = link.node.base.links.get_outgoing(link_type=LinkType.CREATE).all_nodes()
                todo += [node for node in made if node.node_type.startswith("data.mlip.dataset.")]
    return None


def stored(uuid: str) -> Any:
    """Return the node with this uuid, or None where it is not in this database."""
    try:
        return orm.load_node(uuid) if uuid else None
    except NotExistent:
        return None


def label_report(content: Mapping[str, Any]) -> LabelReport | None:
    """Return the report, None where the content is empty."""
    return LabelReport.model_validate(content) if content else None


def mean_share(walkers: Iterable[Survival]) -> float | None:
    """Return the mean over walkers of survived over asked time."""
    shares = [walker.survived_ps / walker.asked_ps for walker in walkers if walker.asked_ps > 0]
    return sum(shares) / len(shares) if shares else None


def saving(loop: Loop) -> Saving | None:
    """Return what selection saved; None before any selected frame was labelled.

    Counted are the generations that others were trained after: what the last one saw would not have been labelled.
    The mean cost of a label is that over all labels that were computed, those of the first set included: core-seconds
    of all labelling, failed ones too, over the number of labels that came out new.
    """
    followed = [item for item in loop.generations if item is not loop.last or item.labels is not None]
    counts = [item.record.selection for item in followed if item.record.selection is not None]
    if not counts:
        return None
    reports = [report for _, report in loop.label_reports]
    computed = sum(report.labelled - report.reused for report in reports)
    spent = sum(report.core_seconds for report in reports)
    return Saving(
        frames=sum(count.frames - count.filtered for count in counts),
        asked=sum(report.asked for name, report in loop.label_reports if name != FIRST_SET),
        seconds=spent / computed if computed > 0 and spent > 0 else None,
    )


__all__ = [
    "COMMITTEE", "ITERATIVE", "Generation", "Loop", "Saving", "label_report", "loop_of", "mean_share", "saving",
    "stored",
]  # fmt: skip
