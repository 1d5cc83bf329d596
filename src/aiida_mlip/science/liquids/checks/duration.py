"""Whether the run is long and large enough for a claim, and whether it came to its end.

A run that a stop rule of the dynamics ended has failed, unless the rule was one of uncertainty. Trajectories of other
programs had no stop rules, so the frames are looked at too: NaN, atoms that touch, runaway temperature.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip.science.contacts import pairs_within
from aiida_mlip.science.dynamics.observables import degrees_of_freedom
from aiida_mlip.science.dynamics.stop_rules import temperature_factor
from aiida_mlip.science.liquids.boiling import Boiling
from aiida_mlip.science.liquids.checks._base import Check, Finding, Run
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.liquids.molecules import find_molecules

NAME = "duration"

_SEARCH = 1.0
"""Cut-off [Å] of the search for close pairs: smaller ones make many empty search cells."""

STOPPED: Mapping[str, str] = {
    "temperature": "the temperature ran away",
    "distance": "two atoms came too close",
    "bonds": "a bond was stretched beyond its limit",
    "density": "the density left its window",
    "force": "a force was too large",
    "not_finite": "a number became NaN or infinite",
    "calculator_error": "the potential raised an error",
}
"""Stop rule -> what it means; a run that it ended has failed."""

UNSURE = ("uncertainty", "relative_uncertainty")
"""Stop rules that say that the potential did not know, not that the run failed."""

ROUNDING = 1.0e-6
"""A run of n steps ends at n times the time step: the rounding of that must not make it too short."""


class DurationLimits(Boiling):
    """Limits of ``duration``."""

    min_time_ps: float = Field(default=150.0, gt=0, description="length of a run that can pass [ps]; CAMMLS 2025")
    min_molecules: int = Field(
        default=48, ge=1, description="molecules of two atoms or more in a box that can pass; proposal"
    )
    distance: float = Field(default=0.5, gt=0, description="closest pair of atoms [Å]; proposal")
    temperature: float = Field(default=3.0, gt=1, description="highest temperature over the target; proposal")


class _Duration:
    """One reading."""

    def __init__(self, run: Run, limits: DurationLimits) -> None:
        self._run, self._limits = run, limits
        self._molecules = sum(len(molecule.indices) > 1 for molecule in find_molecules(run.start) or ())
        self._hottest = temperature_factor(limits.temperature, degrees_of_freedom(run.start)) * run.temperature
        self._first: float | None = None
        self._last = 0.0
        self._broken = ""
        self._closest = np.inf
        self._volume = float(run.start.cell.volume)

    def add(self, frame: Atoms) -> None:
        self._last = float(frame.info["time_fs"]) / 1000
        self._volume = float(frame.cell.volume)
        if self._first is None:
            self._first = self._last
        if not self._broken and (found := self._looked_at(frame)):
            self._broken = f"at {self._last:.3g} ps {found}"

    def _looked_at(self, frame: Atoms) -> str:
        """Return what is wrong with a frame, in words; empty where nothing is."""
        temperature = float(frame.info.get("instantaneous_temperature", 0.0))
        if not (np.isfinite(frame.positions).all() and np.isfinite(frame.cell).all() and np.isfinite(temperature)):
            return "a number is NaN or infinite"
        lengths = pairs_within("d", frame, max(self._limits.distance, _SEARCH))
        if len(lengths):
            self._closest = min(self._closest, float(lengths.min()))
            if lengths.min() < self._limits.distance:
                return f"two atoms are {lengths.min():.3f} Å apart (limit {self._limits.distance:g} Å)"
        if temperature > self._hottest:
            return f"the temperature is {temperature:.0f} K (limit {self._hottest:.0f} K)"
        return ""

    def _boiled(self) -> bool:
        """Return whether the liquid has expanded where a real one may boil."""
        run = self._run
        expanded = self._volume > float(run.start.cell.volume)
        return run.ensemble == "npt" and expanded and self._limits.possible(run.temperature, run.pressure)

    def finish(self) -> Finding:
        time = self._last - (self._first or 0.0)
        status, reason, missing = self._verdict(time)
        return Finding(
            [
                CheckResult(
                    check=NAME,
                    status=status,
                    quantity="length of the run",
                    value=time,
                    limit=self._limits.min_time_ps,
                    unit="ps",
                    reason=reason,
                    missing=missing,
                    numbers={
                        "molecules": self._molecules,
                        "min_molecules": self._limits.min_molecules,
                        "stopped_by": self._run.stopped_by,
                        "closest_pair": self._closest if np.isfinite(self._closest) else None,
                    },
                )
            ]
        )

    def _verdict(self, time: float) -> tuple[Status, str, str]:
        limits, stopped = self._limits, self._run.stopped_by
        if self._broken:
            ended = f"; the stop rule {stopped!r} ended the run" if stopped else ""
            return "fail", f"The run failed: {self._broken}{ended}.", ""
        if stopped == "density" and self._boiled():
            told = f"The run was stopped at {self._last:.3g} ps by the rule {stopped!r}: the liquid expanded."
            return "inconclusive", told, limits.remedy
        if stopped is not None and stopped not in UNSURE:
            why = STOPPED.get(stopped, "a stop rule was broken")
            return "fail", f"The run was stopped at {self._last:.3g} ps by the rule {stopped!r}: {why}.", ""
        short = []
        if time < limits.min_time_ps * (1 - ROUNDING):
            short.append(f"{limits.min_time_ps:g} ps, there are {time:.3g} ps")
        if self._molecules < limits.min_molecules:
            short.append(f"{limits.min_molecules} molecules, there are {self._molecules}")
        told = f"{time:.3g} ps of {self._molecules} molecules"
        if stopped is not None:
            return (
                "inconclusive",
                f"The run was stopped at {self._last:.3g} ps by the rule {stopped!r}: the potential was not sure.",
                "; ".join(["a potential that is sure of these configurations", *short]),
            )
        if short:
            return "inconclusive", f"{told} came to their end, which is too little for a claim.", "; ".join(short)
        return "pass", f"{told} came to their end.", ""


CHECK = Check(
    title="Length, size and end of the run",
    limits=DurationLimits,
    begin=_Duration,
    formula="time of the last frame less that of the first; molecules of the first configuration",
    source="Magdau, CAMMLS 2025: 150 ps at constant pressure; the rest: proposals",
)
