"""Whether the energy is shared evenly: no hot molecules next to cold ones, and the temperature that was asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from pydantic import Field
from scipy import stats

from aiida_mlip.science.liquids.blocks import Mean, RunningBlocks, mean_of
from aiida_mlip.science.liquids.checks._base import Array, Check, Finding, Run, answers
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.liquids.kinetics import PARTS, KineticSplit, temperatures
from aiida_mlip.science.liquids.molecules import find_molecules
from aiida_mlip.science.models import StrictModel

NAME = "temperature"

_result = answers(NAME, "deviation of the mean temperature from the target", "K")

_WORDS = {"trans": "translation", "rot": "rotation", "vib": "vibration"}


class TemperatureLimits(StrictModel):
    """Limits of ``temperature``."""

    mean: float = Field(
        default=0.03, gt=0, description="deviation of the mean from the target that passes (no unit); proposal"
    )
    parts: float = Field(
        default=0.1,
        gt=0,
        description="deviation of translation, rotation or vibration, of all molecules or of a kind, from the mean "
        "temperature that passes (no unit); proposal",
    )
    molecule: float = Field(
        default=0.3, gt=0, description="deviation of a single molecule from the mean that passes (no unit); proposal"
    )
    errors: float = Field(
        default=3.0,
        gt=0,
        description="a deviation fails where it is larger than this many standard errors too, the number of "
        "comparisons counted in (Bonferroni, 0.1 %); proposal",
    )
    blocks: int = Field(default=5, ge=2, description="independent samples that a mean needs; proposal")
    min_time_ps: float = Field(
        default=1.0,
        ge=0,
        description="the mean of a shorter run does not fail [ps]; ten usual time constants of a thermostat; proposal",
    )
    relaxation_ps: float = Field(
        default=10.0,
        ge=0,
        description="unevenness in a shorter run does not fail [ps]: vibrations of molecules relax in picoseconds; "
        "proposal",
    )


class _Temperature:
    """One reading. Block means of the energies of each molecule are kept, not the frames."""

    def __init__(self, run: Run, limits: TemperatureLimits) -> None:
        self._run, self._limits = run, limits
        self._molecules = find_molecules(run.start) or []
        self._kinds = np.array([molecule.kind for molecule in self._molecules])
        self._split = KineticSplit(run.start, self._molecules) if self._molecules else None
        self._blocks = RunningBlocks()
        self._freedom: Array | None = None
        self._times: list[float] = []
        self._values: list[float] = []
        self._parts: list[Array] = []

    def add(self, frame: Atoms) -> None:
        self._times.append(float(frame.info["time_fs"]) / 1000)
        self._values.append(float(frame.info.get("instantaneous_temperature", np.nan)))
        if self._split is None or "velocities" not in frame.arrays:
            return
        found = self._split.of(frame, frame.arrays["velocities"])
        self._freedom = found.freedom
        self._blocks.add(found.energies)
        self._parts.append(temperatures(found.energies.sum(axis=0), found.freedom.sum(axis=0)))

    def finish(self) -> Finding:
        times, values = self._series()
        curves: dict[str, Array] = {"temperature_time_ps": np.array(self._times)}
        curves["temperature_values"] = np.array(self._values)
        if len(self._parts) == len(self._times) and self._parts:
            curves |= {f"temperature_{name}": np.array(self._parts)[:, index] for index, name in enumerate(PARTS)}
        results = []
        if self._run.ensemble != "nve":
            results.append(self._not_too_early(self._mean(times, values), self._limits.min_time_ps))
        if self._freedom is not None:
            even = self._equipartition(self._blocks.means(self._run.equilibration), self._freedom)
            results.append(self._not_too_early(even, self._limits.relaxation_ps))
        elif not results:
            results.append(
                _result("inconclusive", "The frames have no velocities.", missing="velocities in the frames")
            )
        return Finding(results, curves)

    def _not_too_early(self, result: CheckResult, least: float) -> CheckResult:
        """Return a result that does not fail before a run has lasted for ``least`` [ps].

        In a few time constants of the thermostat a temperature makes one slow move, which no estimate of errors from
        the series itself can tell from a mean that is off. And energy that was put into one kind of motion at the
        start, as packing does, needs picoseconds to reach the others.
        """
        length = self._times[-1] - self._times[0] if self._times else 0.0
        if result.status != "fail" or length >= least:
            return result
        missing = f"at least {least:g} ps, there are {length:.3g} ps"
        return result.model_copy(update={"status": "inconclusive", "missing": missing})

    def _series(self) -> tuple[Array, Array]:
        """Return times [ps] and temperatures after equilibration: of the time series where there is one."""
        series = self._run.series
        times, values = np.array(self._times), np.array(self._values)
        if len(series.get("temperature", ())) and len(series.get("time_fs", ())):
            times, values = np.asarray(series["time_fs"]) / 1000, np.asarray(series["temperature"])
        known = np.isfinite(values)
        times, values = times[known], values[known]
        if len(times):
            kept = times >= times[0] + self._run.equilibration * (times[-1] - times[0])
            times, values = times[kept], values[kept]
        return times, values

    def _mean(self, times: Array, values: Array) -> CheckResult:
        limits, target = self._limits, self._run.temperature
        if len(values) < 2 * limits.blocks:
            return _result(
                "inconclusive",
                f"There are {len(values)} temperatures after equilibration.",
                missing=f"at least {2 * limits.blocks} temperatures",
            )
        mean = mean_of(values)
        off = mean.value - target
        status: Status = "pass" if mean.independent >= limits.blocks else "inconclusive"
        if abs(off) > limits.mean * target:
            status = "fail" if status == "pass" and abs(off) > limits.errors * mean.error else "inconclusive"
        window = float(times[-1] - times[0])
        return _result(
            status,
            f"The mean temperature is {mean.value:.1f} ± {mean.error:.1f} K, the target {target:g} K "
            f"({100 * off / target:+.1f} %, limit {100 * limits.mean:g} %).",
            missing=f"a longer run: {window:.3g} ps after equilibration hold {mean.independent:.1f} independent samples"
            if status == "inconclusive"
            else "",
            value=off,
            error=mean.error,
            limit=limits.mean * target,
            numbers={"target": target, "mean": mean.value, "standard_deviation": float(values.std())},
        )

    def _equipartition(self, blocks: Array, freedom: Array) -> CheckResult:
        """Compare the temperatures of parts, kinds and molecules with that of all.

        :param blocks: energies [eV], shape (blocks, molecules, 3).
        """
        limits = self._limits
        if len(blocks) < 2 * limits.blocks:
            return _result(
                "inconclusive",
                f"There are velocities of {len(blocks)} frames after equilibration.",
                missing=f"at least {2 * limits.blocks} frames with velocities",
                quantity="evenness of the temperature",
            )
        everything = _mean_temperature(blocks, freedom, slice(None), slice(None))
        pooled, kinds, single = self._compared(blocks, freedom)
        numbers: dict[str, float | int | str | None] = {"temperature": everything.value}
        for name, mean in (pooled | kinds).items():
            numbers[name], numbers[f"{name}_error"] = mean.value, mean.error
        fails, worst = [], 0.0
        count = len(pooled) + len(kinds) + len(single)
        for group, allowed in ((pooled, limits.parts), (kinds, limits.parts), (single, limits.molecule)):
            for name, mean in group.items():
                off = mean.value / everything.value - 1
                worst = max(worst, abs(off), key=abs) if group is pooled else worst
                chance = float(stats.t.isf(0.001 / (2 * count), max(mean.independent - 1, 1)))
                if abs(off) > allowed and abs(off) * everything.value > max(limits.errors, chance) * mean.error:
                    fails.append(f"{name} has {mean.value:.0f} ± {mean.error:.0f} K")
        unsure = [name for name, mean in pooled.items() if 2 * mean.error > limits.parts * everything.value]
        status: Status = "fail" if fails else "inconclusive" if unsure else "pass"
        told = ", ".join(f"{_WORDS[name]} {mean.value:.0f} ± {mean.error:.0f} K" for name, mean in pooled.items())
        hot = f" Off by more than chance: {'; '.join(fails[:5])}{' ...' if len(fails) > 5 else ''}." if fails else ""
        return CheckResult(
            check=NAME,
            status=status,
            quantity="evenness of the temperature",
            value=100 * worst,
            limit=100 * limits.parts,
            unit="%",
            reason=f"All atoms {everything.value:.0f} K; {told}.{hot}",
            missing=f"a longer run or more molecules: {', '.join(_WORDS[name] for name in unsure)} is not known to "
            f"{100 * limits.parts:g} %"
            if status == "inconclusive"
            else "",
            numbers=numbers,
        )

    def _compared(self, blocks: Array, freedom: Array) -> tuple[dict[str, Mean], dict[str, Mean], dict[str, Mean]]:
        """Return mean temperatures of each part, of each part of each kind, and of each molecule."""
        everyone = np.ones(len(self._kinds), dtype=bool)
        pooled = dict(_parts_of(blocks, freedom, everyone, ""))
        kinds: dict[str, Mean] = {}
        for kind in sorted(set(self._kinds.tolist())):
            kinds |= dict(_parts_of(blocks, freedom, self._kinds == kind, f"{kind}_"))
        single = {
            f"molecule {index} ({kind})": _mean_temperature(blocks, freedom, slice(index, index + 1), slice(None))
            for index, kind in enumerate(self._kinds.tolist())
            if freedom[index].sum() > 3
        }
        return pooled, kinds, single


def _parts_of(blocks: Array, freedom: Array, chosen: np.ndarray, prefix: str) -> Iterator[tuple[str, Mean]]:
    for index, name in enumerate(PARTS):
        if freedom[chosen, index].sum() > 1e-6:
            yield f"{prefix}{name}", _mean_temperature(blocks, freedom, chosen, slice(index, index + 1))


def _mean_temperature(blocks: Array, freedom: Array, molecules: slice | np.ndarray, parts: slice) -> Mean:
    energies = blocks[:, molecules, parts].sum(axis=(1, 2))
    return mean_of(temperatures(energies, np.full(len(energies), freedom[molecules, parts].sum())))


CHECK = Check(
    title="Temperature and equipartition",
    limits=TemperatureLimits,
    begin=_Temperature,
    formula="T = 2 E/(f k): translation P^2/2M, rotation L I^-1 L/2, vibration the rest, of each molecule",
    source="equipartition theorem; limits: proposals",
)
