"""``mlip.label``: label configurations with pw.x, or with a potential or any ASE calculator."""

from __future__ import annotations

import time
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ProcessSpec, ToContext, if_, while_

from aiida_mlip.calculations import labelling
from aiida_mlip.calculations.label import LabelCalculation
from aiida_mlip.calculations.labelling import FRAME
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.labelling import PROGRESS_EXTRA, LabelSettings
from aiida_mlip.science.labelling.address import firsts, potential_method
from aiida_mlip.workchains import label_inputs, label_sources
from aiida_mlip.workchains.label_base import LabelBaseWorkChain
from aiida_mlip.workchains.label_lookup import find_batches, find_pw
from aiida_mlip.workchains.label_pw import PwLabelWorkChain
from aiida_mlip.workchains.reasons import reason_of
from aiida_mlip.workchains.window import WindowedWorkChain


class LabelWorkChain(WindowedWorkChain):
    """Label each configuration once: what the database has is taken, twins share a label, and failures are counted.

    With ``pw``, each configuration is a run of pw.x of its own, a window of them at a time. With ``batch``, all are
    labelled in one job. The labels of old and new calculations alike are collected by one calculation, so that each
    frame of the set is linked to the run that its numbers came from.
    """

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input("configurations", valid_type=DatasetData, help="What is to be labelled; old labels do not count.")
        spec.input(
            "settings",
            valid_type=orm.Dict,
            serializer=label_inputs.complete_settings,
            default=lambda: label_inputs.complete_settings({}),
            help="Fields of LabelSettings: outliers, failures, isolated atoms, reuse, window.",
        )
        spec.expose_inputs(
            PwLabelWorkChain,
            namespace="pw",
            exclude=("pw.structure", "pw.parent_folder", "address"),
            namespace_options={"required": False, "populate_defaults": False, "help": "Label with pw.x."},
        )
        spec.inputs["pw"]["pw"]["pseudos"].required = False
        spec.input(
            "pw.pseudo_family",
            valid_type=orm.Str,
            serializer=orm.to_aiida_type,
            required=False,
            help="Label of an installed family of pseudopotentials, instead of pw.pw.pseudos.",
        )
        spec.expose_inputs(
            LabelCalculation,
            namespace="batch",
            exclude=("configurations", "restart_folder"),
            namespace_options={"required": False, "populate_defaults": False, "help": "Label with a potential."},
        )
        spec.inputs.validator = label_inputs.validate_label
        spec.outline(
            cls.setup,
            cls.find_labels,
            if_(cls.is_batch)(cls.run_batch, cls.inspect_batch).else_(
                cls.prepare_runs,
                while_(cls.has_runs)(cls.keep_window_full),
            ),
            cls.collect,
            cls.judge,
        )
        spec.output("labelled", valid_type=DatasetData, required=False, help="In the order of the input.")
        spec.output("report", valid_type=orm.Dict, required=False, help="Fields of LabelReport.")
        spec.exit_code(450, "ERROR_PREPARATION_FAILED", message="The inputs of pw.x cannot be made: {message}")
        spec.exit_code(460, "ERROR_NO_LABEL", message="All {asked} labels failed, the first with: {reason}")
        spec.exit_code(461, "ERROR_TOO_MANY_FAILED", message="{failed} of {asked} labels failed: {reasons}")
        spec.exit_code(462, "ERROR_BATCH_FAILED", message="The batch did not get to its end: {message}")

    get_builder_from_protocol = classmethod(label_inputs.label_builder)

    def setup(self) -> None:
        """Begin with an empty window."""
        self.setup_window()
        self.ctx.started = time.time()
        self.ctx.next = 0
        self.ctx.failures = 0
        self.ctx.broken = ""

    def is_batch(self) -> bool:
        """Return whether a potential makes the labels."""
        return "batch" in self.inputs

    def find_labels(self) -> Any:
        """Look up what the database has, and queue the others; of those that are alike only the first."""
        try:
            addresses = [planned.address for planned in self._plan]
        except ValueError as error:
            return self.exit_codes.ERROR_PREPARATION_FAILED.format(message=str(error))
        found = self._look_up(addresses) if self._settings.reuse else {}
        self.ctx.asked = len(addresses)
        self.ctx.reused = [index for index, address in enumerate(addresses) if address in found]
        unique = sorted(set(firsts(addresses)))
        self.ctx.queue = [index for index in unique if addresses[index] not in found]
        self.report(
            f"{self.ctx.asked} configurations, {self.ctx.asked - len(unique)} of them alike; "
            f"{len(unique) - len(self.ctx.queue)} labels are in the database, {len(self.ctx.queue)} to make"
        )
        self._tell()
        return None

    def run_batch(self) -> Any:
        """Label what has no label in one job."""
        if not self.ctx.queue:
            return None
        inputs = AttributeDict(self.exposed_inputs(LabelCalculation, "batch"))
        inputs.configurations = self.inputs.configurations
        if self.ctx.queue != list(range(len(self.inputs.configurations))):
            inputs.configurations = labelling.pick_frames(
                self.inputs.configurations,
                self.inputs.settings,
                orm.List(self.ctx.queue),
                metadata={"call_link_label": "pick_frames"},
            )
        metadata = {"call_link_label": "label_batch", "label": "label_batch"}
        return ToContext(batch=self.submit(LabelBaseWorkChain, label=inputs, metadata=metadata))

    def inspect_batch(self) -> None:
        """Take note of a batch that did not get to its end."""
        node = self.ctx.get("batch")
        if node is not None and not (node.is_finished_ok or node.exit_status == 411):
            self.ctx.broken = reason_of(node)
            self.report(self.ctx.broken)

    def prepare_runs(self) -> Any:
        """Make structures, k-points and parameters of pw.x."""
        if not self.ctx.queue:
            return None
        elements = label_inputs.elements_of(self.inputs.configurations, self._settings)
        _, process = labelling.prepare_pw.run_get_node(
            self.inputs.configurations,
            self.inputs.settings,
            self.inputs.pw.pw.parameters,
            orm.List(self.ctx.queue),
            pseudos=label_inputs.pseudos_of(self.inputs.pw, elements),
            kpoints=label_inputs.kpoints_of(self.inputs.pw),
            metadata={"call_link_label": "prepare_pw"},
        )
        if not process.is_finished_ok:
            return self.exit_codes.ERROR_PREPARATION_FAILED.format(message=process.exit_message)
        self.ctx.prepared = process.pk
        return None

    def has_runs(self) -> bool:
        """Return whether a run waits or is in the window."""
        return bool(self.ctx.running) or (bool(self.ctx.queue[self.ctx.next :]) and not self._hopeless())

    def keep_window_full(self) -> Any:
        """Look at the runs that have ended, submit as many others, and wait for the first that ends."""
        for label, node in self.leave_window():
            if not node.is_finished_ok:
                self.ctx.failures += 1
                self.report(f"{label}: {reason_of(node)}")
        asked = self._settings.max_concurrent
        size = asked if asked is not None else label_inputs.default_window(self.inputs.pw.pw)
        free = size - len(self.ctx.running) if not self._hopeless() else 0
        chosen = self.ctx.queue[self.ctx.next : self.ctx.next + free]
        for index in chosen:
            self.enter_window(FRAME.format(index), self._submit_run(index))
        self.ctx.next += len(chosen)
        self._tell()
        return self.wait_for_any()

    def collect(self) -> None:
        """Make the labelled set and the report from all labels, old and new."""
        self.ctx.pop("window", None)
        found = label_sources.of_batch if self.is_batch() else label_sources.of_runs
        sources, failed = found(self.node, self.ctx.queue, self._reused_nodes(), self.ctx.broken)
        outcome: dict[str, Any] = {
            "plane_waves": not self.is_batch(),
            "failed": failed,
            "reused": self.ctx.reused,
            "wall_seconds": time.time() - self.ctx.started if self.ctx.queue else 0.0,
            "core_seconds": label_sources.core_seconds(self.node),
            **({} if self.is_batch() else label_inputs.theory_of(self.inputs, self._settings)),
        }
        nodes = labelling.collect_labels(
            self.inputs.configurations,
            self.inputs.settings,
            orm.Dict(outcome),
            **sources,
            metadata={"call_link_label": "collect_labels"},
        )
        self.out_many(nodes)
        self.ctx.summary = nodes["report"].get_dict()
        self._tell()

    def judge(self) -> Any:
        """End with an error where too much failed; what is labelled is attached all the same."""
        report = self.ctx.summary
        failed = [f"{item['index']}: {item['reason']}" for item in report["failed"]]
        for line in failed:
            self.report(f"no label for configuration {line}")
        if self.ctx.broken:
            return self.exit_codes.ERROR_BATCH_FAILED.format(message=self.ctx.broken)
        if not report["labelled"]:
            return self.exit_codes.ERROR_NO_LABEL.format(asked=report["asked"], reason=report["failed"][0]["reason"])
        if len(failed) > self._settings.max_failed_fraction * report["asked"]:
            more = [f"and {len(failed) - 3} more, see the report"] if len(failed) > 3 else []
            reasons = "; ".join([*failed[:3], *more])
            return self.exit_codes.ERROR_TOO_MANY_FAILED.format(
                failed=len(failed), asked=report["asked"], reasons=reasons
            )
        return None

    @property
    def _settings(self) -> LabelSettings:
        return LabelSettings(**self.inputs.settings.get_dict())

    def _reused_nodes(self) -> dict[int, orm.Node]:
        """Return index -> node that has the label, of those that are alike the first."""
        wanted = {self._plan[index].address: index for index in reversed(self.ctx.reused)}
        found = self._look_up(list(wanted)) if wanted else {}
        return {wanted[address]: orm.load_node(pk) for address, pk in found.items()}

    @property
    def _plan(self) -> list[label_inputs.Planned]:
        """Return the address of each label, and what pw.x gets for it; kept while this process is in memory."""
        known: list[label_inputs.Planned] | None = self.__dict__.get("_known_plan")
        if known is None:
            known = label_inputs.plan(self.inputs, self._settings)
            self.__dict__["_known_plan"] = known
        return known

    def _look_up(self, addresses: list[str]) -> dict[str, int]:
        if not self.is_batch():
            return find_pw(addresses)
        batch = self.inputs.batch
        method = potential_method(batch.potential.info.model_dump(mode="json"), batch.settings.get_dict())
        return find_batches(method, addresses)

    def _hopeless(self) -> bool:
        """Return whether more have failed than may, so that nothing more is submitted."""
        return bool(self.ctx.failures > self._settings.max_failed_fraction * self.ctx.asked)

    def _submit_run(self, index: int) -> orm.WorkChainNode:
        """Submit the run of one configuration."""
        prepared = orm.load_node(self.ctx.prepared).outputs
        planned = self._plan[index]
        structure = prepared[FRAME.format(index)]
        inputs = AttributeDict(self.exposed_inputs(PwLabelWorkChain, "pw"))
        inputs.pw = AttributeDict(inputs.pw)
        inputs.pw.structure = structure
        inputs.pw.parameters = prepared[planned.parameters_name]
        inputs.pw.pseudos = label_inputs.pseudos_of(self.inputs.pw, structure.get_kind_names())
        for name in ("kpoints_distance", "kpoints_force_parity"):
            inputs.pop(name, None)
        inputs.kpoints = prepared[planned.mesh_name]
        inputs.address = planned.address
        inputs.metadata = {"call_link_label": FRAME.format(index), "label": structure.label}
        return self.submit(PwLabelWorkChain, **inputs)

    def _tell(self) -> None:
        """Leave the counts where `aiida-mlip status` finds them."""
        running, waiting = len(self.ctx.running), len(self.ctx.queue) - self.ctx.next
        done = self.ctx.next - running - self.ctx.failures + len(self.ctx.reused)
        counts = {"asked": self.ctx.asked, "labelled": done, "failed": self.ctx.failures}
        if (summary := self.ctx.get("summary")) is not None:
            counts, running, waiting = {**counts, **_counts(summary)}, 0, 0
        elif self.is_batch():
            running, waiting = len(self.ctx.queue), 0
        self.node.base.extras.set(PROGRESS_EXTRA, {**counts, "running": running, "waiting": waiting})


def _counts(report: dict[str, Any]) -> dict[str, int]:
    return {"labelled": report["labelled"], "failed": len(report["failed"])}


__all__ = ("LabelWorkChain",)
