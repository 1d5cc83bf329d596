"""Run mace as a process of its own, watch it, and stop it in time: its crashes and its memory are not ours."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.worker.context import Context, Stopped
from aiida_mlip.worker.failures import OUT_OF_MEMORY_MARKS
from aiida_mlip.worker.training.checkpoints import CheckpointKeeper
from aiida_mlip.worker.training.curve import Curve, EpochRecord

POLL = 0.2
"""Seconds between two looks at what mace wrote."""

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""

TAIL = 4000
"""Characters of mace's output that go into a failure."""


@dataclass
class MaceRun:
    """One process of mace.

    :param command: what to run.
    :param folder: the folder that it runs in.
    :param log: file that gets its output.
    :param max_epochs: number of epochs, counted from the first job of the training.
    """

    command: Sequence[str]
    folder: Path
    log: Path
    max_epochs: int

    def run(self, context: Context, curve: Curve, keeper: CheckpointKeeper) -> None:
        """Run mace to its end.

        :raises TaskError: of kind ``walltime``, ``diverged``, ``out_of_memory``, ``backend_import`` or ``exception``.
        """
        context.reporter.stage("start mace")
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg"}
        # mace's slurm launcher has one port for all jobs of a node
        environment.setdefault("MASTER_PORT", str(20000 + os.getpid() % 20000))
        with self.log.open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                list(self.command),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            try:
                self._watch(process, context, curve, keeper)
            except TaskError as error:
                keeper.state.diverged = error.kind == ErrorKind.DIVERGED
                keeper.save()
                raise
            finally:
                _stop(process)
        _judge(process.returncode, self.log)

    def _watch(
        self, process: subprocess.Popen[bytes], context: Context, curve: Curve, keeper: CheckpointKeeper
    ) -> None:
        """Follow the learning curve until mace has ended and all of its checkpoints are taken."""
        pending: list[EpochRecord] = []
        before, started = time.monotonic(), False
        while True:
            ended = process.poll() is not None
            pending += curve.read()
            if curve.has_started and not started:
                before, started = time.monotonic(), True
                keeper.state.initial = keeper.state.initial or curve.initial
                context.reporter.stage("train", self.max_epochs, done=_done(keeper))
            while pending and keeper.take(_timed(pending[0], before)):
                before = time.monotonic()
                _report(context, pending.pop(0))
                self._stop_before_walltime(context, keeper)
            if ended:
                return
            if curve.batches and not pending:
                context.reporter.update(_done(keeper))
            time.sleep(POLL)

    def _stop_before_walltime(self, context: Context, keeper: CheckpointKeeper) -> None:
        """Raise where another epoch would not end in time; the checkpoint of this one is complete."""
        remaining, last = context.remaining(), keeper.state.history[-1]
        if remaining is None or last.epoch + 1 >= self.max_epochs:
            return
        if remaining < 1.5 * last.seconds + 2 * POLL:
            raise Stopped(f"time_limit = {context.job.time_limit} s leaves no room for another epoch.")


def _done(keeper: CheckpointKeeper) -> int:
    return 0 if keeper.state.last is None else keeper.state.last + 1


def _timed(record: EpochRecord, before: float) -> EpochRecord:
    return record.model_copy(update={"seconds": time.monotonic() - before})


def _report(context: Context, record: EpochRecord) -> None:
    metrics = {"train_loss": record.train_loss}
    for head, values in record.valid.items():
        prefix = "" if len(record.valid) == 1 else f"{head}_"
        metrics.update({f"{prefix}{name}": value for name, value in values.items()})
    context.reporter.update(record.epoch + 1, metrics, force=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End mace and all of its children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, number)
            process.wait(GRACE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _judge(code: int, log: Path) -> None:
    """Raise where mace did not end as it should; its exit status alone says little."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if code == 0 and "Training complete" in text:
        return
    if code == -signal.SIGTERM:
        # a scheduler ends all processes of a job, and mace may be the first to go
        raise Stopped("mace was told to stop (signal SIGTERM).")
    tail = text[-TAIL:]
    lines = [line for line in tail.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "no output"
    details = {"log": tail, "exit_status": code}
    if any(mark in text for mark in OUT_OF_MEMORY_MARKS) or code == -signal.SIGKILL:
        raise TaskError(
            ErrorKind.OUT_OF_MEMORY,
            "mace was killed, most likely for lack of memory."
            if code == -signal.SIGKILL
            else "mace ran out of memory.",
            "Use a smaller batch_size, dtype = 'float32', or a node with more memory.",
            details,
        )
    if "ModuleNotFoundError" in text or "ImportError" in tail:
        raise TaskError(
            ErrorKind.BACKEND_IMPORT,
            f"mace cannot be imported on the compute node: {last}",
            "Install mace-torch there, or activate its environment in prepend_text of the code.",
            details,
        )
    raise TaskError(
        ErrorKind.EXCEPTION, f"mace ended with status {code}: {last}", "Read mace.log in the job's folder.", details
    )
