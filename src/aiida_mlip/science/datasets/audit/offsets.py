"""Groups of frames whose energies are shifted against those of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiida_mlip.science.datasets.robust import mad
from aiida_mlip.science.datasets.surrogate import Equations, Surrogate, fit

Array = NDArray[np.float64]

_MOST = 5
_TRIED = 12
_IMPROVEMENT = 0.7
_PARSIMONY = 1.1
_CERTAINTY = 4.0
_SCREEN = 0.25
_BETWEEN = 6.0
_FEW = 5


@dataclass(frozen=True)
class Shift:
    """An energy offset [eV/atom] of a group from most frames, and its uncertainty."""

    value: float
    uncertainty: float


def fitted_shifts(
    equations: Equations, first: Surrogate, residuals: Mapping[str, Array], least: float
) -> tuple[dict[str, Shift], Surrogate]:
    """Return the groups whose energies fit the rest only with an offset, and the fit that has these offsets.

    Groups are added one at a time, as long as the offset of one lowers the cross-validated deviation of all energies
    by 30%. Of groups that do so equally well, the one with the smallest offset is taken. Forces tie down what energies
    alone would leave open; still, an offset of a group that is unlike all others may be fitted away unseen.

    :param residuals: group to labelled minus predicted energies [eV/atom].
    :param least: smallest offset that counts [eV/atom].
    """
    medians = {name: abs(float(np.median(values))) for name, values in residuals.items() if len(values)}
    candidates = sorted((name for name in equations.groups if name in medians), key=lambda name: -medians[name])
    best = first
    chosen: list[str] = []
    if not candidates or medians[candidates[0]] < _SCREEN * least:
        return {}, first
    for _ in range(min(_MOST, len(candidates) - 1)):
        tried = {name: fit(equations, shifted=[*chosen, name]) for name in candidates[:_TRIED] if name not in chosen}
        good = {
            name: found
            for name, found in tried.items()
            if found is not None
            and found.energy_deviation < _IMPROVEMENT * best.energy_deviation
            and _significant(shift_of(found, name), least)
        }
        if not good:
            break
        lowest = min(found.energy_deviation for found in good.values())
        close = [name for name, found in good.items() if found.energy_deviation < _PARSIMONY * lowest]
        taken = min(close, key=lambda name: abs(shift_of(good[name], name).value))
        best, chosen = good[taken], [*chosen, taken]
    return {name: shift_of(best, name) for name in chosen}, best


def _significant(shift: Shift, least: float) -> bool:
    return abs(shift.value) > max(least, _CERTAINTY * shift.uncertainty)


def shift_of(found: Surrogate, name: str) -> Shift:
    """Return the offset of a group in a fit, with the spread over the folds as its uncertainty."""
    values = found.offsets[name]
    return Shift(float(values[-1]), float(np.std(values[:-1])))


def median_shifts(residuals: Mapping[str, Array], least: float, least_frames: int) -> dict[str, Shift]:
    """Return the groups whose median residual [eV/atom] is off that of most frames.

    :param residuals: group to labelled minus reference energies [eV/atom].
    :param least: smallest offset that counts [eV/atom].
    :param least_frames: groups with fewer frames are not judged.
    """
    groups = [name for name, values in residuals.items() if len(values) >= least_frames]
    if len(groups) < 2:
        return {}
    medians = np.array([np.median(residuals[name]) for name in groups])
    centre = _weighted_median(medians, [len(residuals[name]) for name in groups])
    between = mad(medians) if len(groups) >= _FEW else 0.0
    found = {}
    for name, median in zip(groups, medians.tolist(), strict=True):
        uncertainty = max(mad(residuals[name]) / np.sqrt(len(residuals[name])), 1e-3)
        if abs(median - centre) > max(least, _BETWEEN * between, _CERTAINTY * uncertainty):
            found[name] = Shift(median - centre, float(uncertainty))
    return found


def _weighted_median(values: Array, weights: Sequence[int]) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(np.array(weights)[order])
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])
