"""Images of a path: kept for a restart, and how many maxima their energies have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from aiida_mlip.science.properties._base import Report

KEEP_EVERY = 5
"""Iterations after which the images are kept for a restart."""

HUMP = 2e-3
"""Height over the lowest point between two maxima [eV, or eV per b] that makes them two."""


def keep_images(images: Sequence[Atoms], report: Report, stage: str, iterations: int) -> None:
    """Keep the inner ``images`` every few iterations, under the name of the stage.

    :param iterations: those of this and of earlier jobs.
    """
    if iterations % KEEP_EVERY == 0:
        positions = [image.positions.tolist() for image in images[1:-1]]
        report.put(f"{stage} so far", {"positions": positions, "iterations": iterations})


def resume_images(images: Sequence[Atoms], report: Report, stage: str) -> int:
    """Put the inner ``images`` where an earlier job left them, and return the iterations that it took."""
    kept = report.get(f"{stage} so far")
    if not kept or len(kept["positions"]) != len(images) - 2:
        return 0
    for image, positions in zip(images[1:-1], kept["positions"], strict=True):
        image.set_positions(np.asarray(positions, dtype=float), apply_constraint=False)
    return int(kept["iterations"])


def count_humps(energies: Sequence[float], height: float = HUMP) -> int:
    """Return how many maxima a path has that rise by ``height`` over the lowest points on both sides."""
    humps, low, high, up = 0, energies[0], energies[0], False
    for energy in energies[1:]:
        if up:
            high = max(high, energy)
            if energy < high - height:
                humps, up, low = humps + 1, False, energy
        else:
            low = min(low, energy)
            if energy > low + height:
                up, high = True, energy
    return humps
