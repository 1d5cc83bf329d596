"""Energy against volume with rigid molecules: is there a well, a wall, and the limit of free molecules?

Centres of mass are scaled by (V/V0)^(1/3) and molecules are neither strained nor turned, so that only what acts between
molecules changes. Energies are per molecule, and zero is the sum of the molecules alone in the same geometry. A box
with ions has no such zero, since an ion alone and neutral is another species: there zero is its lowest density.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from scipy.signal import find_peaks

from aiida_mlip.science.augmentation.deform import deformed
from aiida_mlip.science.dynamics.observables import density_of
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.liquids.force_results import ScanResult, Well
from aiida_mlip.science.liquids.molecules import Molecule

Array = NDArray[np.float64]

SHALLOW = 0.005
"""Minima less deep than this [eV/molecule] are none: noise of single precision and of self-consistency."""

THIN = 0.3
"""Scans that begin above this density [g/cm^3] say nothing of free molecules, nor of a well below."""

DENSER = 1.1
"""The wall begins at this multiple of the density of the box at least: fluorinated solvents have 1.5 g/cm^3."""

TAIL = 5.0
"""Without a reference, energies up to this multiple of the limit may be a dipolar tail at the lowest density."""


@dataclass(frozen=True)
class Scan:
    """Energies of one box.

    :param name: of the box.
    :param molecules: their number.
    :param densities: ascending [g/cm^3], shape (n,).
    :param predicted: [eV/molecule], shape (n,), NaN where there is no label.
    :param true: same of the reference; None: there is none.
    :param slopes: predicted derivative of the energy by the logarithm of the volume, from stresses [eV/molecule], shape
        (n,), NaN where there is no stress; None: there is none.
    :param ions: zero is the lowest density instead of molecules alone.
    :param box_density: of the box that was scanned [g/cm^3]; 0: not known.
    """

    name: str
    molecules: int
    densities: Array
    predicted: Array
    true: Array | None = None
    slopes: Array | None = None
    ions: bool = False
    box_density: float = 0.0


@dataclass(frozen=True)
class ScanLimits:
    """Limits of the checks; fields of ``ForceTestSettings`` of the same names say what they are."""

    max_depth_error: float = 0.15
    max_position_error: float = 0.05
    max_free_molecule_error: float = 0.010
    wall_density: float = 1.5
    max_stress_error: float = 0.1


def scan_frames(atoms: Atoms, molecules: Sequence[Molecule], densities: Sequence[float]) -> list[Atoms]:
    """Return copies of a periodic configuration at other densities, molecules whole and rigid.

    :param densities: [g/cm^3].
    :raises ValueError: where the configuration is not periodic in three directions.
    """
    if not atoms.pbc.all():
        raise ValueError(f"pbc = {atoms.pbc.tolist()}: a volume scan needs a box that is periodic in three directions")
    now = density_of(atoms)
    return [deformed(atoms, (now / density) ** (1 / 3) * np.eye(3), molecules) for density in densities]


def find_well(densities: Array, energies: Array) -> Well | None:
    """Return the minimum of energy against density, or None where the lowest value is at an end or is no minimum.

    The minimum of the polynomial through the lowest point and up to two on either side; points higher above the lowest
    than three times its depth are left out, where the wall is no polynomial.

    :param densities: ascending [g/cm^3], shape (n,).
    :param energies: [eV/molecule], shape (n,); NaN is left out.
    """
    known = np.isfinite(energies)
    x, y = densities[known], energies[known]
    if len(x) < 3:
        return None
    lowest = int(np.argmin(y))
    if lowest in (0, len(x) - 1) or y[lowest] > -SHALLOW or y[0] - y[lowest] < SHALLOW:
        return None
    window = np.arange(max(lowest - 2, 0), min(lowest + 3, len(x)))
    window = window[(np.abs(window - lowest) < 2) | (y[window] - y[lowest] < 3 * abs(y[lowest]))]
    curve = Polynomial.fit(x[window], y[window], deg=len(window) - 1)
    roots = curve.deriv().roots()
    real = roots[np.isreal(roots)].real
    inside = real[(real > x[lowest - 1]) & (real < x[lowest + 1])]
    candidates = np.append(inside, x[lowest])
    best = float(candidates[np.argmin(curve(candidates))])
    return Well(density=best, depth=float(-curve(best)))


def scan_result(scan: Scan) -> ScanResult:
    """Return the numbers of a scan."""
    true = scan.true
    return ScanResult(
        name=scan.name,
        molecules=scan.molecules,
        predicted=find_well(scan.densities, scan.predicted),
        true=None if true is None else find_well(scan.densities, true),
        low_density=_or_none(scan.predicted[0]),
        low_density_true=None if true is None else _or_none(true[0]),
        missing_predicted=int(np.isnan(scan.predicted).sum()),
        missing_true=None if true is None else int(np.isnan(true).sum()),
    )


def check_scan(scan: Scan, limits: ScanLimits) -> list[CheckResult]:
    """Return what can be said of a scan: of well, wall, smoothness, free molecules and stress, and of the reference."""
    found = scan_result(scan)
    wall = max(limits.wall_density, DENSER * scan.box_density)
    results = [
        _well(scan, found, wall),
        _wall(scan, wall),
        _smooth(scan),
        _free_molecules(scan, limits.max_free_molecule_error),
        _stress(scan, limits.max_stress_error),
    ]
    if scan.true is not None:
        results += _against_reference(scan, found, limits)
    return results


def _well(scan: Scan, found: ScanResult, wall: float) -> CheckResult:
    well = found.predicted
    known = np.isfinite(scan.predicted)
    status: Status = "pass" if well else "fail"
    missing = ""
    if well:
        reason = f"a well of {well.depth * 1000:.0f} meV per molecule at {well.density:.2f} g/cm3"
    elif known.sum() < 3:
        status, missing = "inconclusive", "energies at three densities at least"
        reason = f"only {known.sum()} of {len(known)} densities have an energy"
    else:
        lowest = int(np.nanargmin(scan.predicted))
        density, value = scan.densities[lowest], scan.predicted[lowest]
        where = {0: "the lowest density", len(known) - 1: "the highest density: nothing holds the molecules apart"}
        end = where.get(lowest, "no density deep enough: nothing holds the molecules together")
        if (lowest == 0 and density > THIN) or (lowest == len(known) - 1 and density < wall):
            status, missing = "inconclusive", f"a scan from {THIN:g} g/cm3 or less to {wall:g} g/cm3 or more"
        reason = f"no well: the lowest energy, {value * 1000:.0f} meV per molecule at {density:.2f} g/cm3, is at {end}"
    return _result(
        scan,
        "volume_well",
        status,
        reason,
        quantity="depth of the well",
        value=well.depth if well else None,
        unit="eV/molecule",
        missing=missing,
        numbers={"density": well.density if well else None},
    )


def _wall(scan: Scan, start: float) -> CheckResult:
    chosen = np.isfinite(scan.predicted) & (scan.densities >= start)
    x, y = scan.densities[chosen], scan.predicted[chosen]
    say: dict[str, Any] = {
        "quantity": "smallest rise between densities",
        "unit": "eV/molecule",
        "limit": 0.0,
    }
    if len(x) < 2:
        reason = f"{len(x)} densities from {start:g} g/cm3 on have an energy"
        missing = f"energies at two densities from {start:g} g/cm3 on"
        return _result(scan, "volume_wall", "inconclusive", reason, missing=missing, **say)
    rises = np.diff(y)
    least = int(np.argmin(rises))
    if rises[least] > 0:
        reason = f"the energy rises all the way from {x[0]:g} to {x[-1]:g} g/cm3, by {y[-1] - y[0]:.2f} eV per molecule"
        return _result(scan, "volume_wall", "pass", reason, value=float(rises[least]), **say)
    reason = f"the energy falls by {-rises[least]:.3f} eV per molecule from {x[least]:g} to {x[least + 1]:g} g/cm3"
    return _result(scan, "volume_wall", "fail", reason, value=float(rises[least]), **say)


def _smooth(scan: Scan) -> CheckResult:
    known = np.isfinite(scan.predicted)
    x, y = scan.densities[known], scan.predicted[known]
    say: dict[str, Any] = {"quantity": "minima", "limit": 1.0, "numbers": {"roughness_ev": roughness(x, y)}}
    if len(x) < 5:
        reason = f"only {len(x)} densities have an energy"
        return _result(scan, "volume_smooth", "inconclusive", reason, missing="energies at five densities", **say)
    minima = _minima(y)
    where = ", ".join(f"{x[index]:g}" for index in minima)
    if len(minima) > 1:
        reason = f"there are {len(minima)} minima, at {where} g/cm3"
        return _result(scan, "volume_smooth", "fail", reason, value=float(len(minima)), **say)
    reason = "one minimum" if len(minima) else "no second minimum"
    return _result(scan, "volume_smooth", "pass", reason, value=float(len(minima)), **say)


def _minima(energies: Array) -> list[int]:
    """Return the indices of minima deeper than noise; of the ends that of high density can be one."""
    walled = np.append(energies, energies.max() + 1.0)
    return [int(index) for index in find_peaks(-walled, prominence=SHALLOW)[0]]


def roughness(densities: Array, energies: Array) -> float | None:
    """Return how far points are from the cubic through their four neighbours, root mean square [eV/molecule].

    Only points whose neighbours are all below zero energy, on the well, count; None where there is none.
    """
    left = []
    for index in range(2, len(densities) - 2):
        around = [index - 2, index - 1, index + 1, index + 2]
        if (energies[around] < 0).all():
            cubic = Polynomial.fit(densities[around], energies[around], deg=3)
            left.append(float(cubic(densities[index]) - energies[index]))
    return float(np.sqrt(np.mean(np.square(left)))) if left else None


def _free_molecules(scan: Scan, limit: float) -> CheckResult:
    name, density = "volume_free_molecules", scan.densities[0]
    value, true = _or_none(scan.predicted[0]), None if scan.true is None else _or_none(scan.true[0])
    say: dict[str, Any] = {"unit": "eV/molecule", "limit": limit}
    if value is None or scan.ions:
        missing = "a box without ions" if scan.ions else f"an energy at {density:g} g/cm3"
        reason = "ions alone and neutral are other species" if scan.ions else "the lowest density has no energy"
        return _result(scan, name, "inconclusive", reason, missing=missing, **say)
    if true is not None:
        reason = f"at {density:g} g/cm3 {value * 1000:.1f} meV per molecule, the reference {true * 1000:.1f}"
        status: Status = "pass" if abs(value - true) <= limit else "fail"
        say["quantity"] = "energy at the lowest density less that of the reference"
        return _result(scan, name, status, reason, value=value - true, aspect="accuracy", **say)
    say |= {"value": value, "quantity": "energy at the lowest density less that of the molecules alone"}
    reason = f"at {density:g} g/cm3 {value * 1000:.1f} meV per molecule"
    if abs(value) <= limit:
        return _result(scan, name, "pass", reason, **say)
    if abs(value) > TAIL * limit and density <= THIN:
        return _result(scan, name, "fail", f"{reason}: the molecules do not come apart", **say)
    missing = "a reference, or a lower density: molecules with dipoles may act on each other that far"
    return _result(scan, name, "inconclusive", reason, missing=missing, **say)


def _stress(scan: Scan, limit: float) -> CheckResult:
    """Compare stresses with the slope of the energy over the points of the well that have two neighbours each side.

    The slope is that of the quartic through the five points, in density and in its logarithm; where these two differ
    by as much as the stress does, the densities are too far apart to tell.
    """
    say: dict[str, Any] = {"quantity": "slope of the energy less that from the stress, relative", "limit": limit}
    slopes = np.full(len(scan.densities), np.nan) if scan.slopes is None else scan.slopes
    known = np.isfinite(scan.predicted) & np.isfinite(slopes)
    x, y, slopes = scan.densities[known], scan.predicted[known], slopes[known]
    rows = []
    for index in range(2, len(x) - 2):
        if y[index] < 0:
            near, middle = slice(index - 2, index + 3), x[index]
            linear = Polynomial.fit(x[near], y[near], deg=4).deriv()(middle) * middle
            logarithmic = Polynomial.fit(np.log(x[near]), y[near], deg=4).deriv()(np.log(middle))
            rows.append((-linear, -logarithmic, slopes[index]))
    if len(rows) < 3:
        reason = f"{len(rows)} points of the well have stresses and neighbours"
        return _result(scan, "volume_stress", "inconclusive", reason, missing="stresses at three such points", **say)
    linear, logarithmic, stress = np.array(rows, dtype=float).T
    scale = float(np.sqrt(np.mean(linear**2)))
    value, doubt = (float(np.sqrt(np.mean((linear - other) ** 2))) / scale for other in (stress, logarithmic))
    say |= {"value": value, "error": doubt}
    if value <= limit:
        return _result(scan, "volume_stress", "pass", f"stresses and energies agree within {value:.1%}", **say)
    reason = f"stresses and the slope of the energy differ by {value:.0%}"
    if value > limit + 2 * doubt:
        return _result(scan, "volume_stress", "fail", reason, **say)
    return _result(scan, "volume_stress", "inconclusive", reason, missing="densities that are closer to another", **say)


def _against_reference(scan: Scan, found: ScanResult, limits: ScanLimits) -> list[CheckResult]:
    rows = (
        ("volume_depth", "depth", limits.max_depth_error, "eV per molecule"),
        ("volume_position", "density", limits.max_position_error, "g/cm3"),
    )
    results = []
    for name, field, limit, unit in rows:
        say: dict[str, Any] = {
            "quantity": f"relative error of the {field} of the well",
            "limit": limit,
            "aspect": "accuracy",
        }
        if found.true is None:
            reason, missing = "the reference has no well", "a reference with a well"
            results.append(_result(scan, name, "inconclusive", reason, missing=missing, **say))
            continue
        true = getattr(found.true, field)
        if found.predicted is None:
            results.append(_result(scan, name, "fail", f"no well; that of the reference: {true:.3f} {unit}", **say))
            continue
        value = getattr(found.predicted, field)
        error = value / true - 1
        reason = f"{field} of the well {value:.3f} {unit}, the reference {true:.3f} ({error:+.0%})"
        status: Status = "pass" if abs(error) <= limit else "fail"
        results.append(_result(scan, name, status, reason, value=float(error), **say))
    return results


def _result(scan: Scan, check: str, status: Status, reason: str, **more: Any) -> CheckResult:
    numbers = {"box": scan.name, **more.pop("numbers", {})}
    return CheckResult(check=check, status=status, reason=f"{scan.name}: {reason}", numbers=numbers, **more)


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
