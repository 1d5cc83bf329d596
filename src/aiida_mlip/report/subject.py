"""The process a report is about: its steps, results and outputs, read once and found by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.tools.graph.graph_traversers import traverse_graph

from aiida_mlip.provenance.ancestry import Ancestry, ancestry
from aiida_mlip.report.electrolyte import Liquids, liquids_of
from aiida_mlip.report.loop import Generation, Loop, loop_of
from aiida_mlip.report.measured import Measured

BASELINE = "baseline"
"""Name of the potential that a fine-tuning, or the first generation of a loop, is compared with."""

_CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)


class Subject:
    """One process of ours, finished or not.

    Members of a committee are called ``member_00`` and so on; a training by itself is ``training``.

    :param node: a stored process.
    """

    def __init__(self, node: orm.ProcessNode) -> None:
        self.node = node
        self.kind = str(node.process_type or "").partition(":")[2]

    @cached_property
    def steps(self) -> Mapping[str, orm.ProcessNode]:
        """Return call link label -> process that this one called, in order of their start."""
        if not isinstance(self.node, orm.WorkflowNode):
            return {}
        links = self.node.base.links.get_outgoing(link_type=_CALLS).all()
        return {link.link_label: link.node for link in sorted(links, key=lambda link: link.node.pk)}

    @cached_property
    def loop(self) -> Loop | None:
        """Return the generations of an iterative training; None for another process, and before the first one."""
        return loop_of(self)

    @cached_property
    def liquids(self) -> Liquids | None:
        """Return what was found in liquids; None for another process, and before anything was found."""
        return liquids_of(self)

    @cached_property
    def trainings(self) -> Mapping[str, orm.ProcessNode]:
        """Return member -> its training; of an iterative training, those of the last generation."""
        if self.kind in ("mlip.train", "mlip.train.base"):
            return {"training": self.node}
        if self.loop is not None:
            return _members(self.loop.last, "train")
        return {f"member_{label[6:]}": node for label, node in self.steps.items() if label.startswith("train_")}

    @cached_property
    def evaluations(self) -> Mapping[str, orm.ProcessNode]:
        """Return member or ``baseline`` -> the evaluation of its potential.

        Those of an iterative training are from the last generation; the baseline is the same member in the first one.
        """
        if self.kind == "mlip.evaluate":
            return {"evaluation": self.node}
        if self.loop is not None:
            return self._of_generations(self.loop)
        return self._measured("evaluation")

    @cached_property
    def properties(self) -> Mapping[str, orm.ProcessNode]:
        """Return member or ``baseline`` -> the calculation of its properties."""
        if self.kind in ("mlip.property", "mlip.property.base"):
            return {"properties": self.node}
        return self._measured("properties")

    def _of_generations(self, loop: Loop) -> Mapping[str, orm.ProcessNode]:
        measured = loop.measured
        if not measured:
            return {}
        first, last = (_members(item, "evaluate") for item in (measured[0], measured[-1]))
        before = first.get(_best_of(loop, self.potential) or next(iter(last), ""))
        return last if len(measured) == 1 or before is None else {BASELINE: before, **last}

    def _measured(self, what: str) -> Mapping[str, orm.ProcessNode]:
        found = {
            f"member_{label[len(what) + 1 :]}": node
            for label, node in self.steps.items()
            if label.startswith(f"{what}_")
        }
        baseline = self.steps.get(f"{BASELINE}_{what}")
        return {BASELINE: baseline, **found} if baseline is not None else found

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """Return what the process itself made of its parts; empty where it did not get there."""
        return dict(self.node.outputs.summary.get_dict()) if has_output(self.node, "summary") else {}

    @cached_property
    def measured(self) -> Measured | None:
        """Return the properties of all potentials beside reference values; None where there are none."""
        from aiida_mlip.report.gather import measured  # noqa: PLC0415 - that module reads subjects

        return measured(self)

    @cached_property
    def best(self) -> str | None:
        """Return the member that counts: the one chosen by the process, or the first that was evaluated or trained."""
        if "best" in self.summary:
            return str(self.summary["best"])
        if self.loop is not None and (found := _best_of(self.loop, self.potential)) is not None:
            return found
        names = [name for name in (*self.evaluations, *self.trainings) if name != BASELINE]
        return names[0] if names else None

    @cached_property
    def audits(self) -> Mapping[str, Mapping[str, Any]]:
        """Return name -> what an audit of the data found."""
        found: dict[str, Mapping[str, Any]] = {}
        for label, node in self.steps.items():
            made = node.base.links.get_outgoing(link_type=LinkType.CREATE).all_nodes()
            reports = [data.get_dict() for data in made if isinstance(data, orm.Dict)]
            if label.startswith("audit") and reports:
                found[label] = reports[0]
        return found

    @cached_property
    def datasets(self) -> Mapping[str, orm.Data]:
        """Return set -> its node, as the evaluations or trainings had it."""
        for node in (*self.evaluations.values(), *self.trainings.values()):
            found = {
                link.link_label.removeprefix("datasets__").removeprefix("train__"): link.node
                for link in node.base.links.get_incoming(link_type=(LinkType.INPUT_CALC, LinkType.INPUT_WORK)).all()
                if link.node.node_type.startswith("data.mlip.dataset.")
            }
            if found:
                return {name.removesuffix("_set"): data for name, data in found.items()}
        return {}

    @cached_property
    def potential(self) -> orm.Data | None:
        """Return the potential that came out, or None."""
        return self.node.outputs.potential if has_output(self.node, "potential") else None

    @cached_property
    def foundation(self) -> orm.Data | None:
        """Return the potential that went in, or None."""
        labels = ("potential", "train__potential", "property__potential")
        links = self.node.base.links.get_incoming(link_type=(LinkType.INPUT_CALC, LinkType.INPUT_WORK)).all()
        return next((link.node for link in links if link.link_label in labels), None)

    @cached_property
    def graph(self) -> Ancestry:
        """Return the ancestry of what came out, or of what went in while nothing has."""
        return ancestry(self.potential or self.node)

    @cached_property
    def jobs(self) -> tuple[orm.CalcJobNode, ...]:
        """Return all jobs this process ran, itself included, in order."""
        if isinstance(self.node, orm.CalcJobNode):
            return (self.node,)
        found = traverse_graph([self.node.pk], links_forward=_CALLS)["nodes"]
        query = orm.QueryBuilder().append(orm.CalcJobNode, filters={"id": {"in": sorted(found)}})
        return tuple(sorted(query.all(flat=True), key=_pk))

    @cached_property
    def element(self) -> str:
        """Return the elements of the training data, e.g. ``W`` or ``W-Re``."""
        for name in ("training", "train", *self.datasets):
            if name in self.datasets:
                return "-".join(self.datasets[name].elements)
        return ""


def _members(generation: Generation, what: str) -> Mapping[str, orm.ProcessNode]:
    """Return member -> its step of this kind, e.g. of ``train``."""
    found = {label: node for label, node in generation.steps.items() if label.startswith(f"{what}_")}
    return {f"member_{label[len(what) + 1 :]}": found[label] for label in sorted(found)}


def _best_of(loop: Loop, potential: orm.Data | None) -> str | None:
    """Return the member of the last generation that came out."""
    uuids = loop.last.record.potentials
    return next((name for name, uuid in uuids.items() if potential is not None and potential.uuid == uuid), None)


def results(node: orm.ProcessNode | None) -> Mapping[str, Any]:
    """Return the results of one of our jobs; empty where there are none."""
    return dict(node.outputs.results.get_dict()) if node is not None and has_output(node, "results") else {}


def settings_of(node: orm.ProcessNode) -> Mapping[str, Any]:
    """Return the settings of a training, or of the training that a restart chain was asked for."""
    for label in ("settings", "train__settings"):
        found = node.base.links.get_incoming(link_label_filter=label).all_nodes()
        if found:
            return dict(found[0].get_dict())
    return {}


def has_output(node: orm.ProcessNode, label: str) -> bool:
    """Return whether the process has an output of this name."""
    return label in node.base.links.get_outgoing(link_type=(LinkType.CREATE, LinkType.RETURN)).all_link_labels()


def _pk(node: orm.Node) -> int:
    return int(node.pk)
