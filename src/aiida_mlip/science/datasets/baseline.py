"""Predictions of a potential for the frames of a data set, to compare the labels with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiida_mlip.science.datasets.errors import DatasetError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """What a potential predicts for each frame, in the order of the frames.

    ``energies``: (frames,) totals [eV], NaN where there is none; ``forces``: one (n, 3) array [eV/Å] for each frame;
    ``stresses``: (frames, 6) [eV/Å^3, ASE's sign and Voigt order], NaN where there is none; ``name``: of the potential.
    """

    energies: Array
    forces: Sequence[Array] | None = None
    stresses: Array | None = None
    name: str = "the baseline potential"

    def check(self, sizes: Sequence[int]) -> None:
        """Raise where the predictions are not of these frames.

        :param sizes: atoms of each frame.
        :raises DatasetError: if numbers of frames or atoms differ.
        """
        n = len(sizes)
        if np.shape(self.energies) != (n,):
            raise DatasetError(f"baseline.energies has shape {np.shape(self.energies)}: one for each of {n} frames")
        if self.forces is not None and (
            len(self.forces) != n or any(np.shape(f) != (size, 3) for f, size in zip(self.forces, sizes, strict=True))
        ):
            raise DatasetError("baseline.forces: one array of shape (atoms, 3) for each frame, in the same order")
        if self.stresses is not None and np.shape(self.stresses) != (n, 6):
            raise DatasetError(f"baseline.stresses has shape {np.shape(self.stresses)}: ({n}, 6) is needed")
