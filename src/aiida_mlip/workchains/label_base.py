"""``mlip.label.base``: a batch of labels that is computed to the end, in as many jobs as its wall time needs."""

from __future__ import annotations

from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ProcessHandlerReport, ProcessSpec, process_handler, while_
from aiida.engine.processes.exit_code import ExitCode
from aiida.orm import CalcJobNode, Int

from aiida_mlip.calculations.label import LabelCalculation
from aiida_mlip.workchains.once import SubmitsOnce

_CODES = LabelCalculation.exit_codes
_OUT_OF_TIME = [
    _CODES.ERROR_WALLTIME_WITH_CHECKPOINT,
    _CODES.ERROR_WALLTIME_WITHOUT_CHECKPOINT,
    _CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME,
]
_LOST = [
    _CODES.ERROR_NO_RETRIEVED_FOLDER,
    _CODES.ERROR_SCHEDULER_NODE_FAILURE,
    _CODES.ERROR_NO_RESULT,
    _CODES.ERROR_UNREADABLE_RESULT,
    _CODES.ERROR_MISSING_FILE,
    # Signal 9 may be the kernel's or a person's; what is labelled is on the disk, and memory is free again.
    _CODES.ERROR_OUT_OF_MEMORY,
    _CODES.ERROR_SCHEDULER_OUT_OF_MEMORY,
]


class LabelBaseWorkChain(SubmitsOnce, BaseRestartWorkChain):
    """Run ``mlip.label`` until every configuration has a label or a reason why it has none.

    A job that ran out of time or was lost is continued from the labels that it wrote. What is labelled is returned
    also where the rest failed.
    """

    _process_class = LabelCalculation

    defaults = AttributeDict(
        {
            # A job that is lost twice in a row is not lost by chance.
            "max_resubmissions": 1,
        }
    )

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(LabelCalculation, namespace="label")
        spec.inputs["max_iterations"].default = lambda: Int(20)
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(
                cls.run_process,
                cls.inspect_process,
            ),
            cls.results,
        )
        spec.expose_outputs(LabelCalculation)
        spec.exit_code(411, "ERROR_NO_LABEL", message="Not one configuration could be labelled: {message}")
        spec.exit_code(450, "ERROR_LABELLING_FAILED", message="A restart does not repair this: {message}")
        spec.exit_code(451, "ERROR_NO_PROGRESS", message="Nothing was labelled since the last restart: {message}")
        spec.exit_code(452, "ERROR_WALLTIME_TOO_SHORT", message="Not even one label fits into the time: {message}")
        spec.exit_code(455, "ERROR_JOB_LOST_AGAIN", message="The job was lost twice: {message}")

    def setup(self) -> None:
        """Prepare the inputs of the first job."""
        super().setup()
        inputs = AttributeDict(self.exposed_inputs(LabelCalculation, "label"))
        inputs.metadata = AttributeDict(inputs.metadata)
        self.ctx.inputs = inputs
        self.ctx.reached = 0
        self.ctx.resubmissions = 0

    @process_handler(priority=600, exit_codes=_OUT_OF_TIME)
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

    @process_handler(priority=560, exit_codes=_LOST)
    def handle_lost_job(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Submit again, once, from the labels that reached the disk: a node failed, or the job was killed."""
        self.ctx.resubmissions += 1
        if self.ctx.resubmissions > self.defaults.max_resubmissions:
            return self._stop("ERROR_JOB_LOST_AGAIN", node)
        if _reached(node):
            self.ctx.inputs.restart_folder = node.outputs.remote_folder
        return self._repaired(node, "the job was lost; submitting it again")

    @process_handler(priority=550, exit_codes=_CODES.ERROR_NO_LABEL)
    def handle_no_label(self, node: CalcJobNode) -> ProcessHandlerReport:
        """End as the job did: it ran to the end, and its results say why there is no label."""
        return self._stop("ERROR_NO_LABEL", node)

    @process_handler(priority=0)
    def handle_everything_else(self, node: CalcJobNode) -> ProcessHandlerReport | None:
        """Stop with the message of the job: what it refused or could not import is the same the next time.

        Where ``on_unhandled_failure`` is given, the base class does what it says.
        """
        if node.is_finished_ok or "on_unhandled_failure" in self.inputs:
            return None
        return self._stop("ERROR_LABELLING_FAILED", node)

    def _repaired(self, node: CalcJobNode, what: str) -> ProcessHandlerReport:
        self.report(f"LabelCalculation<{node.pk}>: {what}")
        return ProcessHandlerReport(do_break=True)

    def _stop(self, label: str, node: CalcJobNode) -> ProcessHandlerReport:
        """End with an exit code, and with what the job has labelled."""
        message = f"LabelCalculation<{node.pk}> [{node.exit_status}] {node.exit_message}"
        code: ExitCode = self.exit_codes[label].format(message=message)
        self.report(code.message)
        if "results" in node.outputs:
            self.out_many(self.exposed_outputs(node, LabelCalculation))
        return ProcessHandlerReport(do_break=True, exit_code=code)


def _reached(node: CalcJobNode) -> int:
    """Return how many configurations have a label or a reason."""
    if "results" not in node.outputs:
        return 0
    counts = node.outputs.results.get_dict().get("counts", {})
    return int(counts.get("asked", 0)) - int(counts.get("not_reached", 0))


__all__ = ("LabelBaseWorkChain",)
