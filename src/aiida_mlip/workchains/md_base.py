"""``mlip.md.base``: molecular dynamics to the end of its schedule, in as many jobs as the wall time needs."""

from __future__ import annotations

import json

from aiida.engine import ProcessHandlerReport, ProcessSpec, process_handler
from aiida.orm import CalcJobNode, Int

from aiida_mlip.calculations.md import MDCalculation
from aiida_mlip.schema.dynamics import WALKERS_FILE
from aiida_mlip.workchains.restart_families import RestartChain, families_of, was_killed

_FAMILIES = families_of(MDCalculation)


class MDBaseWorkChain(RestartChain):
    """Run ``mlip.md`` until every walker has ended.

    A job that ran out of time or was lost is continued from the last checkpoint of each walker; the trajectories of the
    last job are whole. Each family of failures has one handler below.
    """

    _process_class = MDCalculation

    FAILED = "ERROR_DYNAMICS_FAILED"

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        cls.define_restarts(spec, "md")
        spec.inputs["max_iterations"].default = lambda: Int(20)
        spec.exit_code(420, "ERROR_NO_STABLE_STEP", message="No walker made one stable step: {message}")
        spec.exit_code(450, "ERROR_DYNAMICS_FAILED", message="A restart does not repair this: {message}")
        spec.exit_code(451, "ERROR_NO_PROGRESS", message="No step was made since the last restart: {message}")
        spec.exit_code(452, "ERROR_WALLTIME_TOO_SHORT", message="Not even one step fits into the time: {message}")
        spec.exit_code(453, "ERROR_MEMORY_TOO_SMALL", message="The configurations do not fit: {message}")
        spec.exit_code(455, "ERROR_JOB_LOST_AGAIN", message="The job was lost twice: {message}")

    def setup(self) -> None:
        """Prepare the inputs of the first job."""
        self.setup_restarts("md")
        self.ctx.steps = 0

    @process_handler(priority=600, exit_codes=_FAMILIES.out_of_time)
    def handle_out_of_time(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Go on from the checkpoints; remedy where nothing was gained: ask for more time."""
        steps = _steps(node)
        if not steps:
            return self._stop("ERROR_WALLTIME_TOO_SHORT", node)
        if steps <= self.ctx.steps:
            return self._stop("ERROR_NO_PROGRESS", node)
        self.ctx.steps = steps
        self.ctx.resubmissions = 0
        self.ctx.inputs.restart_folder = node.outputs.remote_folder
        return self._repaired(node, f"out of time after {steps} steps of all walkers; going on from there")

    @process_handler(priority=580, exit_codes=_FAMILIES.out_of_memory)
    def handle_out_of_memory(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Stop: the same cells need the same memory. Remedy: more memory, ``float32``, or smaller cells.

        Where the job was killed, and nothing speaks of memory, it is submitted again once.
        """
        if was_killed(node) and self._may_resubmit():
            return self._go_on_after(node, "the job was killed", left_something=bool(_steps(node)))
        return self._stop("ERROR_MEMORY_TOO_SMALL", node)

    @process_handler(priority=560, exit_codes=_FAMILIES.lost)
    def handle_lost_job(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Submit again, once, from the last checkpoints if there are any: a node failed, or the job was killed."""
        if not self._may_resubmit():
            return self._stop("ERROR_JOB_LOST_AGAIN", node)
        return self._go_on_after(node, "the job was lost", left_something=bool(_steps(node)))

    @process_handler(priority=550, exit_codes=MDCalculation.exit_codes.ERROR_NO_STABLE_STEP)
    def handle_no_stable_step(self, node: CalcJobNode) -> ProcessHandlerReport:
        """End as the job did: every walker was stopped at once, and the results say by which rule."""
        return self._stop("ERROR_NO_STABLE_STEP", node)


def _steps(node: CalcJobNode) -> int:
    """Return the steps of all walkers that a job and those before it wrote down; 0 where it left nothing."""
    if "retrieved" not in node.outputs:
        return 0
    repository = node.outputs.retrieved.base.repository
    if WALKERS_FILE not in repository.list_object_names():
        return 0
    progress = json.loads(repository.get_object_content(WALKERS_FILE))
    return sum(walker["steps"] for walker in progress.values())


__all__ = ("MDBaseWorkChain",)
