"""What a task gets besides its job: the folder, the clock, the progress file."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.job import Job
from aiida_mlip.worker.progress import Reporter


class Stopped(TaskError):  # noqa: N818 - an order, not an error
    """The scheduler or the time limit ended the task; raised wherever the main thread is at that moment."""

    def __init__(self, reason: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(
            ErrorKind.WALLTIME, reason, "Ask for more time, or restart from what was written so far.", details
        )


@dataclass
class Context:
    """The surroundings of a running task.

    :param job: the validated job.
    :param directory: the folder of the job; all paths of the job are relative to it.
    :param reporter: where progress goes.
    :param deadline: time on the monotonic clock when the task has to have stopped, or None.
    :param partial: payload that is worth keeping when the task fails later.
    """

    job: Job
    directory: Path
    reporter: Reporter
    deadline: float | None = None
    partial: dict[str, Any] = field(default_factory=dict)

    def path(self, role: str) -> Path:
        """Return the path of the file with this role.

        :raises TaskError: of kind ``input`` where the job names no such file, or it is not there.
        """
        name = self.job.files.get(role)
        if name is None:
            given = ", ".join(sorted(self.job.files)) or "none"
            raise TaskError(ErrorKind.INPUT, f"files[{role!r}] is required; given are: {given}.", f"Add the {role}.")
        path = self.directory / name
        if not path.exists():
            raise TaskError(ErrorKind.INPUT, f"files[{role!r}] = {name!r} does not exist.", "Check the upload.")
        return path

    def remaining(self) -> float | None:
        """Return the seconds until the deadline, or None where there is none."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def check_time(self) -> None:
        """Raise :class:`Stopped` where the deadline has passed; tasks call it between two units of work."""
        remaining = self.remaining()
        if remaining is not None and remaining <= 0:
            raise Stopped(f"time_limit = {self.job.time_limit} s is used up.")
