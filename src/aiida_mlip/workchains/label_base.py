"""``mlip.label.base``: a batch of labels that is computed to the end, in as many jobs as its wall time needs."""

from __future__ import annotations

from aiida.engine import ProcessHandlerReport, ProcessSpec, process_handler
from aiida.orm import CalcJobNode, Int

from aiida_mlip.calculations.label import LabelCalculation
from aiida_mlip.workchains.restart_families import RestartChain, families_of

_FAMILIES = families_of(LabelCalculation)
_LOST_OR_KILLED = [
    *_FAMILIES.lost,
    # Signal 9 may be the kernel's or a person's; what is labelled is on the disk, and memory is free again.
    *_FAMILIES.out_of_memory,
]


class LabelBaseWorkChain(RestartChain):
    """Run ``mlip.label`` until every configuration has a label or a reason why it has none.

    A job that ran out of time or was lost is continued from the labels that it wrote. What is labelled is returned
    also where the rest failed.
    """

    _process_class = LabelCalculation

    FAILED = "ERROR_LABELLING_FAILED"

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        cls.define_restarts(spec, "label")
        spec.inputs["max_iterations"].default = lambda: Int(20)
        spec.exit_code(411, "ERROR_NO_LABEL", message="Not one configuration could be labelled: {message}")
        spec.exit_code(450, "ERROR_LABELLING_FAILED", message="A restart does not repair this: {message}")
        spec.exit_code(451, "ERROR_NO_PROGRESS", message="Nothing was labelled since the last restart: {message}")
        spec.exit_code(452, "ERROR_WALLTIME_TOO_SHORT", message="Not even one label fits into the time: {message}")
        spec.exit_code(455, "ERROR_JOB_LOST_AGAIN", message="The job was lost twice: {message}")

    def setup(self) -> None:
        """Prepare the inputs of the first job."""
        self.setup_restarts("label")
        self.ctx.reached = 0

    @process_handler(priority=600, exit_codes=_FAMILIES.out_of_time)
    def handle_out_of_time(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Go on from the labels there are; remedy where nothing was gained: ask for more time."""
        reached = _reached(node)
        if not reached:
            return self._stop("ERROR_WALLTIME_TOO_SHORT", node)
        if reached == self.ctx.reached:
            return self._stop("ERROR_NO_PROGRESS", node)
        self.ctx.reached = reached
        self.ctx.resubmissions = 0
        self.ctx.inputs.restart_folder = node.outputs.remote_folder
        return self._repaired(node, f"out of time after {reached} configurations; going on from there")

    @process_handler(priority=560, exit_codes=_LOST_OR_KILLED)
    def handle_lost_job(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Submit again, once, from the labels that reached the disk: a node failed, or the job was killed."""
        if not self._may_resubmit():
            return self._stop("ERROR_JOB_LOST_AGAIN", node)
        return self._go_on_after(node, "the job was lost", left_something=bool(_reached(node)))

    @process_handler(priority=550, exit_codes=LabelCalculation.exit_codes.ERROR_NO_LABEL)
    def handle_no_label(self, node: CalcJobNode) -> ProcessHandlerReport:
        """End as the job did: it ran to the end, and its results say why there is no label."""
        return self._stop("ERROR_NO_LABEL", node)


def _reached(node: CalcJobNode) -> int:
    """Return how many configurations have a label or a reason."""
    if "results" not in node.outputs:
        return 0
    counts = node.outputs.results.get_dict().get("counts", {})
    return int(counts.get("asked", 0)) - int(counts.get("not_reached", 0))


__all__ = ("LabelBaseWorkChain",)
