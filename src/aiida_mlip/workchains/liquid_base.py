"""``mlip.liquid.base``: trajectories that are read to the end, in as many jobs as the wall time needs."""

from __future__ import annotations

from aiida.engine import ProcessHandlerReport, ProcessSpec, process_handler
from aiida.orm import CalcJobNode, Int

from aiida_mlip.calculations.liquid import LiquidCalculation
from aiida_mlip.workchains.restart_families import RestartChain, families_of, was_killed

_FAMILIES = families_of(LiquidCalculation)


class LiquidBaseWorkChain(RestartChain):
    """Run ``mlip.liquid`` until every trajectory has been read.

    A job that ran out of time or was lost is continued: trajectories that it finished are not read again. What was
    found is returned also where the rest failed.
    """

    _process_class = LiquidCalculation

    FAILED = "ERROR_ANALYSIS_FAILED"

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        cls.define_restarts(spec, "liquid")
        spec.inputs["max_iterations"].default = lambda: Int(20)
        spec.exit_code(450, "ERROR_ANALYSIS_FAILED", message="A restart does not repair this: {message}")
        spec.exit_code(451, "ERROR_NO_PROGRESS", message="No trajectory was read since the last restart: {message}")
        spec.exit_code(452, "ERROR_WALLTIME_TOO_SHORT", message="Not one trajectory can be read in time: {message}")
        spec.exit_code(453, "ERROR_MEMORY_TOO_SMALL", message="The configurations do not fit: {message}")
        spec.exit_code(455, "ERROR_JOB_LOST_AGAIN", message="The job was lost twice: {message}")

    def setup(self) -> None:
        """Prepare the inputs of the first job."""
        self.setup_restarts("liquid")
        self.ctx.finished = 0

    @process_handler(priority=600, exit_codes=_FAMILIES.out_of_time)
    def handle_out_of_time(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Go on with the trajectories that are left; remedy where nothing was gained: ask for more time."""
        finished = _finished(node)
        if not finished:
            return self._stop("ERROR_WALLTIME_TOO_SHORT", node)
        if finished <= self.ctx.finished:
            return self._stop("ERROR_NO_PROGRESS", node)
        self.ctx.finished = finished
        self.ctx.resubmissions = 0
        self.ctx.inputs.restart_folder = node.outputs.remote_folder
        return self._repaired(node, f"out of time after {finished} trajectories; going on from there")

    @process_handler(priority=580, exit_codes=_FAMILIES.out_of_memory)
    def handle_out_of_memory(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Stop: the same frames need the same memory. Remedy: more memory, or fewer checks.

        Where the job was killed, and nothing speaks of memory, it is submitted again once.
        """
        if was_killed(node) and self._may_resubmit():
            return self._go_on_after(node, "the job was killed", left_something=bool(_finished(node)))
        return self._stop("ERROR_MEMORY_TOO_SMALL", node)

    @process_handler(priority=560, exit_codes=_FAMILIES.lost)
    def handle_lost_job(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Submit again, once, from what was found if there is anything: a node failed, or the job was killed."""
        if not self._may_resubmit():
            return self._stop("ERROR_JOB_LOST_AGAIN", node)
        return self._go_on_after(node, "the job was lost", left_something=bool(_finished(node)))


def _finished(node: CalcJobNode) -> int:
    """Return how many trajectories a job and those before it have read to the end."""
    return len(node.outputs.results["walkers"]) if "results" in node.outputs else 0


__all__ = ("LiquidBaseWorkChain",)
