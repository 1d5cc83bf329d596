"""What can go wrong in a worker, as values that travel in ``result.json`` and become exit codes of a CalcJob."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class ErrorKind(StrEnum):
    """Why a task did not finish; the parser of every CalcJob maps each kind to one exit code."""

    INPUT = "input"
    """The worker refused its input; nothing was computed."""
    CONTRACT = "contract"
    """The job file is of a contract version that this worker does not know."""
    BACKEND_IMPORT = "backend_import"
    """The Python environment of the compute node lacks what the task needs."""
    DEVICE = "device"
    """The device asked for is not there."""
    OUT_OF_MEMORY = "out_of_memory"
    """The device or the host ran out of memory."""
    WALLTIME = "walltime"
    """The task stopped itself before the scheduler would have; a checkpoint may exist."""
    DIVERGED = "diverged"
    """The loss became NaN or infinite, or grew beyond the limit."""
    STRATEGY = "strategy"
    """What was applied is not what was asked for."""
    EXCEPTION = "exception"
    """Anything else that was raised; the traceback is in the result."""


class TaskError(Exception):
    """An expected failure of a task: what happened, and what to do about it.

    :param kind: the class of failure.
    :param message: one sentence with the field and the value.
    :param remedy: what the user can do.
    :param details: further values, written to ``result.json`` as they are.
    """

    def __init__(self, kind: ErrorKind, message: str, remedy: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.kind = kind
        self.message = message
        self.remedy = remedy
        self.details = details or {}
