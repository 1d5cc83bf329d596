"""Whether the energy is a number, is free of spikes, and is conserved where the ensemble conserves it.

Conservation alone proves nothing: it says that the forces are the gradient of the energy and that the time step is
short enough. Molecules have been seen to collapse while the total energy held to 0.3 meV/atom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from pydantic import Field
from scipy.ndimage import median_filter

from aiida_mlip.science.dynamics.observables import degrees_of_freedom
from aiida_mlip.science.liquids.blocks import drift_of
from aiida_mlip.science.liquids.checks._base import Array, Check, Finding, Run, answers
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.models import StrictModel

NAME = "energy"

_result = answers(NAME, "drift of the total energy", "meV/atom/ps")

PROVES_NOTHING = "Conservation alone proves nothing: molecules can collapse at constant energy."

_LEAST_ROWS = 10


class EnergyLimits(StrictModel):
    """Limits of ``energy``."""

    drift: float = Field(
        default=0.5,
        gt=0,
        description="drift of the total energy at constant energy [meV/atom/ps]; 0.5 heats by 2 K/ps; proposal",
    )
    fluctuation: float = Field(
        default=0.2,
        gt=0,
        description="standard deviation of the total over that of the kinetic energy at constant energy (no unit); "
        "proposal",
    )
    drift_fluctuations: float = Field(
        default=3.0,
        ge=0,
        description="a drift fails where it is larger than this multiple of the fluctuation too: the error of velocity "
        "Verlet follows slow flows of energy between vibrations (GFN2-xTB, 1 fs: 0.1 meV/atom/ps in 2 ps); "
        "proposal",
    )
    spike: float = Field(
        default=10.0,
        gt=0,
        description="deviation of one row from the median of five, over the robust standard deviation of all; proposal",
    )
    spike_floor: float = Field(default=5.0, ge=0, description="smaller deviations are no spikes [meV/atom]; proposal")


@dataclass(frozen=True)
class _Rows:
    """Times [ps] and energies [meV/atom], shape (rows,), of the whole run."""

    times: Array
    potential: Array
    kinetic: Array

    def after(self, start: float) -> _Rows:
        kept = self.times >= start
        return _Rows(self.times[kept], self.potential[kept], self.kinetic[kept])


class _Energy:
    """One reading: of the time series where there is one, else of the frames."""

    def __init__(self, run: Run, limits: EnergyLimits) -> None:
        self._run, self._limits = run, limits
        self._atoms = len(run.start)
        self._rows = _of_series(run)
        self._frames: list[tuple[float, float, float]] = []
        self._kelvin = degrees_of_freedom(run.start) * float(units.kB) / 2

    def add(self, frame: Atoms) -> None:
        if self._rows is None:
            energy = float(frame.info.get("energy", np.nan))
            kinetic = self._kelvin * float(frame.info.get("instantaneous_temperature", np.nan))
            self._frames.append((float(frame.info["time_fs"]), energy, kinetic))

    def finish(self) -> Finding:
        rows = self._rows or _of_table(np.array(self._frames).reshape(-1, 3), self._atoms)
        conserving = self._run.ensemble == "nve"
        shown = rows.potential + rows.kinetic if conserving else rows.potential
        curves = {"energy_time_ps": rows.times, "energy_per_atom": shown / 1000}
        if len(rows.times) < _LEAST_ROWS:
            few = f"There are {len(rows.times)} energies."
            return Finding([_result("inconclusive", few, missing=f"at least {_LEAST_ROWS} energies")], curves)
        if np.isnan(rows.potential).all() or np.isnan(rows.kinetic).all():
            absent = "Potential or kinetic energies were not written down."
            return Finding([_result("inconclusive", absent, missing="energies in the time series")], curves)
        if bad := self._not_finite(rows):
            return Finding([_result("fail", bad)], curves)
        start = rows.times[0] + self._run.equilibration * (rows.times[-1] - rows.times[0])
        kept = rows.after(float(start))
        return Finding([self._conserved(kept) if conserving else self._smooth(kept)], curves)

    def _not_finite(self, rows: _Rows) -> str:
        bad = ~(np.isfinite(rows.potential) & np.isfinite(rows.kinetic))
        if not bad.any():
            return ""
        return f"{int(bad.sum())} of {len(bad)} energies are NaN or infinite, the first at {rows.times[bad][0]:.3g} ps."

    def _conserved(self, rows: _Rows) -> CheckResult:
        limits, total = self._limits, rows.potential + rows.kinetic
        drift = drift_of(rows.times, total)
        window = float(rows.times[-1] - rows.times[0])
        rate, error = drift.change / window, drift.error / window
        line = np.polynomial.Polynomial.fit(rows.times, total, 1)
        noise = float(np.std(total - line(rows.times)))
        share = noise / max(float(np.std(rows.kinetic)), 1e-12)
        fails, missing = [self._spikes(rows.times, total)], ""
        if abs(rate) > limits.drift and drift.significant:
            if abs(drift.change) > limits.drift_fluctuations * noise:
                fails.append(f"The total energy drifts by more than {limits.drift:g} meV/atom/ps.")
            else:
                missing = "a longer run: the drift is within the fluctuation"
        elif error > limits.drift:
            missing = f"a longer run: the error of the drift is above {limits.drift:g} meV/atom/ps"
        if share > limits.fluctuation:
            fails.append(f"It fluctuates by {share:.2f} of the kinetic energy: the time step is too long.")
        told = f"Drift {rate:+.3g} ± {error:.2g} meV/atom/ps, fluctuation {noise:.3g} meV/atom over {window:.3g} ps."
        status: Status = "fail" if any(fails) else "inconclusive" if missing else "pass"
        return _result(
            status,
            " ".join([*(fail for fail in fails if fail), told, PROVES_NOTHING]),
            missing=missing if status == "inconclusive" else "",
            value=rate,
            error=error,
            limit=limits.drift,
            numbers={"fluctuation": noise, "fluctuation_over_kinetic": share, "window_ps": window},
        )

    def _smooth(self, rows: _Rows) -> CheckResult:
        spikes = self._spikes(rows.times, rows.potential)
        told = f"{len(rows.times)} potential energies are finite and free of spikes; nothing is conserved here."
        return CheckResult(
            check=NAME,
            status="fail" if spikes else "pass",
            quantity="spikes of the potential energy",
            reason=spikes or told,
        )

    def _spikes(self, times: Array, values: Array) -> str:
        """Return which rows stick out of their neighbours, in words; empty where none does."""
        away = np.abs(values - median_filter(values, 5, mode="nearest"))
        centred = np.abs(values - np.median(values))
        usual = 1.4826 * float(np.median(centred))
        spikes = away > max(self._limits.spike * usual, self._limits.spike_floor)
        if not spikes.any():
            return ""
        worst = int(away.argmax())
        return (
            f"{int(spikes.sum())} energies stick out of their neighbours, the worst by {away[worst]:.3g} meV/atom at "
            f"{times[worst]:.3g} ps."
        )


def _of_series(run: Run) -> _Rows | None:
    names = ("time_fs", "energy", "kinetic_energy")
    if any(not np.isfinite(run.series.get(name, ())).any() for name in names):
        return None
    return _of_table(np.column_stack([run.series[name] for name in names]), len(run.start))


def _of_table(table: Array, atoms: int) -> _Rows:
    return _Rows(table[:, 0] / 1000, 1000 * table[:, 1] / atoms, 1000 * table[:, 2] / atoms)


CHECK = Check(
    title="Energy",
    limits=EnergyLimits,
    begin=_Energy,
    formula="drift = slope of (E_pot + E_kin)/n; fluctuation = std of what the line leaves over std of E_kin/n",
    source="proposal",
)
