"""Isolated atoms among configurations: one atom whose periodic images are out of reach."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce

OUT_OF_REACH = 6.0
"""Distance of the nearest image [Å] beyond which one atom counts as isolated: the cut-off of common potentials."""


def nearest_image(atoms: Atoms) -> float:
    """Return the distance [Å] between an atom and its nearest periodic image.

    It is infinite without periodicity, and 0 where the periodic cell vectors are not independent.
    """
    if not atoms.pbc.any():
        return float("inf")
    if np.linalg.matrix_rank(atoms.cell.array[atoms.pbc]) < atoms.pbc.sum():
        return 0.0
    cell, _ = minkowski_reduce(atoms.cell, atoms.pbc)
    return float(np.linalg.norm(cell[atoms.pbc], axis=1).min())


def is_isolated(atoms: Atoms, cutoff: float = OUT_OF_REACH) -> bool:
    """Return whether a configuration is one atom with no image within ``cutoff`` [Å]."""
    return len(atoms) == 1 and nearest_image(atoms) > cutoff
