"""Run one job: read ``job.json``, run its task, write ``result.json`` whatever happens."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, get_args

from pydantic import ValidationError

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.job import PROGRESS_FILE, RESULT_FILE, Job, Result, Task
from aiida_mlip.schema.upgrade import upgrade
from aiida_mlip.science.models import explain
from aiida_mlip.worker.backends import backend_of, detect
from aiida_mlip.worker.context import Context, Stopped
from aiida_mlip.worker.failures import failure_of
from aiida_mlip.worker.progress import Reporter
from aiida_mlip.worker.tasks import load_task
from aiida_mlip.worker.versions import versions


def run_job(job_file: Path) -> int:
    """Run the job of ``job_file`` in its folder and write ``result.json`` there.

    :return: the exit status: 0, since the outcome is the content of the result.
    """
    start = time.monotonic()
    directory = job_file.absolute().parent
    reporter = Reporter(directory / PROGRESS_FILE, interval=5.0)
    partial: dict[str, Any] = {}
    document: dict[str, Any] = {}
    error, payload = None, {}
    try:
        document = _read(job_file)
        context = Context(_validate(document), directory, reporter, partial=partial)
        with _stop_in_time(context, start):
            payload = load_task(context.job.task)(context)
    except BaseException as raised:  # also SystemExit of a library: every end is reported
        error = failure_of(raised)
        payload = partial
        sys.stderr.write(f"{error.traceback}\n{error.kind}: {error.message} {error.remedy}\n")
    result = Result(
        task=_task_of(document),
        error=error,
        versions=versions(document.get("settings"), _potential_of(document)),
        timings={**reporter.timings, "total": time.monotonic() - start},
        payload=payload,
    )
    write_atomically(directory / RESULT_FILE, result.model_dump_json())
    return 0


def inspect_file(path: Path, architecture: str | None = None) -> tuple[str, int]:
    """Return the PotentialInfo of a model file as JSON, or the failure, and the exit status."""
    try:
        info = backend_of(architecture or detect(path)).inspect(path)
    except Exception as error:  # reported whole
        return json.dumps({"error": json.loads(failure_of(error).model_dump_json())}), 1
    return info.model_dump_json(), 0


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` so that a reader sees the old file or the new one, never half of it."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def _read(job_file: Path) -> dict[str, Any]:
    try:
        document = json.loads(job_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TaskError(
            ErrorKind.CONTRACT, f"{job_file.name} cannot be read: {error}.", "Make the job again."
        ) from error
    if not isinstance(document, dict):
        raise TaskError(ErrorKind.CONTRACT, f"{job_file.name} is not a JSON object.", "Make the job again.")
    return document


def _validate(document: dict[str, Any]) -> Job:
    try:
        return Job.model_validate(upgrade(document))
    except ValidationError as error:
        raise TaskError(ErrorKind.CONTRACT, explain(error, what="job", model=Job), "Make the job again.") from error


def _potential_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return the description of the potential, or of the first member of a committee."""
    members = document.get("potentials")
    first = next(iter(members.values()), None) if isinstance(members, dict) else None
    return document.get("potential") or first


def _task_of(document: dict[str, Any]) -> Task:
    tasks: tuple[Task, ...] = get_args(Task)
    return next((task for task in tasks if task == document.get("task")), "evaluate")


@contextmanager
def _stop_in_time(context: Context, start: float) -> Iterator[None]:
    """Turn SIGTERM and the time limit into :class:`Stopped`, raised in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            raise Stopped(f"time_limit = {context.job.time_limit} s is used up.")
        raise Stopped(f"The worker was told to stop (signal {signal.Signals(number).name}).")

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGALRM)}
    if context.job.time_limit is not None:
        context.deadline = start + context.job.time_limit
        signal.setitimer(signal.ITIMER_REAL, max(context.deadline - time.monotonic(), 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)
