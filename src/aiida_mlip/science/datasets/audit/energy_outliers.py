"""Energies that fall out of the set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.registry import check
from aiida_mlip.science.datasets.audit.report import Finding, Severity
from aiida_mlip.science.datasets.robust import mad, regress

Array = NDArray[np.float64]

_FLOOR = 1e-3
_FEW = 5
_NOVEL = 3.0
_WITHOUT_REFERENCE = 3.0


@dataclass(frozen=True)
class _Far:
    """An energy far from expectation: by how much, what is usual for this frame, and its limit [eV/atom]."""

    deviation: float
    usual: float
    limit: float


@check("energy_outliers")
def energy_outliers(context: Context) -> Iterator[Finding]:
    """Energies far from the reference, compared with what is usual for their configuration type."""
    residuals, source, factor = context.residuals, "the reference", 1.0
    if context.reference is not None:
        source = context.reference.name
    if not np.isfinite(residuals).any():
        residuals, source = _without_composition(context), "the least-squares energies of the elements"
        factor = _WITHOUT_REFERENCE
    finite = np.isfinite(residuals).sum()
    if finite < 2 * _FEW:
        context.skip("energy_outliers", f"only {finite} frames with an energy to compare")
        return
    found: dict[Severity, dict[int, _Far]] = {Severity.ERROR: {}, Severity.WARNING: {}}
    for index, far in _far(context, residuals, factor).items():
        worse = _force_disagreement(context, index)
        if far.deviation > far.limit * max(_novelty(context, index), worse or 1.0):
            large = far.deviation > context.settings.energy_offset_error
            certain = worse is not None and (large or not _may_be_the_potential(context, index, far.deviation))
            found[Severity.ERROR if certain else Severity.WARNING][index] = far
    for severity, outliers in found.items():
        if outliers:
            yield _finding(severity, outliers, source)


def _finding(severity: Severity, outliers: dict[int, _Far], source: str) -> Finding:
    worst = max(outliers, key=lambda index: outliers[index].deviation)
    reason = (
        "Forces agree with it, so the geometry is not the reason."
        if severity is Severity.ERROR
        else "Whether the label is wrong is open: forces do not agree either or are not known, or the rest of the set "
        "speaks for these energies."
    )
    return Finding(
        check="energy_outliers",
        severity=severity,
        frames=tuple(sorted(outliers)),
        message=f"Energies of {len(outliers)} frames are far from {source}; most that of frame {worst}, by "
        f"{outliers[worst].deviation:.3g} eV/atom where {outliers[worst].usual:.2g} eV/atom is usual. {reason}",
        remedy="Look for calculations that did not converge, another spin state or k-mesh, a wrong number of "
        "atoms, or the energy of another frame.",
    )


def _far(context: Context, residuals: Array, factor: float = 1.0) -> dict[int, _Far]:
    """Return the frames whose residual [eV/atom] is unusual for their type; the usual goes with 1 / sqrt(atoms)."""
    weight = np.sqrt(np.maximum(context.sizes, 1))
    finite = np.isfinite(residuals)
    overall = (float(np.median(residuals[finite])), max(mad((residuals * weight)[finite]), _FLOOR))
    found = {}
    for members in context.config_types.values():
        mine = [index for index in members if finite[index]]
        centre, width = overall
        if len(mine) >= _FEW:
            centre, width = float(np.median(residuals[mine])), max(mad((residuals * weight)[mine]), _FLOOR)
        for index in mine:
            deviation, usual = abs(float(residuals[index] - centre)), float(width / weight[index])
            limit = max(factor * context.settings.energy_outlier * usual, context.settings.energy_outlier_min)
            if deviation > limit:
                found[index] = _Far(deviation, usual, limit)
    return found


def _may_be_the_potential(context: Context, index: int, deviation: float) -> bool:
    """Return whether an energy that a baseline potential contradicts may be right, and the potential wrong.

    Where the other energies and forces of the set tell about this frame, they decide. Where they do not, because the
    frame is the first of its kind, it may be up to the error that foundation models have for a class of configurations.
    """
    if context.reference is None or not context.reference.is_potential:
        return False
    fit = context.fit
    if fit is None:
        return deviation < context.settings.energy_offset
    residuals = context.residuals_against(fit)
    if np.isfinite(residuals[index]) and fit.energy_novelty(index) < _NOVEL:
        return index not in _far(context, residuals)
    return deviation < context.settings.energy_offset


def _without_composition(context: Context) -> Array:
    """Return energies [eV/atom] minus those of the composition, NaN for isolated atoms."""
    use = np.isfinite(context.energies) & (context.sizes > 1)
    found = np.full(len(context.frames), np.nan)
    if use.sum() < 2 * _FEW:
        return found
    elements = sorted({int(z) for atoms in context.frames for z in atoms.numbers})
    counts = np.array([[np.count_nonzero(a.numbers == z) for z in elements] for a in context.frames], dtype=np.float64)
    fractions = counts[use] / context.sizes[use, None]
    values = context.energies[use] / context.sizes[use]
    found[use] = values - fractions @ regress(fractions, values, ridge=1e-9)
    return found


def _novelty(context: Context, index: int) -> float:
    """Return how much less certain than usual the reference is of a frame, at least 1."""
    return context.reference.energy_novelty(index) if context.reference is not None else 1.0


def _force_disagreement(context: Context, index: int) -> float | None:
    """Return how much worse than usual the reference describes the forces of a frame, at least 1.

    An energy may be off as much more as the forces are. ``None`` where the forces cannot tell, or the reference fails
    on this geometry.
    """
    error, usual = context.force_error(index), context.force_errors
    labelled = context.forces(index)
    if error is None or labelled is None or not usual:
        return None
    tightest = context.environments[index].tightest
    strength = float(np.sqrt(np.mean(labelled**2)))
    if tightest is None or tightest[0] < context.settings.close_warning or error > max(0.6 * strength, 0.3):
        return None
    return max(1.0, error / max(float(np.median(list(usual.values()))), 0.02))
