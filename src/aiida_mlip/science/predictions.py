"""What a potential says about a set of configurations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """Energies, forces and stresses of ``n`` frames, in the order of the frames.

    :param energies: total energies of the cells [eV], shape (n,).
    :param forces: for each frame the forces [eV/Å], shape (atoms, 3).
    :param stresses: [eV/Å^3], ASE's sign and Voigt order, shape (n, 6); rows of NaN where there is no stress,
        as for frames that are not periodic in all three directions.
    :param descriptors: invariant descriptors averaged over the atoms of each frame, shape (n, features), or None.
    """

    energies: FloatArray
    forces: list[FloatArray]
    stresses: FloatArray
    descriptors: FloatArray | None = field(default=None)

    def __len__(self) -> int:
        return len(self.forces)
