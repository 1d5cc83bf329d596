"""Families of failures that restart chains have in common, and how their handlers end."""

from __future__ import annotations

from aiida.engine import BaseRestartWorkChain, ProcessHandlerReport
from aiida.engine.processes.exit_code import ExitCode
from aiida.orm import CalcJobNode

from aiida_mlip.calculations.base import MlipCalculation

_CODES = MlipCalculation.exit_codes
OUT_OF_TIME = [
    _CODES.ERROR_WALLTIME_WITH_CHECKPOINT,
    _CODES.ERROR_WALLTIME_WITHOUT_CHECKPOINT,
    _CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME,
]
OUT_OF_MEMORY = [_CODES.ERROR_OUT_OF_MEMORY, _CODES.ERROR_SCHEDULER_OUT_OF_MEMORY]
LOST = [
    _CODES.ERROR_NO_RETRIEVED_FOLDER,
    _CODES.ERROR_SCHEDULER_NODE_FAILURE,
    _CODES.ERROR_NO_RESULT,
    _CODES.ERROR_UNREADABLE_RESULT,
    _CODES.ERROR_MISSING_FILE,
]


class RestartChain(BaseRestartWorkChain):
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
