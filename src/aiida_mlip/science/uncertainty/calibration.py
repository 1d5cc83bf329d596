"""Calibration of uncertainties against errors: one scale, coverage before and after, and the rank correlation.

The scale is the maximum likelihood one. With exact uncertainties errors are Gaussian, and it is
sqrt(mean(error^2 / sigma^2)) in closed form. A spread over K members is itself an estimate with K - 1 degrees of
freedom in each dimension, so that error / sigma follows Student's t: there a few atoms with a spread near zero by
chance do not decide the scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from aiida_mlip.science.predictions import FloatArray

NEGLIGIBLE = 1e-6
"""Errors and uncertainties both below this are zero by symmetry, and say nothing [eV/Å, eV/atom]."""

FEW_FRAMES = 10
"""With fewer frames a calibration is doubtful."""

WEAK_CORRELATION = 0.3
"""Below this rank correlation an uncertainty hardly tells good predictions from bad ones."""


@dataclass(frozen=True)
class Calibrated:
    """One calibrated uncertainty; the fields are those of :class:`aiida_mlip.schema.uncertainty.Calibration`."""

    scale: float
    coverage_before: float
    coverage_after: float
    expected_coverage: float
    rank_correlation: float | None
    count: int


def calibrate(
    sigma: FloatArray, error: FloatArray, *, dimension: int, members: int | None = None, scale: float | None = None
) -> Calibrated | None:
    """Compare uncertainties with errors.

    :param sigma: sqrt of the expected squared error, shape (n,).
    :param error: absolute value of the error, shape (n,); NaN where it is not known.
    :param dimension: components of what the error is the length of: 3 for forces, 1 for energies.
    :param members: of the ensemble that ``sigma`` is the spread of; None where it is exact.
    :param scale: use this one rather than to find it.
    :return: None where there is nothing to compare.
    """
    sigma, error = np.asarray(sigma, dtype=float), np.asarray(error, dtype=float)
    known = np.isfinite(sigma) & np.isfinite(error) & ((sigma > NEGLIGIBLE) | (error > NEGLIGIBLE)) & (sigma > 0)
    sigma, error = sigma[known], error[known]
    if len(sigma) == 0 or not (error > 0).any():
        return None
    degrees = None if members is None else dimension * (members - 1)
    found = scale or _scale((error / sigma) ** 2, dimension, degrees)
    return Calibrated(
        scale=found,
        coverage_before=float(np.mean(error <= sigma)),
        coverage_after=float(np.mean(error <= found * sigma)),
        expected_coverage=float(stats.chi2.cdf(dimension, dimension)),
        rank_correlation=rank_correlation(sigma, error),
        count=len(sigma),
    )


def rank_correlation(sigma: FloatArray, error: FloatArray) -> float | None:
    """Return Spearman's rank correlation; None for fewer than three pairs, or where one side is constant."""
    if len(sigma) < 3 or np.ptp(sigma) == 0.0 or np.ptp(error) == 0.0:
        return None
    return float(stats.spearmanr(sigma, error).statistic)


def warnings_of(frames: int, **found: Calibrated | None) -> list[str]:
    """Return what is doubtful about a calibration.

    :param frames: in the calibration set.
    :param found: what was calibrated, by name.
    """
    warnings = []
    if frames < FEW_FRAMES:
        warnings.append(f"the calibration set has {frames} frames: fewer than {FEW_FRAMES} make a doubtful scale")
    for name, calibrated in found.items():
        if calibrated is None:
            warnings.append(f"{name}: not calibrated, for want of labels")
        elif calibrated.rank_correlation is None:
            warnings.append(f"{name}: too few values for a rank correlation")
        elif calibrated.rank_correlation < WEAK_CORRELATION:
            warnings.append(
                f"{name}: the rank correlation of uncertainty and error is {calibrated.rank_correlation:.2f}, below "
                f"{WEAK_CORRELATION}: the uncertainty hardly tells good predictions from bad ones"
            )
    return warnings


def _scale(ratios: FloatArray, dimension: int, degrees: int | None) -> float:
    """Return the scale of largest likelihood.

    Gaussian: s^2 = mean r. Student's t in ``dimension`` dimensions with ``degrees`` of freedom: the fixed point of
    s^2 = mean[(degrees + dimension) r / (degrees + dimension r / s^2)].

    :param ratios: r = error^2 / sigma^2, shape (n,).
    """
    if degrees is None:
        return float(np.sqrt(np.mean(ratios)))
    square = float(np.median(ratios)) or float(np.mean(ratios))
    for _ in range(500):
        before = square
        square = float(np.mean((degrees + dimension) * ratios / (degrees + dimension * ratios / before)))
        if abs(square - before) <= 1e-10 * before:
            break
    return float(np.sqrt(square))
