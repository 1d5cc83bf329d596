"""Progress lines: what stage a job is in, how far, and how long it will take."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

from aiida_mlip.schema.job import Progress


class Reporter:
    """Append lines of :class:`~aiida_mlip.schema.job.Progress` to a file, and keep the wall time of each stage.

    :param path: the file; lines are appended, so that a restart in the same folder continues it.
    :param interval: seconds between two lines of one stage; its first and last step are always written.
    """

    def __init__(self, path: Path, *, interval: float = 1.0) -> None:
        self._path = path
        self._interval = interval
        self._stage = ""
        self._total = 0
        self._first_step = 0
        self._started = time.monotonic()
        self._last_line = -math.inf
        self._timings: dict[str, float] = {}
        self._metrics: dict[str, float] = {}

    @property
    def timings(self) -> dict[str, float]:
        """Wall time of each stage so far [s]; a stage that is entered twice counts both."""
        self._close_stage()
        return dict(self._timings)

    def stage(self, name: str, total: int = 0, *, done: int = 0) -> None:
        """Enter a stage.

        :param total: number of steps, where it is known.
        :param done: steps that an earlier job has done; they do not count for the time that is left.
        """
        self._close_stage()
        self._stage, self._total, self._first_step, self._metrics = name, total, done, {}
        self._last_line = -math.inf
        self.update(done)

    def update(self, step: int, metrics: Mapping[str, float] | None = None, *, force: bool = False) -> None:
        """Say that ``step`` steps of the stage are done.

        Metrics that are not finite are left out. Without metrics the line repeats the last ones of the stage, so that
        a reader of the last line always has them.
        """
        if metrics is not None:
            self._metrics = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        now = time.monotonic()
        if not (force or step >= self._total > 0 or now - self._last_line >= self._interval):
            return
        self._last_line = now
        line = Progress(
            time=time.time(),
            stage=self._stage,
            step=step,
            total=self._total,
            eta=self._eta(step),
            metrics=self._metrics,
        )
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(line.model_dump_json() + "\n")

    def _eta(self, step: int) -> float | None:
        done = step - self._first_step
        if done <= 0 or self._total <= 0:
            return None
        return (time.monotonic() - self._started) / done * max(self._total - step, 0)

    def _close_stage(self) -> None:
        now = time.monotonic()
        if self._stage:
            self._timings[self._stage] = self._timings.get(self._stage, 0.0) + now - self._started
        self._started = now
