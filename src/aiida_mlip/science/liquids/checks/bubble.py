"""Whether a hole opens in the liquid.

The limits are calibrated on homogeneous boxes of EC/EMC. A liquid of DFT quality has voids of 2.7 to 3.2 Å at 0.93 to
1.2 g/cm3. Rigid molecules with Lennard-Jones interactions, moved by Monte Carlo, are homogeneous by construction, and
looser than the real liquid since they have no charges; of their largest void 95 % of configurations stay below

=================  =========  =========  =========  =========
density [g/cm^3]   1.1        0.93       0.8        0.7
temperature [K]    300        300        500        500
12 molecules [Å]   3.1        3.7        4.3        4.6
48 molecules [Å]   3.1        4.0*       4.8        -
=================  =========  =========  =========  =========

(* at 500 K), so the limit of 4.0 Å grows below 0.93 g/cm3 as density to the power of -3/2. A box of 96 molecules at
0.93 g/cm3 less 2, 8 and 18 neighbours has voids of 4.4, 6.3 and 7.1 Å, while its mean density falls by 2, 8 and 19 %
only. Packed boxes that have not seen dynamics are no homogeneous liquids: theirs are 4.5 to 5.1 Å.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pydantic import Field

from aiida_mlip.science.dynamics.observables import density_of, is_bulk
from aiida_mlip.science.liquids.boiling import Boiling
from aiida_mlip.science.liquids.checks._base import Array, Check, Finding, Run
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.liquids.molecules import find_molecules
from aiida_mlip.science.liquids.voids import density_spread, largest_void

NAME = "bubble"

Flags = NDArray[np.bool_]

HOMOGENEOUS = 0.93
"""Density [g/cm^3] of the calibration below which voids of a homogeneous liquid may be larger."""


class BubbleLimits(Boiling):
    """Limits of ``bubble``."""

    radius: float = Field(
        default=4.0,
        gt=0,
        description="largest void at 0.93 g/cm^3 and above [Å]; below it grows as density^-1.5; measured",
    )
    growth: float = Field(
        default=1.35,
        gt=1,
        description="largest void over its median in the first quarter after equilibration, and in a run below "
        "settling_ps over that of step 0 (no unit); proposal",
    )
    share: float = Field(default=0.05, ge=0, lt=1, description="share of frames that may have a larger one; proposal")
    spread: float = Field(
        default=0.25,
        gt=0,
        description="standard deviation over mean of the mass in spheres of 5 Å (no unit), at 0.93 g/cm^3; goes as "
        "1/density; proposal",
    )
    spread_molecules: int = Field(
        default=48, ge=1, description="molecules from which on the spread is judged; proposal"
    )
    interval_fs: float = Field(
        default=50.0, ge=0, description="time between two frames that are looked at [fs]; proposal"
    )
    settling_ps: float = Field(
        default=10.0,
        ge=0,
        description="time that a hole of the first configuration has to close [ps]; until then it is inconclusive, "
        "unless it grows; proposal",
    )
    min_frames: int = Field(default=20, ge=2, description="frames that the share needs; proposal")


class _Bubble:
    """One reading."""

    def __init__(self, run: Run, limits: BubbleLimits) -> None:
        self._run, self._limits = run, limits
        self._large = len(find_molecules(run.start) or ()) >= limits.spread_molecules
        self._first_radius = largest_void(run.start)[0]
        self._first_spread = density_spread(run.start) if self._large else 0.0
        self._times: list[float] = []
        self._radii: list[float] = []
        self._spreads: list[float] = []
        self._densities: list[float] = []

    def add(self, frame: Atoms) -> None:
        time_fs = float(frame.info["time_fs"])
        if self._times and time_fs - self._times[-1] < self._limits.interval_fs - 1e-6:
            return
        self._times.append(time_fs)
        self._radii.append(largest_void(frame)[0])
        self._densities.append(density_of(frame))
        if self._large:
            self._spreads.append(density_spread(frame))

    def finish(self) -> Finding:
        times, radii = np.array(self._times) / 1000, np.array(self._radii)
        curves: dict[str, Array] = {"bubble_time_ps": times, "bubble_radius": radii}
        kept = times >= times[0] + self._run.equilibration * (times[-1] - times[0]) if len(times) else times > 0
        if not kept.any():
            return Finding([self._result("inconclusive", "There are no frames.", None, missing="frames")], curves)
        looser = np.maximum(HOMOGENEOUS / np.array(self._densities)[kept], 1.0) ** 1.5
        results = [self._void(times[kept], radii[kept], looser)]
        if self._large:
            curves["bubble_spread"] = np.array(self._spreads)
            results.append(self._uneven(np.array(self._spreads)[kept], np.array(self._densities)[kept]))
        return Finding(results, curves)

    def _void(self, times: Array, radii: Array, looser: Array) -> CheckResult:
        limits, first = self._limits, radii[: len(radii) // 4]
        allowed = limits.radius * looser
        usual = float(np.median(first)) if len(first) >= 5 else None
        if usual is not None:
            allowed = np.minimum(allowed, limits.growth * usual)
        status, share, missing = self._verdict(radii > allowed, radii, self._first_radius)
        worst = int(radii.argmax())
        reason = (
            f"The largest void is {np.median(radii):.2f} Å (median) and {radii[worst]:.2f} Å at most, at "
            f"{times[worst]:.3g} ps; {100 * share:.1f} % of {len(radii)} frames are above "
            f"{np.median(allowed):.2f} Å."
        )
        numbers: dict[str, float | int | str | None] = {
            "largest": float(radii[worst]),
            "share_above": share,
            "usual": usual,
            "first": self._first_radius,
            "frames": len(radii),
        }
        return self._result(
            status, reason, float(np.median(radii)), limit=float(np.median(allowed)), missing=missing, numbers=numbers
        )

    def _uneven(self, spreads: Array, densities: Array) -> CheckResult:
        allowed = self._limits.spread * HOMOGENEOUS / densities
        status, share, missing = self._verdict(spreads > allowed, spreads, self._first_spread)
        reason = (
            f"The mass in spheres of 5 Å differs by {100 * np.median(spreads):.1f} % (median); {100 * share:.1f} % of "
            f"{len(spreads)} frames are above {100 * np.median(allowed):.1f} %."
        )
        return CheckResult(
            check=NAME,
            status=status,
            quantity="spread of the local density",
            value=float(np.median(spreads)),
            limit=float(np.median(allowed)),
            reason=reason,
            missing=missing,
            numbers={"share_above": share, "largest": float(spreads.max())},
        )

    def _verdict(self, above: Flags, values: Array, first: float) -> tuple[Status, float, str]:
        """Return status, share of frames above, and what is missing.

        Packed boxes have holes that need time to close, and in a short run the frames are one fluctuation, of 5 to
        8 %: so a hole that was there at step 0 fails at once where it has grown as a bubble does.

        :param first: what the value was at step 0.
        """
        limits, share = self._limits, float(above.mean())
        clear = len(above) >= 3 and share > 0.5
        if len(above) < limits.min_frames and not clear:
            needed = f"{limits.min_frames} frames after equilibration, {limits.interval_fs:g} fs apart"
            return "inconclusive", share, f"{needed}; there are {len(above)}"
        if share <= limits.share:
            return "pass", share, ""
        time = (self._times[-1] - self._times[0]) / 1000
        if time < limits.settling_ps and float(np.median(values[above])) < limits.growth * first:
            had = (
                f"{limits.settling_ps:g} ps, there are {time:.3g} ps: the hole was there at the start, nearly as large"
            )
            return "inconclusive", share, had
        if self._run.ensemble == "npt" and limits.possible(self._run.temperature, self._run.pressure):
            return "inconclusive", share, limits.remedy
        return "fail", share, ""

    def _result(
        self,
        status: Status,
        reason: str,
        value: float | None,
        *,
        limit: float | None = None,
        missing: str = "",
        numbers: dict[str, float | int | str | None] | None = None,
    ) -> CheckResult:
        return CheckResult(
            check=NAME,
            status=status,
            quantity="largest void",
            value=value,
            limit=limit,
            unit="Å",
            reason=reason,
            missing=missing,
            numbers=numbers or {},
        )


def _applies(run: Run) -> bool:
    return is_bulk(run.start)


CHECK = Check(
    title="Bubbles",
    limits=BubbleLimits,
    begin=_Bubble,
    formula="radius = max over points x of min over atoms i of |x - r_i|; spread = std/mean of the mass within 5 Å",
    source="calibrated on homogeneous boxes; proposals",
    applies=_applies,
)
