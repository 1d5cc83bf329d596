"""Uncertainties beside true errors: binned, and as the share of errors within so many sigma."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm
from numpy.typing import NDArray
from scipy.stats import chi

from aiida_mlip.report.subject import has_output, results
from aiida_mlip.schema.uncertainty import Calibration, UncertaintyResult

Array = NDArray[np.float64]

BINS = 10

MULTIPLES = np.linspace(0.0, 3.0, 31)
"""Multiples of sigma at which coverage is counted."""


@dataclass(frozen=True)
class Kind:
    """One uncertainty that can be compared with an error.

    :param key: beginning of the names of the arrays, ``<key>_sigma`` and ``<key>_error``.
    :param field: of :class:`~aiida_mlip.schema.uncertainty.UncertaintyResult`.
    :param factor: from eV and Å to ``unit``.
    :param dimensions: of the error as a vector: 3 for a force, of which the length is compared; the largest of many
        counts as one number.
    """

    key: str
    field: str
    title: str
    unit: str
    factor: float
    dimensions: int


KINDS = (
    Kind("forces", "forces", "Force on an atom", "meV/Å", 1e3, 3),
    Kind("max_forces", "max_force", "Largest force of a frame", "meV/Å", 1e3, 1),
    Kind("energy", "energy", "Energy", "meV/atom", 1e3, 1),
)


@dataclass(frozen=True)
class Compared:
    """Calibrated uncertainties and absolute errors of one kind, shape (n,), in eV and Å; what is not known is out."""

    kind: Kind
    sigma: Array
    error: Array
    calibration: Calibration

    @property
    def raw(self) -> Array:
        """Return the uncertainties before they were scaled."""
        return self.sigma / self.calibration.scale


def result_of(node: orm.ProcessNode | None) -> UncertaintyResult | None:
    """Return what an ``mlip.uncertainty`` found, without versions and timings."""
    return uncertainty_result(results(node))


def uncertainty_result(content: Mapping[str, Any]) -> UncertaintyResult | None:
    """Return the part of a result that says how good an uncertainty is; None where there is none."""
    known = {name: content[name] for name in UncertaintyResult.model_fields if name in content}
    return UncertaintyResult.model_validate(known) if "forces" in known else None


def compared(node: orm.ProcessNode) -> tuple[Compared, ...]:
    """Return the pairs that a calibration rests on, kind by kind."""
    result = result_of(node)
    if result is None or not has_output(node, "calibration"):
        return ()
    arrays = node.outputs.calibration
    names, found = set(arrays.get_arraynames()), []
    for kind in KINDS:
        calibration = getattr(result, kind.field)
        if calibration is None or not {f"{kind.key}_sigma", f"{kind.key}_error"} <= names:
            continue
        sigma, error = (np.ravel(arrays.get_array(f"{kind.key}_{what}")).astype(float) for what in ("sigma", "error"))
        known = np.isfinite(sigma) & np.isfinite(error) & (sigma > 0)
        if known.any():
            found.append(Compared(kind, sigma[known], np.abs(error[known]), calibration))
    return tuple(found)


def binned(sigma: Array, error: Array, bins: int = BINS) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return root mean square uncertainty, root mean square error and number of each bin of equal population.

    A calibrated uncertainty has the two equal in every bin.

    :param bins: at most; there are at least five pairs in each.
    """
    order = np.argsort(sigma, kind="stable")
    parts = np.array_split(order, max(min(bins, len(order) // 5), 1))
    rms = [[float(np.sqrt(np.mean(values[part] ** 2))) for part in parts] for values in (sigma, error)]
    return np.array(rms[0]), np.array(rms[1]), np.array([len(part) for part in parts])


def coverage(sigma: Array, error: Array, multiples: Array = MULTIPLES) -> Array:
    """Return the share of errors within each multiple of sigma, shape (multiples,)."""
    ratio = np.sort(error / sigma)
    return np.asarray(np.searchsorted(ratio, multiples, side="right") / len(ratio), dtype=float)


def expected_coverage(dimensions: int, multiples: Array = MULTIPLES) -> Array:
    """Return the coverage of a Gaussian error whose length has the root mean square sigma.

    The length of a vector of ``d`` independent Gaussian components of variance sigma^2 / d follows the chi distribution
    with d degrees of freedom, scaled by sigma / sqrt(d).
    """
    return np.asarray(chi.cdf(multiples * np.sqrt(dimensions), dimensions), dtype=float)
