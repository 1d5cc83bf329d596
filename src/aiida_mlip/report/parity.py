"""Labels and predictions of one potential on one set, ready to be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from aiida import orm
from numpy.typing import NDArray

from aiida_mlip.report.numbers import QUANTITIES
from aiida_mlip.report.subject import has_output

LIMIT = 4000
"""Points of one kind that are drawn; more are thinned evenly after sorting by error, so that the worst stay."""


@dataclass(frozen=True)
class Points:
    """Numbers of one kind: label, prediction (in the axis unit) and the configuration type and frame they belong to."""

    reference: NDArray[np.float64]
    predicted: NDArray[np.float64]
    types: NDArray[Any]
    frames: NDArray[np.int64]
    total: int

    @property
    def error(self) -> NDArray[np.float64]:
        """Return prediction minus label."""
        return self.predicted - self.reference

    def moved(self, zero: float) -> Points:
        """Return the points with ``zero`` taken off labels and predictions."""
        return replace(self, reference=self.reference - zero, predicted=self.predicted - zero)

    def of_type(self, name: str) -> Points:
        """Return the points of one configuration type."""
        chosen = self.types == name
        return Points(
            self.reference[chosen], self.predicted[chosen], self.types[chosen], self.frames[chosen], self.total
        )


def parity_points(job: orm.ProcessNode | None, name: str) -> Mapping[str, Points]:
    """Return quantity -> points of the set ``name`` in an evaluation; quantities without labels are left out."""
    if job is None or not has_output(job, f"predictions__{name}"):
        return {}
    node = job.outputs.predictions[name]
    return points_of({key: node.get_array(key) for key in node.get_arraynames()})


def points_of(arrays: Mapping[str, NDArray[Any]], limit: int = LIMIT) -> Mapping[str, Points]:
    """Return quantity -> points from the arrays of :func:`aiida_mlip.science.parity.parity_arrays`.

    Energies are per atom, after the shift per element that was taken off before they were compared.
    """
    types, frames = arrays["config_type"], np.arange(len(arrays["num_atoms"]))
    owner = arrays["atom_frame"]
    columns = {
        "energy": (arrays["energy_reference"], arrays["energy_predicted"] - arrays["energy_shift"], frames),
        "forces": (arrays["forces_reference"], arrays["forces_predicted"], np.repeat(owner, 3)),
        "stress": (arrays["stress_reference"], arrays["stress_predicted"], np.repeat(frames, 6)),
    }
    found = {}
    for key, (reference, predicted, owners) in columns.items():
        factor = QUANTITIES[key].axis_factor
        x, y = reference.ravel() * factor, predicted.ravel() * factor
        known = np.isfinite(x) & np.isfinite(y)
        if known.any():
            points = Points(x[known], y[known], types[owners[known]], owners[known], int(known.sum()))
            found[key] = _thinned(points, limit)
    return found


def _thinned(points: Points, limit: int) -> Points:
    number = len(points.reference)
    if number <= limit:
        return points
    order = np.argsort(np.abs(points.error))[::-1]
    chosen = np.sort(order[np.linspace(0, number - 1, limit).astype(int)])
    return Points(
        points.reference[chosen], points.predicted[chosen], points.types[chosen], points.frames[chosen], number
    )
