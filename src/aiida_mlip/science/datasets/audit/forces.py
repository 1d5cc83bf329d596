"""Forces that do not add up, that are too large, or that do not belong to their configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.reference import Reference
from aiida_mlip.science.datasets.audit.registry import check
from aiida_mlip.science.datasets.audit.report import Finding, Severity
from aiida_mlip.science.datasets.robust import correlation

Array = NDArray[np.float64]

_FLOOR = 0.05
_RELATIVE = 0.75
_TIGHT = 0.65
_UNRELATED = 0.2
_TYPICAL = 0.8


@check("net_force")
def net_force(context: Context) -> Iterator[Finding]:
    """Forces whose sum is not zero."""
    mean, implied = {}, {}
    for index in range(len(context.frames)):
        forces = context.forces(index)
        if forces is not None and len(forces) > 1:
            total = float(np.linalg.norm(forces.sum(axis=0)))
            mean[index], implied[index] = total / len(forces), total / np.sqrt(len(forces))
    errors = [index for index, value in implied.items() if value > context.settings.net_force_error]
    warnings = [i for i, value in mean.items() if value > context.settings.net_force_warning and i not in set(errors)]
    for severity, frames in ((Severity.ERROR, errors), (Severity.WARNING, warnings)):
        if not frames:
            continue
        worst = max(frames, key=lambda index: implied[index])
        yield Finding(
            check="net_force",
            severity=severity,
            frames=tuple(frames),
            message=f"Forces do not add up to zero in {len(frames)} frames; worst: frame {worst} with "
            f"{mean[worst]:.3g} eV/Å for each atom, as errors of {implied[worst]:.3g} eV/Å on each force would give. "
            "No potential can fit this part.",
            remedy="Look for atoms that were fixed, removed, or carved out of a larger cell, for an external field, "
            "and for loose convergence or a coarse grid; compute these frames again, or leave them out.",
        )


@check("force_outliers")
def force_outliers(context: Context) -> Iterator[Finding]:
    """Forces that are very large, and forces that contradict the reference while the rest agrees with it."""
    large = [
        index
        for index in range(len(context.frames))
        if (f := context.forces(index)) is not None
        and np.linalg.norm(f, axis=1).max(initial=0.0) > context.settings.max_force
    ]
    if large:
        yield Finding(
            check="force_outliers",
            severity=Severity.WARNING,
            frames=tuple(large),
            message=f"Forces above {context.settings.max_force:g} eV/Å in {len(large)} frames.",
            remedy="Keep them only if such strong compression is meant to be learnt; else leave them out.",
        )
    if context.reference is None:
        context.skip("force_outliers", "no baseline, and too few frames or too many elements for a fit to the set")
        return
    compared = _compare(context, context.reference)
    yield from _single_atoms(context, compared)
    yield from _whole_frames(context, compared)


@dataclass(frozen=True)
class _Compared:
    """Forces of one frame beside the reference: deviation of each atom, and cosine of the angle between the two."""

    deviation: Array
    size: Array
    cosine: float
    strength: float


def _compare(context: Context, reference: Reference) -> dict[int, _Compared]:
    found = {}
    for index in context.sample:
        labelled = context.forces(index)
        if labelled is None or len(labelled) < 2:
            continue
        tightest = context.environments[index].tightest
        if not reference.is_potential and tightest is not None and tightest[0] < _TIGHT:
            continue
        predicted = reference.forces(index)
        if predicted is None and context.fit is not None:
            predicted = context.fit.forces(index)
        if predicted is None:
            continue
        size = np.maximum(np.linalg.norm(labelled, axis=1), np.linalg.norm(predicted, axis=1))
        found[index] = _Compared(
            np.linalg.norm(labelled - predicted, axis=1),
            size,
            correlation(labelled.ravel(), predicted.ravel()),
            float(np.sqrt(np.mean(labelled**2))),
        )
    return found


def _usual(context: Context, compared: dict[int, _Compared]) -> dict[str, float]:
    """Return the usual deviation [eV/Å] for each configuration type."""
    usual = {}
    for name, members in context.config_types.items():
        deviations = [compared[index].deviation for index in members if index in compared]
        if deviations:
            usual[name] = max(float(np.median(np.concatenate(deviations))), _FLOOR)
    return usual


def _single_atoms(context: Context, compared: dict[int, _Compared]) -> Iterator[Finding]:
    usual = _usual(context, compared)
    found: dict[Severity, list[int]] = {Severity.ERROR: [], Severity.WARNING: []}
    worst = (0.0, 0, 0)
    for index, item in compared.items():
        limit = max(
            context.settings.force_outlier * usual[context.config_type(index)], context.settings.force_outlier_min
        )
        outlying = (item.deviation > limit) & (item.deviation > _RELATIVE * item.size)
        if outlying.any() and context.reference is not None:
            atom = int(np.argmax(np.where(outlying, item.deviation, 0.0)))
            if item.deviation[atom] < limit * context.reference.force_novelty(index, atom) ** 2:
                continue
            severe = item.deviation[atom] > 2.0 * limit
            found[Severity.ERROR if severe else Severity.WARNING].append(index)
            worst = max(worst, (float(item.deviation[atom]), index, atom))
    for severity, frames in found.items():
        if not frames or context.reference is None:
            continue
        name = context.config_type(worst[1])
        yield Finding(
            check="force_outliers",
            severity=severity,
            frames=tuple(sorted(frames)),
            message=f"Forces on some atoms of {len(frames)} frames contradict {context.reference.name}; worst of all: "
            f"atom {worst[2]} of frame {worst[1]}, off by {worst[0]:.3g} eV/Å where {usual[name]:.2g} eV/Å is usual "
            f"for config_type {name!r}.",
            remedy="Look at the calculation: not converged, another spin state, atoms in another order than the "
            "positions. Leave the frame out or compute it again.",
        )


def _whole_frames(context: Context, compared: dict[int, _Compared]) -> Iterator[Finding]:
    """Yield a finding on frames whose forces have nothing to do with the reference while those of others have."""
    usual = _usual(context, compared)
    strong = {i: c for i, c in compared.items() if c.strength > 3.0 * usual[context.config_type(i)] and len(c.size) > 2}
    if len(strong) < context.settings.min_group or np.median([c.cosine for c in strong.values()]) < _TYPICAL:
        return
    frames = [index for index, item in strong.items() if item.cosine < _UNRELATED]
    if frames and context.reference is not None:
        yield Finding(
            check="force_outliers",
            severity=Severity.ERROR,
            frames=tuple(frames),
            message=f"Forces of {len(frames)} frames are unrelated or opposite to {context.reference.name} (cosine of "
            f"the angle below {_UNRELATED}), while those of the other frames agree with it (median "
            f"{np.median([c.cosine for c in strong.values()]):.2f}).",
            remedy="Forces belong to another frame, have the wrong sign, or atoms were reordered: read them again.",
        )
