"""``mlip.label.pw``: one label by pw.x, with the handlers that aiida-quantumespresso lacks."""

from __future__ import annotations

from aiida.common import AttributeDict
from aiida.engine import ProcessHandlerReport, ProcessSpec, process_handler
from aiida.engine.processes.exit_code import ExitCode
from aiida.orm import CalcJobNode
from aiida_quantumespresso.calculations.pw import PwCalculation
from aiida_quantumespresso.common.types import RestartType
from aiida_quantumespresso.workflows.pw.base import PwBaseWorkChain

from aiida_mlip.schema.labelling import LABEL_EXTRA
from aiida_mlip.workchains.once import SubmitsOnce

_CODES = PwCalculation.exit_codes
_LOST = [
    _CODES.ERROR_NO_RETRIEVED_FOLDER,
    _CODES.ERROR_SCHEDULER_NODE_FAILURE,
    _CODES.ERROR_OUTPUT_STDOUT_MISSING,
    _CODES.ERROR_OUTPUT_XML_MISSING,
    _CODES.ERROR_OUTPUT_FILES,
    _CODES.ERROR_OUTPUT_STDOUT_READ,
    _CODES.ERROR_OUTPUT_STDOUT_PARSE,
    _CODES.ERROR_OUTPUT_STDOUT_INCOMPLETE,
    _CODES.ERROR_OUTPUT_XML_READ,
    _CODES.ERROR_OUTPUT_XML_PARSE,
]
_INTERRUPTED = [_CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME, _CODES.ERROR_OUT_OF_WALLTIME_INTERRUPTED]

_SILENT = {
    "output_trajectory": "Cell, positions, energy, forces and stress.",
    "output_kpoints": "K-points of the run, where it has no bands.",
    "output_atomic_occupations": "Occupations of atomic orbitals, where pw.x prints them.",
}
"""Outputs that aiida-quantumespresso leaves without a word."""


class PwLabelWorkChain(SubmitsOnce, PwBaseWorkChain):
    """Run pw.x until a label is there, or it is clear that there will be none.

    The handlers of ``PwBaseWorkChain`` deal with what pw.x itself reports. Those below deal with what happens to a job:
    each submits it again once. The calculation that ends well carries the address of its label as an extra.
    """

    defaults = AttributeDict(
        {
            **PwBaseWorkChain.defaults,
            # A job that is lost twice is not lost by chance.
            "max_resubmissions": 1,
            # Share of the wall time after which pw.x stops itself, once it was killed before it had written its files.
            "factor_max_seconds_interrupted": 0.7,
            # Half of pw.x's own number of densities that are mixed: they are kept in memory.
            "mixing_ndim_small": 4,
        }
    )

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input(
            "address",
            valid_type=str,
            required=False,
            non_db=True,
            help="Digest of all that decides the label; the calculation that makes it gets it as an extra.",
        )
        for name, text in _SILENT.items():
            spec.outputs[name].help = text
        spec.exit_code(452, "ERROR_WALLTIME_TOO_SHORT", message="Twice killed at the end of its wall time: {message}")
        spec.exit_code(453, "ERROR_MEMORY_TOO_SMALL", message="Twice out of memory: {message}")
        spec.exit_code(455, "ERROR_JOB_LOST_AGAIN", message="The job was lost twice: {message}")

    def setup(self) -> None:
        """Prepare the inputs of the first job."""
        super().setup()
        self.ctx.resubmissions = {}

    def results(self) -> ExitCode | None:
        """Attach the outputs, and leave the address on the calculation that made them."""
        node = self.ctx.children[self.ctx.iteration - 1]
        if node.is_finished_ok and "address" in self.inputs:
            node.base.extras.set(LABEL_EXTRA, self.inputs.address)
        code: ExitCode | None = super().results()
        return code

    @process_handler(priority=579, exit_codes=_INTERRUPTED)
    def handle_interrupted_by_walltime(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Start again, once, and let pw.x stop itself earlier, so that its files are written and can be gone on from.

        Remedy where that is not enough: more wall time.
        """
        if self._again("walltime"):
            return self._stop("ERROR_WALLTIME_TOO_SHORT", node)
        seconds = self.ctx.inputs.metadata.options.get("max_wallclock_seconds", None)
        if seconds is not None:
            factor = self.defaults.factor_max_seconds_interrupted
            self.ctx.inputs.parameters["CONTROL"]["max_seconds"] = factor * seconds
        return self._from_scratch(node, "killed at the end of its wall time; it will stop itself earlier")

    @process_handler(priority=578, exit_codes=_CODES.ERROR_SCHEDULER_OUT_OF_MEMORY)
    def handle_out_of_memory(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Start again, once, with what needs the least memory. Remedy where that is not enough: more memory."""
        if self._again("memory"):
            return self._stop("ERROR_MEMORY_TOO_SMALL", node)
        electrons = self.ctx.inputs.parameters["ELECTRONS"]
        electrons |= {"diagonalization": "cg", "mixing_ndim": self.defaults.mixing_ndim_small}
        return self._from_scratch(node, "out of memory; conjugate gradients and fewer densities in memory")

    @process_handler(priority=577, exit_codes=_LOST)
    def handle_lost_job(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Start again, once: a node failed, somebody killed pw.x, or a disk was full."""
        if self._again("lost"):
            return self._stop("ERROR_JOB_LOST_AGAIN", node)
        return self._from_scratch(node, "the job was lost")

    def _again(self, what: str) -> bool:
        """Count one more failure of a kind, and return whether there were too many."""
        counts = dict(self.ctx.resubmissions)
        counts[what] = counts.get(what, 0) + 1
        self.ctx.resubmissions = counts
        return bool(counts[what] > self.defaults.max_resubmissions)

    def _from_scratch(self, node: CalcJobNode, why: str) -> ProcessHandlerReport:
        self.set_restart_type(RestartType.FROM_SCRATCH)
        self.report_error_handled(node, f"{why}; submitting it again")
        return ProcessHandlerReport(do_break=True)

    def _stop(self, label: str, node: CalcJobNode) -> ProcessHandlerReport:
        message = f"PwCalculation<{node.pk}> [{node.exit_status}] {node.exit_message}"
        code: ExitCode = self.exit_codes[label].format(message=message)
        self.report(code.message)
        return ProcessHandlerReport(do_break=True, exit_code=code)


__all__ = ("PwLabelWorkChain",)
