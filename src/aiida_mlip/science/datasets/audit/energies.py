"""Groups of energies that were not computed like the rest."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.offsets import Shift, median_shifts
from aiida_mlip.science.datasets.audit.reference import ENERGY_FACTORS
from aiida_mlip.science.datasets.audit.registry import check
from aiida_mlip.science.datasets.audit.report import Finding, Severity
from aiida_mlip.science.datasets.robust import correlation, mad

Array = NDArray[np.float64]

_FLOOR = 1e-3
_FEW = 5
_RIGID = 5.0
_GAP_RATIO = 8.0


@check("energy_consistency")
def energy_consistency(context: Context) -> Iterator[Finding]:
    """Groups whose energies have an offset, two levels within one type, and neighbours that contradict each other."""
    if context.reference is None:
        context.skip("energy_consistency", "no baseline, and too few frames or too many elements for a fit to the set")
    else:
        shifts = _shifts(context)
        yield from _shift_findings(context, shifts)
        yield from _two_levels(context, {index for name in shifts for index in context.partitions[name]})
    yield from _contradicting_neighbours(context)


def _shifts(context: Context) -> dict[str, Shift]:
    """Return the types and groups whose energies are shifted, though the reference describes their forces."""
    partitions = context.partitions
    found: dict[str, Shift] = {}
    if context.reference is context.fit and context.fit is not None:
        found = {f"config_type {name!r}": shift for name, shift in context.fit.shifts.items()}
    by_median = partitions
    if context.reference is context.fit:
        by_median = {name: members for name, members in partitions.items() if name.startswith("group")}
        by_median |= {"config_type": _rest(context, found)}
    residuals = {
        name: context.residuals[[index for index in members if np.isfinite(context.residuals[index])]]
        for name, members in by_median.items()
    }
    medians = median_shifts(residuals, context.settings.energy_offset, context.settings.min_group)
    covered = {index for name in found for index in partitions[name]}
    for name, shift in medians.items():
        if name in partitions and not covered.issuperset(partitions[name]):
            found[name] = shift
    return {name: shift for name, shift in found.items() if _describes_forces(context, partitions[name])}


def _rest(context: Context, found: dict[str, Shift]) -> list[int]:
    """Return the frames of the configuration types that are not shifted: what groups are compared with."""
    shifted = {index for name in found for index in context.partitions[name]}
    return [index for index in range(len(context.frames)) if index not in shifted]


def _describes_forces(context: Context, frames: list[int]) -> bool:
    """Return whether the reference describes the forces of these frames; True where they have none to speak of."""
    assert context.reference is not None
    labelled, predicted = [], []
    for index in frames[:20]:
        one, other = context.forces(index), context.reference.forces(index)
        if one is not None and other is not None:
            labelled.append(one.ravel())
            predicted.append(other.ravel())
    if not labelled:
        return context.reference.is_potential
    joined = np.concatenate(labelled)
    if np.sqrt(np.mean(joined**2)) < 0.05:
        return True
    return correlation(joined, np.concatenate(predicted)) > context.settings.min_correlation


def _shift_findings(context: Context, shifts: dict[str, Shift]) -> Iterator[Finding]:
    assert context.reference is not None
    for name, shift in shifts.items():
        frames = [index for index in context.partitions[name] if np.isfinite(context.energies[index])]
        ratio = _unit_ratio(context, frames)
        large = abs(shift.value) > context.settings.energy_offset_error and _rigid(context, frames, shift)
        severe = large or bool(ratio)
        yield Finding(
            check="energy_consistency",
            severity=Severity.ERROR if severe else Severity.WARNING,
            frames=tuple(frames),
            message=f"Energies of {name} are {shift.value:+.3g} eV/atom ({shift.uncertainty:.2g} uncertain) off those "
            f"of most frames, against {context.reference.name}, which describes their forces: another functional, "
            f"pseudopotential, U, spin state or zero of energy.{ratio}",
            remedy="Compute them again with the settings of the rest, train them on another head, or remove them.",
        )


def _rigid(context: Context, frames: list[int], shift: Shift) -> bool:
    """Return whether an offset from a potential is the same for all frames of a group.

    Another level of theory shifts them all alike. A potential that is wrong for this kind of configuration, as
    foundation models are for dimers, scatters by as much as it is off.
    """
    assert context.reference is not None
    residuals = context.residuals[frames]
    residuals = residuals[np.isfinite(residuals)]
    return not context.reference.is_potential or abs(shift.value) > _RIGID * max(mad(residuals), _FLOOR)


def _unit_ratio(context: Context, frames: list[int]) -> str:
    """Return a sentence on the unit that the ratio of labelled and predicted total energies suggests, or nothing."""
    assert context.reference is not None
    predicted = context.reference.energies()[frames]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.median(context.energies[frames] / predicted))
    for unit, value in ENERGY_FACTORS.items():
        if abs(ratio / value - 1.0) < 0.05:
            return f" The energies are {ratio:.4g} times the expected ones, which is {unit} instead of eV."
    return ""


def _two_levels(context: Context, seen: set[int]) -> Iterator[Finding]:
    """Yield a finding for each configuration type whose deviations from the reference form two separate levels."""
    for name, members in context.config_types.items():
        mine = np.array([i for i in members if np.isfinite(context.residuals[i]) and i not in seen], dtype=np.int64)
        if len(mine) < 2 * context.settings.min_group:
            continue
        order = mine[np.argsort(context.residuals[mine])]
        sorted_values = context.residuals[order]
        gaps = np.diff(sorted_values)
        smallest = max(context.settings.min_group, round(0.03 * len(mine)))
        allowed = slice(smallest - 1, len(gaps) - smallest + 1)
        if not len(gaps[allowed]):
            continue
        cut = int(np.argmax(gaps[allowed])) + smallest
        low, high = sorted_values[:cut], sorted_values[cut:]
        distance = float(np.median(high) - np.median(low))
        width = max(mad(low), mad(high), _FLOOR)
        if gaps[cut - 1] > max(0.5 * context.settings.energy_offset, _GAP_RATIO * width):
            minority = order[:cut] if cut <= len(order) / 2 else order[cut:]
            severe = distance > context.settings.energy_offset_error
            yield Finding(
                check="energy_consistency",
                severity=Severity.ERROR if severe else Severity.WARNING,
                frames=tuple(sorted(minority.tolist())),
                message=f"Energies of config_type {name!r} form two levels {distance:.3g} eV/atom apart (each "
                f"{width:.2g} wide) against the reference; {len(minority)} of {len(order)} frames are in the smaller "
                "one: two levels of theory are mixed.",
                remedy="Find out which calculations these are; compute the smaller part again or remove it.",
            )


def _contradicting_neighbours(context: Context) -> Iterator[Finding]:
    """Yield a finding on near-duplicates whose energies differ by more than their forces allow."""
    exact = {frozenset(pair) for members in context.duplicates.exact for pair in pairwise(members)}
    frames: set[int] = set()
    worst = (0.0, 0, 0)
    for i, j, rms in context.duplicates.links:
        if frozenset((i, j)) in exact or context.sizes[i] < 2 or {i, j} & context.isolated:
            continue
        strength = [float(np.sqrt(np.mean(f**2))) for k in (i, j) if (f := context.forces(k)) is not None]
        difference = abs(context.energies[i] / context.sizes[i] - context.energies[j] / context.sizes[j])
        allowed = context.settings.duplicate_energy + 3.0 * max(strength, default=1.0) * rms
        if np.isfinite(difference) and difference > allowed:
            frames |= {i, j}
            worst = max(worst, (float(difference), i, j))
    if frames:
        yield Finding(
            check="energy_consistency",
            severity=Severity.ERROR,
            frames=tuple(sorted(frames)),
            message=f"{len(frames)} frames are nearly equal to others whose energies differ by more than their forces "
            f"allow; worst: frames {worst[1]} and {worst[2]}, {1e3 * worst[0]:.3g} meV/atom.",
            remedy="They were computed at different levels of theory, or one did not converge: keep those of the rest.",
        )
