"""Families of failures that restart chains have in common, and how their handlers end."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ProcessHandlerReport, ProcessSpec, process_handler, while_
from aiida.engine.processes.exit_code import ExitCode
from aiida.orm import CalcJobNode

from aiida_mlip.calculations.base import MlipCalculation
from aiida_mlip.parsers.diagnosis import SIGNAL_9
from aiida_mlip.workchains.once import SubmitsOnce


class Families(NamedTuple):
    """Exit codes of a calculation that one handler answers."""

    out_of_time: list[ExitCode]
    out_of_memory: list[ExitCode]
    lost: list[ExitCode]


def families_of(calculation: type[MlipCalculation]) -> Families:
    """Return the families of failures of a calculation."""
    codes = calculation.exit_codes
    return Families(
        out_of_time=[
            codes.ERROR_WALLTIME_WITH_CHECKPOINT,
            codes.ERROR_WALLTIME_WITHOUT_CHECKPOINT,
            codes.ERROR_SCHEDULER_OUT_OF_WALLTIME,
        ],
        out_of_memory=[codes.ERROR_OUT_OF_MEMORY, codes.ERROR_SCHEDULER_OUT_OF_MEMORY],
        lost=[
            codes.ERROR_NO_RETRIEVED_FOLDER,
            codes.ERROR_SCHEDULER_NODE_FAILURE,
            codes.ERROR_NO_RESULT,
            codes.ERROR_UNREADABLE_RESULT,
            codes.ERROR_MISSING_FILE,
        ],
    )


def was_killed(node: CalcJobNode) -> bool:
    """Return whether nothing but signal 9 is known of the end of a job: memory, or somebody killed it."""
    return node.exit_message is not None and SIGNAL_9 in node.exit_message


class RestartChain(SubmitsOnce, BaseRestartWorkChain):
    """A restart chain whose handlers either repair, and say what, or stop with what the job has finished."""

    FAILED: ClassVar[str]
    """Label of the exit code for what no handler repairs."""

    defaults = AttributeDict(
        {
            # A job that is lost twice in a row is not lost by chance.
            "max_resubmissions": 1,
        }
    )

    @classmethod
    def define_restarts(cls, spec: ProcessSpec, namespace: str) -> None:
        """Define inputs, outline and outputs of a chain that runs its calculation until it is done.

        :param namespace: of the calculation's inputs.
        """
        spec.expose_inputs(cls._process_class, namespace=namespace)
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(
                cls.run_process,
                cls.inspect_process,
            ),
            cls.results,
        )
        spec.expose_outputs(cls._process_class)

    def setup_restarts(self, namespace: str) -> None:
        """Prepare the inputs of the first job."""
        super().setup()
        inputs = AttributeDict(self.exposed_inputs(self._process_class, namespace))
        inputs.metadata = AttributeDict(inputs.metadata)
        self.ctx.inputs = inputs
        self.ctx.resubmissions = 0

    @process_handler(priority=0)
    def handle_everything_else(self, node: CalcJobNode) -> ProcessHandlerReport | None:
        """Stop with the message of the job: what it refused or could not import is the same the next time.

        Where ``on_unhandled_failure`` is given, the base class does what it says.
        """
        if node.is_finished_ok or "on_unhandled_failure" in self.inputs:
            return None
        return self._stop(self.FAILED, node)

    def _may_resubmit(self) -> bool:
        self.ctx.resubmissions += 1
        return bool(self.ctx.resubmissions <= self.defaults.max_resubmissions)

    def _go_on_after(self, node: CalcJobNode, what: str, *, left_something: bool) -> ProcessHandlerReport:
        """Submit again, from the folder of the job where it left something to go on from."""
        if left_something and "remote_folder" in node.outputs:
            self.ctx.inputs.restart_folder = node.outputs.remote_folder
        return self._repaired(node, f"{what}; submitting it again")

    def _repaired(self, node: CalcJobNode, what: str) -> ProcessHandlerReport:
        self.report(f"{self._process_class.__name__}<{node.pk}>: {what}")
        return ProcessHandlerReport(do_break=True)

    def _stop(self, label: str, node: CalcJobNode) -> ProcessHandlerReport:
        """End with an exit code, and with what the job has finished."""
        message = f"{self._process_class.__name__}<{node.pk}> [{node.exit_status}] {node.exit_message}"
        code: ExitCode = self.exit_codes[label].format(message=message)
        self.report(code.message)
        if "results" in node.outputs:
            self.out_many(self.exposed_outputs(node, self._process_class))
        return ProcessHandlerReport(do_break=True, exit_code=code)
