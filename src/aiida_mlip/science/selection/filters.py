"""Geometry filters: frames that are worth no label, whatever the uncertainty says of them."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science.contacts import closest_contact
from aiida_mlip.science.dynamics.observables import density_of, is_bulk

NOT_FINITE, MIN_DISTANCE, MAX_FORCE, DENSITY = "not_finite", "min_distance", "max_force", "density"


def refused_by(
    atoms: Atoms,
    forces: NDArray[np.float64] | None = None,
    *,
    min_distance: float | None = None,
    max_force: float | None = None,
    density: tuple[float, float] | None = None,
    start_density: float | None = None,
) -> str | None:
    """Return the name of the first filter that refuses a frame, or None where it passes all.

    Numbers that are NaN or infinite are always refused, by ``not_finite``.

    :param forces: predicted forces [eV/Å], shape (n, 3).
    :param min_distance: closest pair allowed, times the sum of the covalent radii; None: the filter is off.
    :param max_force: largest predicted force of an atom allowed [eV/Å].
    :param density: densities allowed, as multiples of ``start_density``.
    :param start_density: density of the first frame of the trajectory [g/cm^3]; None: there is nothing to compare with.
    """
    parts = [atoms.positions, atoms.cell.array, np.zeros(0) if forces is None else forces]
    if not all(np.isfinite(part).all() for part in parts):
        return NOT_FINITE
    if density is not None and start_density is not None and atoms.pbc.all():
        found = density_of(atoms) if is_bulk(atoms) else np.inf
        if not density[0] <= found / start_density <= density[1]:
            return DENSITY
    if min_distance is not None and closest_contact(atoms, min_distance) < min_distance:
        return MIN_DISTANCE
    largest = 0.0 if forces is None else float(np.linalg.norm(forces, axis=1).max(initial=0.0))
    return MAX_FORCE if max_force is not None and largest > max_force else None
