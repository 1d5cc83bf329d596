"""From whatever was raised to a :class:`~aiida_mlip.schema.job.Failure` that says what to do."""

from __future__ import annotations

import traceback

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.job import Failure

OUT_OF_MEMORY_MARKS = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA out of memory",
    "OutOfMemoryError",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Unable to allocate",
)
"""Texts by which running out of memory is told, in an exception or a log."""

_PACKAGES = {"mace": "mace-torch", "torch_geometric": "torch-geometric"}
"""Module -> distribution, where their names differ."""


def failure_of(error: BaseException) -> Failure:
    """Return the failure that describes ``error``."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, TaskError):
        return Failure(
            kind=error.kind,
            message=error.message,
            remedy=error.remedy,
            traceback=trace if error.kind == ErrorKind.EXCEPTION else "",
            details=error.details,
        )
    if isinstance(error, ImportError):
        module = (error.name or "").split(".")[0]
        package = _PACKAGES.get(module, module or "the missing package")
        return Failure(
            kind=ErrorKind.BACKEND_IMPORT,
            message=f"The Python environment of the compute node cannot import what the task needs: {error}.",
            remedy=f"Install {package} there, or use a worker of an environment that has it (see `aiida-mlip setup`).",
            traceback=trace,
        )
    if is_out_of_memory(error):
        return Failure(
            kind=ErrorKind.OUT_OF_MEMORY,
            message=f"Out of memory: {_first_line(error)}",
            remedy="Use a smaller batch_size, dtype = 'float32', or a node with more memory.",
            traceback=trace,
        )
    return Failure(
        kind=ErrorKind.EXCEPTION,
        message=f"{type(error).__name__}: {_first_line(error)}",
        remedy="Read the traceback in result.json.",
        traceback=trace,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the exception means that host or device ran out of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(mark in str(error) for mark in OUT_OF_MEMORY_MARKS)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "(no message)"
