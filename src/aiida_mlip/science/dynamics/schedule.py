"""Conditions of a run in stages: temperature and pressure go linearly from their start to their end."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol


class StageLike(Protocol):
    """What the schedule asks of a stage."""

    @property
    def steps(self) -> int:
        """Steps of the stage."""

    @property
    def temperature(self) -> float:
        """Temperature at its start [K]."""

    @property
    def temperature_end(self) -> float | None:
        """Temperature at its end [K]; None: constant."""

    @property
    def pressure(self) -> float | None:
        """Pressure at its start [GPa]; None: there is none."""

    @property
    def pressure_end(self) -> float | None:
        """Pressure at its end [GPa]; None: constant."""


@dataclass(frozen=True)
class Target:
    """The conditions of one step: index of the stage, temperature [K], pressure [GPa] or None."""

    stage: int
    temperature: float
    pressure: float | None


class Schedule:
    """The conditions of each step of a run.

    Step ``n`` is the one that leads from time ``(n - 1) dt`` to ``n dt``; the last step of a stage has its end values.
    Step 0 is the start of the first stage.

    :param stages: at least one.
    """

    def __init__(self, stages: Sequence[StageLike]) -> None:
        self._stages = tuple(stages)
        self._ends = tuple(accumulate(stage.steps for stage in self._stages))

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self._ends[-1]

    def at(self, step: int) -> Target:
        """Return the conditions of a step, from 0 to :attr:`steps`."""
        index = bisect_left(self._ends, step)
        stage = self._stages[index]
        fraction = (step - (self._ends[index] - stage.steps)) / stage.steps
        temperature = _between(stage.temperature, stage.temperature_end, fraction)
        pressure = None if stage.pressure is None else _between(stage.pressure, stage.pressure_end, fraction)
        return Target(index, temperature, pressure)

    def hottest(self, step: int) -> float:
        """Return the highest target temperature from the start to a step [K].

        After a stage that ends hot, a cooler one begins with atoms that are as hot as they were.
        """
        now = self.at(step)
        before = (max(stage.temperature, stage.temperature_end or 0.0) for stage in self._stages[: now.stage])
        return max(*before, self._stages[now.stage].temperature, now.temperature)


def _between(start: float, end: float | None, fraction: float) -> float:
    return start if end is None else start + (end - start) * fraction
