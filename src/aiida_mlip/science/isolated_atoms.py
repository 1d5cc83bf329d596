"""Isolated atoms among configurations: one atom whose periodic images are out of reach."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce


def nearest_image(atoms: Atoms) -> float:
    """Return the distance [Å] between an atom and its nearest periodic image; infinite without periodicity."""
    if not atoms.pbc.any():
        return float("inf")
    cell, _ = minkowski_reduce(atoms.cell, atoms.pbc)
    return float(np.linalg.norm(cell[atoms.pbc], axis=1).min())


def is_isolated(atoms: Atoms, cutoff: float) -> bool:
    """Return whether a configuration is one atom with no image within ``cutoff`` [Å]."""
    return len(atoms) == 1 and nearest_image(atoms) > cutoff
