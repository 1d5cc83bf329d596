"""Whether the density of a run at constant pressure holds, and what it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from pydantic import Field
from scipy import stats

from aiida_mlip.science.dynamics.observables import density_of, is_bulk
from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA
from aiida_mlip.science.liquids.blocks import Mean, block_means, drift_of, mean_of
from aiida_mlip.science.liquids.boiling import Boiling
from aiida_mlip.science.liquids.checks._base import Array, Check, Finding, Run
from aiida_mlip.science.liquids.findings import CheckResult, Status

NAME = "density"

SAMPLES_PER_BLOCK = 2.0
"""Independent samples in a block that is independent of its neighbours; proposal.

The correlation time of a short run comes out too short. Of AR(1) series that last 2 of their correlation times, 6 in 10
seem to hold 5 independent samples, and 1 in 10 to hold 10.
"""

DRIFT_OF_SHORT_RUNS = 4.0
"""Drift over the thermal fluctuation that a slow fluctuation does not make, however short the run; proposal.

Of AR(1) series of any correlation time less than 1 in 100 has more.
"""

WARM = 500.0
"""Temperature [K] up to which the compressibility grows; beyond it data are missing."""


class DensityLimits(Boiling):
    """Limits of ``density``."""

    blocks: int = Field(default=5, ge=2, description="independent blocks that the average needs; proposal")
    drift: float = Field(
        default=0.02,
        gt=0,
        description="slope times window, and difference of halves, over the mean that pass (no unit); proposal",
    )
    drift_errors: float = Field(
        default=3.0,
        ge=2,
        description="standard errors beyond which a larger drift fails; below 2 it passes, between it is "
        "inconclusive; proposal",
    )
    outlier: float = Field(
        default=5.0, gt=0, description="largest deviation of a frame over the thermal fluctuation; proposal"
    )
    expansion: float = Field(
        default=0.6, gt=0, lt=1, description="lowest density of a frame over that of the start; proposal"
    )
    compression: float = Field(default=1.67, gt=1, description="highest density of a frame over the start; proposal")
    relaxation_ps: float = Field(
        default=20.0,
        ge=0,
        description="drift and far frames in a shorter window do not fail [ps]: a box packed at another density "
        "needs that long to find its own; expansion and collapse fail at once; proposal",
    )
    compressibility: float = Field(
        default=0.6,
        gt=0,
        description="isothermal, at 298 K [1/GPa]; gives 4 % for 12 and 2 % for 48 solvent molecules; proposal, "
        "between water, 0.46, and methanol, 1.21 (CRC Handbook)",
    )
    compressibility_growth: float = Field(
        default=0.007,
        ge=0,
        description="relative growth of the compressibility from 298 K to 500 K [1/K]; CCl4, CHCl3 and methanol have "
        "0.0065 to 0.0086 (CRC Handbook)",
    )
    reference: float | None = Field(default=None, gt=0, description="density to compare with [g/cm^3]; None: not done")
    accuracy: float = Field(
        default=0.03, gt=0, description="deviation from the reference that passes (no unit); proposal"
    )


def thermal_fluctuation(temperature: float, volume: float, compressibility: float) -> float:
    """Return the relative standard deviation of the density at constant pressure, sqrt(kT kappa_T / V).

    :param temperature: [K].
    :param volume: mean volume of the cell [Å^3].
    :param compressibility: isothermal [1/GPa].
    """
    energy = float(units.kB) * temperature
    return float(np.sqrt(energy * EV_PER_ANGSTROM3_IN_GPA * compressibility / volume))


@dataclass(frozen=True)
class _Series:
    """The part of the run that is averaged: times [ps], densities [g/cm^3] and their thermal fluctuation (relative)."""

    times: Array
    values: Array
    thermal: float

    @property
    def window(self) -> float:
        return float(self.times[-1] - self.times[0])


@dataclass(frozen=True)
class _Change:
    """A change of the density within the window, relative to its mean, with the smaller and the larger error of it."""

    name: str
    value: float
    error: float
    significant: bool
    cautious_error: float


class _Density:
    """One reading."""

    def __init__(self, run: Run, limits: DensityLimits) -> None:
        self._run, self._limits = run, limits
        self._first = density_of(run.start)
        self._mass = self._first * float(run.start.get_volume())
        self._times: list[float] = []
        self._values: list[float] = []

    def add(self, frame: Atoms) -> None:
        self._times.append(float(frame.info["time_fs"]) / 1000)
        self._values.append(density_of(frame))

    def finish(self) -> Finding:
        times, values = np.array(self._times), np.array(self._values)
        curves: dict[str, Array] = {"density_time_ps": times, "density_values": values}
        kept = times >= (times[0] + self._run.equilibration * (times[-1] - times[0])) if len(times) else times > 0
        if kept.sum() < 2 * self._limits.blocks:
            few = f"There are {kept.sum()} frames after equilibration."
            missing = f"at least {2 * self._limits.blocks} frames after equilibration"
            if collapsed := self._collapsed(values):
                return Finding([_result(*self._failed(collapsed, fell=self._fell(values)))], curves)
            return Finding([_result("inconclusive", few, missing)], curves)
        series = _Series(times[kept], values[kept], self._thermal(float(values[kept].mean())))
        average = mean_of(series.values)
        results = [self._stability(series, average, values)]
        if self._limits.reference is not None:
            results.append(self._accuracy(average, self._limits.reference))
        return Finding(results, curves)

    def _thermal(self, density: float) -> float:
        limits, warmth = self._limits, min(self._run.temperature, WARM) - 298.15
        compressibility = limits.compressibility * float(np.exp(limits.compressibility_growth * max(warmth, 0.0)))
        return thermal_fluctuation(self._run.temperature, self._mass / density, compressibility)

    def _stability(self, series: _Series, average: Mean, all_values: Array) -> CheckResult:
        limits = self._limits
        drift = drift_of(series.times, series.values)
        farthest = float(np.abs(series.values - average.value).max() / (series.thermal * average.value))
        status, reason, missing = self._verdict(series, average, all_values)
        blocks = block_means(series.values, limits.blocks)
        numbers: dict[str, float | int | str | None] = {
            "window_ps": series.window,
            "independent_samples": average.independent,
            "correlation_time_ps": average.inefficiency * series.window / max(len(series.values) - 1, 1) / 2,
            "drift": drift.change / average.value,
            "drift_error": drift.error / average.value,
            "block_error": float(blocks.std(ddof=1)) / len(blocks) ** 0.5,
            "fluctuation": float(series.values.std(ddof=1)) / average.value,
            "thermal_fluctuation": series.thermal,
            "farthest_frame": farthest,
            "first_density": self._first,
            "lowest_density": float(all_values.min()),
            "highest_density": float(all_values.max()),
        }
        return _result(status, reason, missing, average, numbers)

    def _verdict(self, series: _Series, average: Mean, all_values: Array) -> tuple[Status, str, str]:
        needed = self._limits.blocks * SAMPLES_PER_BLOCK
        enough = average.independent >= needed
        if collapsed := self._collapsed(all_values):
            return self._failed(collapsed, fell=self._fell(all_values))
        fails, doubts = self._unsteady(series, average, enough=enough)
        if fails and series.window >= self._limits.relaxation_ps:
            return self._failed(" ".join(fails), fell=drift_of(series.times, series.values).change < 0)
        if fails:
            return (
                "inconclusive",
                " ".join(fails),
                f"a window of {self._limits.relaxation_ps:g} ps, in which a liquid finds its density; there are "
                f"{series.window:.3g} ps",
            )
        if doubts:
            return "inconclusive", " ".join(doubts), f"a window of {2 * series.window:.3g} ps or more"
        holds = f"{average.value:.4f} ± {average.error:.4f} g/cm3"
        if not enough:
            return (
                "inconclusive",
                f"The window of {series.window:.3g} ps holds {average.independent:.1f} independent samples ({holds}): "
                f"{needed:g} are needed for {self._limits.blocks} blocks.",
                f"a window of about {series.window * needed / average.independent:.3g} ps, there are "
                f"{series.window:.3g} ps",
            )
        return "pass", f"The density holds at {holds} over {series.window:.3g} ps.", ""

    def _unsteady(self, series: _Series, average: Mean, *, enough: bool) -> tuple[list[str], list[str]]:
        """Return what fails and what is in doubt, in words."""
        fails, doubts = [outlier] if (outlier := self._outlier(series, average)) else [], list[str]()
        for change in self._changes(series, average):
            runaway = abs(change.value) > DRIFT_OF_SHORT_RUNS * series.thermal
            if abs(change.value) <= self._limits.drift or not (change.significant or runaway):
                continue
            told = f"{change.name} {100 * change.value:+.1f} ± {100 * change.error:.1f} % over {series.window:.3g} ps"
            if runaway or (enough and abs(change.value) > self._limits.drift_errors * change.cautious_error):
                fails.append(f"The density drifts: {told}.")
            else:
                doubts.append(f"The density may drift: {told}.")
        return fails, doubts

    def _changes(self, series: _Series, average: Mean) -> Iterator[_Change]:
        """Yield the drift and the difference of the halves.

        A slow fluctuation is a drift to its own residuals, so a drift must stand out from all of the fluctuation.
        """
        drift = drift_of(series.times, series.values)
        value, error = drift.change / average.value, drift.error / average.value
        slower = max(average.inefficiency / drift.inefficiency, 1.0) ** 0.5
        yield _Change("drift", value, error, drift.significant, slower * error)
        first, second = (mean_of(half) for half in np.array_split(series.values, 2))
        value, error = (second.value - first.value) / average.value, np.hypot(first.error, second.error) / average.value
        freedom = max(first.independent + second.independent - 2, 1.0)
        significant = bool(abs(value) > stats.t.isf(0.025, freedom) * error)
        yield _Change(
            "halves differ by", value, float(error), significant, float(max(error, 2 * average.error / average.value))
        )

    def _collapsed(self, values: Array) -> str:
        low, high = self._limits.expansion * self._first, self._limits.compression * self._first
        if not len(values) or (values.min() >= low and values.max() <= high):
            return ""
        name, found = ("expanded", values.min()) if values.min() < low else ("collapsed", values.max())
        when = self._times[int(np.flatnonzero(values == found)[0])]
        return f"The liquid {name} from {self._first:.3f} to {found:.3f} g/cm3 by {when:.3g} ps."

    def _fell(self, values: Array) -> bool:
        low, high = self._limits.expansion * self._first, self._limits.compression * self._first
        return bool(values.min() < low and values.max() <= high)

    def _failed(self, reason: str, *, fell: bool) -> tuple[Status, str, str]:
        """Return a failure, unless the density fell where a liquid may boil."""
        if fell and self._limits.possible(self._run.temperature, self._run.pressure):
            return "inconclusive", reason, self._limits.remedy
        return "fail", reason, ""

    def _outlier(self, series: _Series, average: Mean) -> str:
        deviations = (series.values - average.value) / (series.thermal * average.value)
        worst = int(np.abs(deviations).argmax())
        if abs(deviations[worst]) <= self._limits.outlier:
            return ""
        return (
            f"At {series.times[worst]:.3g} ps the density is {series.values[worst]:.3f} g/cm3, "
            f"{deviations[worst]:+.1f} thermal fluctuations ({100 * series.thermal:.1f} %) from its mean "
            f"{average.value:.3f} g/cm3."
        )

    def _accuracy(self, average: Mean, reference: float) -> CheckResult:
        deviation, error = average.value / reference - 1, average.error / reference
        status: Status = "pass" if abs(deviation) <= self._limits.accuracy else "fail"
        if abs(abs(deviation) - self._limits.accuracy) < 2 * error:
            status = "inconclusive"
        return CheckResult(
            check=NAME,
            status=status,
            aspect="accuracy",
            quantity="deviation of the density from the reference",
            value=100 * deviation,
            error=100 * error,
            limit=100 * self._limits.accuracy,
            unit="%",
            reason=f"{average.value:.4f} ± {average.error:.4f} g/cm3 is {100 * deviation:+.1f} % off the reference "
            f"{reference:.4f} g/cm3.",
            missing="a longer run: the limit is within two standard errors" if status == "inconclusive" else "",
        )


def _result(
    status: Status,
    reason: str,
    missing: str,
    average: Mean | None = None,
    numbers: dict[str, float | int | str | None] | None = None,
) -> CheckResult:
    return CheckResult(
        check=NAME,
        status=status,
        quantity="mean density",
        value=average.value if average else None,
        error=average.error if average else None,
        unit="g/cm3",
        reason=reason,
        missing=missing,
        numbers=numbers or {},
    )


def _applies(run: Run) -> bool:
    return run.ensemble == "npt" and is_bulk(run.start)


CHECK = Check(
    title="Density",
    limits=DensityLimits,
    begin=_Density,
    formula="mean after equilibration ± sqrt(g s^2/n); drift = slope x window; sigma/mean = sqrt(kT kappa_T/V)",
    source="limits: proposals; g: Geyer, Statist. Sci. 7, 473 (1992)",
    applies=_applies,
)
