"""Whether the liquid flows, and how fast its species diffuse where they do."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from aiida_mlip.science.dynamics.observables import is_bulk
from aiida_mlip.science.liquids.checks._base import Array, Check, Finding, Run, answers
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.liquids.transport import (
    PS_TO_CGS,
    Line,
    Walk,
    finite_size_correction,
    fit,
    is_cubic,
    local_slopes,
    spaced_lags,
    squared_displacements,
)
from aiida_mlip.science.models import StrictModel

NAME = "transport"
FLOW = "log-log slope of the mean squared displacement of all molecules"

_result = answers(NAME, FLOW)

Numbers = dict[str, float | int | str | None]


class TransportLimits(StrictModel):
    """Limits of ``transport``."""

    slope: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="deviation from 1 of the log-log slope of the mean squared displacement, and its standard error "
        "(no unit); proposal",
    )
    fit_start: float = Field(default=0.05, gt=0, lt=1, description="first lag of the fit over the run; proposal")
    fit_end: float = Field(default=0.25, gt=0, le=1, description="last lag of the fit over the run; proposal")
    min_msd: float = Field(
        default=4.0,
        ge=0,
        description="mean squared displacement at the last lag: less is a molecule that has not left its cage [Å^2]; "
        "proposal",
    )
    frozen_msd: float = Field(
        default=1.0, ge=0, description="less than this after frozen_time is no liquid [Å^2]; proposal"
    )
    frozen_time: float = Field(
        default=20.0, gt=0, description="[ps]; carbonates at 300 K go 6 to 12 Å^2 in it; proposal"
    )
    frozen_pressure: float = Field(
        default=0.1,
        description="at a higher one, or at constant volume, a frozen liquid does not fail [GPa]: the viscosity of "
        "organic liquids grows e-fold in some 0.1 GPa; proposal",
    )
    viscosity: float | None = Field(
        default=None, gt=0, description="of the same model [mPa s]; None: no finite-size correction is made"
    )

    @model_validator(mode="after")
    def _window_has_a_length(self) -> TransportLimits:
        if self.fit_end <= 1.5 * self.fit_start:
            raise ValueError(
                f"fit_start = {self.fit_start} and fit_end = {self.fit_end}: the last lag has to be more than 1.5 "
                "times the first"
            )
        return self


class _Transport:
    """One reading."""

    def __init__(self, run: Run, limits: TransportLimits) -> None:
        self._run, self._limits = run, limits
        self._walk = Walk(run.start)
        self._volumes: list[float] = []

    def add(self, frame: Atoms) -> None:
        self._walk.add(frame)
        self._volumes.append(float(frame.get_volume()))

    def finish(self) -> Finding:
        times, places = self._walk.places(self._run.equilibration)
        if len(times) < 10:
            few = f"There are {len(times)} times after equilibration."
            return Finding([_result("inconclusive", few, quantity=FLOW, missing="at least 100 evenly spaced frames")])
        lags = times - times[0]
        squares = squared_displacements(places)
        window = (self._limits.fit_start * lags[-1], self._limits.fit_end * lags[-1])
        curves: dict[str, Array] = {}
        shown = spaced_lags(len(lags) // 2)
        curves["transport_lag_ps"] = lags[shown]
        results = [self._flow(fit(lags, _walks(squares, self._moving()), window), window)]
        for kind, members in self._species().items():
            mine = _walks(squares, members)
            msd = 3 * mine.mean(axis=1)[shown]
            curves[f"transport_{kind}_msd"] = msd
            curves[f"transport_{kind}_slope"] = local_slopes(lags[shown], msd)
            results.append(self._diffusion(kind, len(members), fit(lags, mine, window), window))
        return Finding(results, curves)

    def _species(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for index, molecule in enumerate(self._walk.follower.molecules):
            found[molecule.kind].append(index)
        return dict(sorted(found.items()))

    def _moving(self) -> list[int]:
        """Return the molecules that say whether the liquid flows: those of several atoms, where there are any."""
        sizes = [len(molecule.indices) for molecule in self._walk.follower.molecules]
        return [index for index, size in enumerate(sizes) if size > 1] or list(range(len(sizes)))

    def _flow(self, line: Line | None, window: tuple[float, float]) -> CheckResult:
        limits = self._limits
        if line is None:
            short = f"The window of {window[0]:.3g} to {window[1]:.3g} ps has too few lags."
            return _result("inconclusive", short, quantity=FLOW, missing="a longer run, or frames closer in time")
        numbers: Numbers = {
            "window_start_ps": window[0],
            "window_end_ps": window[1],
            "msd_end": line.msd_end,
            "drift": self._walk.drift,
        }
        found = f"{line.msd_end:.2f} Å2 in {window[1]:.3g} ps, log-log slope {line.slope:.2f} ± {line.slope_error:.2f}"
        status: Status = "pass"
        why = f"The molecules diffuse: {found}."
        missing = ""
        if window[1] >= limits.frozen_time and line.msd_end < limits.frozen_msd:
            status, why = "fail", f"The liquid is frozen: its molecules move by {found}."
            pressure = self._run.pressure if self._run.ensemble == "npt" else None
            if pressure is None or pressure > limits.frozen_pressure:
                status, missing = (
                    "inconclusive",
                    f"a run at constant pressure of at most {limits.frozen_pressure:g} GPa",
                )
        elif reason := self._refusal(line):
            status, why = "inconclusive", f"The molecules do not diffuse yet, {reason}: {found}."
            missing = _longer(window, limits)
        return _result(
            status,
            why,
            quantity=FLOW,
            value=line.slope,
            error=line.slope_error,
            limit=1 - limits.slope if line.slope < 1 else 1 + limits.slope,
            numbers=numbers,
            missing=missing,
        )

    def _refusal(self, line: Line) -> str:
        """Return why a line is no diffusion, or nothing."""
        limits = self._limits
        if line.slope_error > limits.slope:
            return f"too few walks to tell (the slope is uncertain by {line.slope_error:.2f})"
        if line.slope > 1 + limits.slope:
            return f"they fly (slope above {1 + limits.slope:g})"
        if line.slope < 1 - limits.slope:
            return f"they are held (slope below {1 - limits.slope:g})"
        if line.msd_end < limits.min_msd:
            return f"they have not left their cages (less than {limits.min_msd:g} Å2)"
        return ""

    def _diffusion(self, kind: str, count: int, line: Line | None, window: tuple[float, float]) -> CheckResult:
        quantity = f"diffusion coefficient of {kind}"
        numbers: Numbers = {"molecules": count, "window_start_ps": window[0], "window_end_ps": window[1]}
        if line is None:
            return _result("inconclusive", f"There are too few lags for {kind}.", quantity=quantity, aspect="accuracy")
        numbers |= {"slope": line.slope, "slope_error": line.slope_error, "msd_end": line.msd_end}
        if reason := self._refusal(line):
            return _result(
                "inconclusive",
                f"No diffusion coefficient of {kind}: {reason}, slope {line.slope:.2f} ± {line.slope_error:.2f}, "
                f"{line.msd_end:.2f} Å2 in {window[1]:.3g} ps.",
                quantity=quantity,
                numbers=numbers,
                missing=_longer(window, self._limits),
                aspect="accuracy",
            )
        value, error = PS_TO_CGS * line.diffusion, PS_TO_CGS * line.diffusion_error
        correction, words = self._correction()
        numbers |= {"finite_size_correction": correction}
        if correction is not None:
            numbers["corrected"] = value + correction
        return _result(
            "pass",
            f"{kind} diffuses with ({value:.3g} ± {error:.2g})e-6 cm2/s, slope {line.slope:.2f}; {words}.",
            quantity=quantity,
            value=value,
            error=error,
            unit="1e-6 cm2/s",
            numbers=numbers,
            aspect="accuracy",
        )

    def _correction(self) -> tuple[float | None, str]:
        """Return the finite-size correction [1e-6 cm^2/s], where it can be known, and words for it."""
        viscosity = self._limits.viscosity
        if viscosity is None:
            return None, "without finite-size correction, which needs the viscosity"
        if not is_cubic(self._run.start):
            return None, "without finite-size correction, which is for cubes"
        skipped = int(self._run.equilibration * len(self._volumes))
        length = float(np.mean(self._volumes[skipped:])) ** (1 / 3)
        correction = PS_TO_CGS * finite_size_correction(self._run.temperature, viscosity, length)
        return correction, f"{correction:.3g}e-6 cm2/s more in an infinite box"


def _walks(squares: Array, members: list[int]) -> Array:
    """Return the squared displacements of the coordinates of some molecules, shape (t, walks)."""
    return squares[:, members].reshape(len(squares), -1)


def _longer(window: tuple[float, float], limits: TransportLimits) -> str:
    return f"a run of at least {3 * window[1] / limits.fit_end:.3g} ps after equilibration, or a higher temperature"


def _applies(run: Run) -> bool:
    return is_bulk(run.start)


CHECK = Check(
    title="Transport",
    limits=TransportLimits,
    begin=_Transport,
    formula="MSD(t) = <|R(s + t) - R(s)|^2> over origins s and molecules; D = slope / 6 where d log MSD / d log t = 1",
    source="slope: proposal; finite size: Yeh and Hummer, J. Phys. Chem. B 108, 15873 (2004)",
    applies=_applies,
)
