"""Families of failures that restart chains have in common, and how their handlers end."""

from __future__ import annotations

from typing import NamedTuple

from aiida.engine import BaseRestartWorkChain, ProcessHandlerReport
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
