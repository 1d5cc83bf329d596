"""One reading of a trajectory by all checks: none of them can take the others down, and none keeps the frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip.science.liquids import checks
from aiida_mlip.science.liquids.checks import Finding, Pass, Run
from aiida_mlip.science.liquids.findings import CheckResult
from aiida_mlip.science.models import StrictModel

OF_THE_MACHINE = (MemoryError, ImportError)
"""Exceptions that are no failure of a check; they end the reading."""


@dataclass
class Reading:
    """What the checks found in one trajectory.

    :param finding: of all checks that can say something of such a run, in alphabetical order of the checks.
    :param frames: frames that were read.
    :param steps: step of the dynamics of each frame.
    :param time_fs: of the last frame; 0 where there is none.
    :param seconds: check -> CPU time [s].
    """

    finding: Finding = field(default_factory=lambda: Finding([]))
    frames: int = 0
    steps: list[int] = field(default_factory=list)
    time_fs: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


def chosen_checks(
    run: Run, only: Iterable[str] | None = None, limits: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, StrictModel]:
    """Return the checks that can say something of a run, each with its limits.

    :param only: names of the checks to make; None: all.
    :param limits: name of a check -> limits that differ from their defaults.
    """
    wanted = checks.names() if only is None else sorted(set(only))
    return {
        name: checks.get(name).parse((limits or {}).get(name, {})) for name in wanted if checks.get(name).applies(run)
    }


def read(
    run: Run,
    frames: Iterable[Atoms],
    chosen: Mapping[str, StrictModel],
    *,
    after: Callable[[int], None] = lambda _frames: None,
) -> Reading:
    """Give every frame to every check, once and in order.

    A check that raises is inconclusive, with the exception as its reason; it gets no further frames.

    :param frames: as :func:`aiida_mlip.science.trajectory.read_trajectory` yields them.
    :param chosen: name of a check -> its limits, of :func:`chosen_checks`.
    :param after: called after each frame with the number of frames so far; what it raises ends the reading.
    """
    reading = Reading(seconds=dict.fromkeys(chosen, 0.0))
    readers = [_Reader(name, run, limits) for name, limits in chosen.items()]
    for atoms in frames:
        for reader in readers:
            reader.add(atoms)
        reading.frames += 1
        reading.steps.append(int(atoms.info["step"]))
        reading.time_fs = float(atoms.info["time_fs"])
        after(reading.frames)
    for reader in readers:
        _put_together(reading.finding, reader.finish())
        reading.seconds[reader.name] = round(reader.seconds, 6)
    return reading


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Return ``wanted`` indices below ``count``, the first and the last among them; all where there are fewer."""
    if count <= wanted:
        return list(range(count))
    return sorted({int(index) for index in np.linspace(0, count - 1, wanted).round()})


class _Reader:
    """One check on its way through a trajectory."""

    def __init__(self, name: str, run: Run, limits: StrictModel) -> None:
        self.name, self.seconds = name, 0.0
        self._failure: Exception | None = None
        self._frames = 0
        self._pass: Pass | None = self._guarded(lambda: checks.get(name).begin(run, limits))

    def add(self, atoms: Atoms) -> None:
        if self._pass is not None and self._failure is None:
            self._guarded(lambda: self._pass.add(atoms))  # type: ignore[union-attr]
            self._frames += self._failure is None

    def finish(self) -> Finding:
        if self._pass is not None and self._failure is None:
            found: Finding | None = self._guarded(self._pass.finish)
            if found is not None:
                return found
        return Finding([self._gave_up()])

    def _guarded(self, function: Callable[[], Any]) -> Any:
        start = time.process_time()
        try:
            return function()
        except OF_THE_MACHINE:
            raise
        except Exception as error:
            self._failure = error
            return None
        finally:
            self.seconds += time.process_time() - start

    def _gave_up(self) -> CheckResult:
        what = f"{type(self._failure).__name__}: {self._failure}" if self._failure else "it said nothing"
        return CheckResult(
            check=self.name,
            status="inconclusive",
            quantity="nothing: the check itself failed",
            reason=f"The check failed after {self._frames} frames with {what}.",
            missing="a trajectory that the check can read, or a correction of the check",
        )


def _put_together(whole: Finding, part: Finding) -> None:
    whole.results.extend(part.results)
    whole.curves.update(part.curves)
    whole.events.extend(part.events)
    whole.species.extend(part.species)


def select_frames(
    steps: list[int], wanted: int, event_steps: Iterable[int], most_events: int
) -> Iterator[tuple[int, bool]]:
    """Yield index of a frame and whether it shows an event: evenly spaced ones first, then the first at each event.

    :param steps: step of each frame, ascending.
    :param event_steps: steps at which something happened.
    :param most_events: frames of events at most; the earliest are taken.
    """
    yield from ((index, False) for index in evenly_spaced(len(steps), wanted))
    found = {int(np.searchsorted(steps, step)) for step in event_steps}
    yield from ((index, True) for index in sorted(index for index in found if index < len(steps))[:most_events])
