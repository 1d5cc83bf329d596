"""Training frames that a model cannot fit: mostly labels that are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science.datasets.robust import mad
from aiida_mlip.science.keys import CONFIG_TYPE, DEFAULT_CONFIG_TYPE, FORCES, SOURCE
from aiida_mlip.science.predictions import Predictions

_DEVIATIONS = 10.0
"""An error this many robust standard deviations above the median is no part of the distribution of the others."""

_FLOOR = 1.0
"""eV/Å; smaller errors are never called absurd."""


@dataclass(frozen=True)
class Outlier:
    """A frame and its root-mean-square force error [eV/Å], next to the median of all frames."""

    index: int
    config_type: str
    source: str
    forces_rmse: float
    median: float

    def __str__(self) -> str:
        return (
            f"training frame {self.index} ({self.config_type}, label {self.source or 'given'}): force error "
            f"{self.forces_rmse:.3g} eV/angstrom after training, the median is {self.median:.3g}: look at its label"
        )


def force_errors(frames: Sequence[Atoms], predictions: Predictions) -> NDArray[np.float64]:
    """Return the root-mean-square force error of each frame [eV/Å], shape (n,); NaN where there is no label."""
    errors = np.full(len(frames), np.nan)
    for index, atoms in enumerate(frames):
        if FORCES in atoms.arrays:
            errors[index] = np.sqrt(np.mean((predictions.forces[index] - atoms.arrays[FORCES]) ** 2))
    return errors


def training_outliers(frames: Sequence[Atoms], predictions: Predictions) -> list[Outlier]:
    """Return the training frames whose force error after training is absurd, the worst first."""
    errors = force_errors(frames, predictions)
    known = errors[np.isfinite(errors)]
    if not len(known):
        return []
    median = float(np.median(known))
    limit = max(median + _DEVIATIONS * mad(known), _FLOOR)
    worst = [index for index in np.argsort(-np.nan_to_num(errors)).tolist() if errors[index] > limit]
    return [_outlier(frames[index], index, float(errors[index]), median) for index in worst]


def _outlier(atoms: Atoms, index: int, error: float, median: float) -> Outlier:
    kind = str(atoms.info.get(CONFIG_TYPE, DEFAULT_CONFIG_TYPE))
    return Outlier(index, kind, str(atoms.info.get(SOURCE, "")), error, median)
