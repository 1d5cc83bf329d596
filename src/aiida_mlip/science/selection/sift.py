"""What becomes of the frames of one trajectory before any is chosen: refused, accurate, candidate or failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science.dynamics.observables import density_of, is_bulk
from aiida_mlip.science.selection.choice import Candidate
from aiida_mlip.science.selection.filters import refused_by
from aiida_mlip.science.selection.levels import Level, classify


@dataclass
class Sifted:
    """The frames of one walker.

    :param frames: how many there were.
    :param filtered: filter -> frames it refused.
    :param levels: level -> frames that passed the filters.
    :param candidates: the frames of the levels *candidate* and *failed*, in order.
    :param largest: largest uncertainty of a force among the frames that passed the filters [eV/Å].
    """

    frames: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    levels: Counter[Level] = field(default_factory=Counter)
    candidates: list[Candidate] = field(default_factory=list)
    largest: float = 0.0


def sift(
    walker: str, frames: Iterable[Atoms], *, lower: float, upper: float, filters: Mapping[str, Any] | None = None
) -> Sifted:
    """Sort the frames of one trajectory.

    :param walker: its name.
    :param frames: as :func:`aiida_mlip.science.trajectory.read_trajectory` yields them; the first gives the density to
        compare with.
    :param lower: lower trust level [eV/Å]; ``upper``: the upper one.
    :param filters: ``min_distance``, ``max_force`` and ``density`` of
        :func:`aiida_mlip.science.selection.filters.refused_by`.
    :raises ValueError: where a frame has no uncertainty.
    """
    found = Sifted()
    start: float | None = None
    for index, atoms in enumerate(frames):
        sigma = atoms.info.get("max_forces_sigma")
        if sigma is None:
            raise ValueError(
                f"trajectories.{walker}: frame {index} (step {atoms.info.get('step')}) has no uncertainty of its forces"
            )
        start = (density_of(atoms) if is_bulk(atoms) else None) if index == 0 else start
        found.frames += 1
        name = refused_by(atoms, atoms.arrays.get("forces"), start_density=start, **(filters or {}))
        if name is not None:
            found.filtered[name] += 1
            continue
        level = classify(float(sigma), lower, upper)
        found.levels[level] += 1
        found.largest = max(found.largest, float(sigma))
        if level != Level.ACCURATE:
            temperature = atoms.info.get("temperature")
            found.candidates.append(Candidate(walker, index, atoms, float(sigma), level, temperature))
    return found


def thinned(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """Return at most ``most`` candidates of each level: of more, every n-th, so that each walker keeps its share."""
    kept: list[Candidate] = []
    for level in (Level.CANDIDATE, Level.FAILED):
        mine = [candidate for candidate in candidates if candidate.level == level]
        if len(mine) > most:
            mine = [mine[index] for index in np.linspace(0, len(mine) - 1, most).round().astype(int)]
        kept += mine
    return kept


def uncertain_atoms(atoms: Atoms, lower: float) -> NDArray[np.bool_]:
    """Return which atoms make a frame uncertain, shape (n,): those at or above the lower level, all where unknown.

    :param lower: lower trust level [eV/Å].
    """
    sigmas = atoms.arrays.get("forces_sigma")
    if sigmas is None:
        return np.ones(len(atoms), dtype=bool)
    return np.asarray(sigmas >= min(lower, float(np.max(sigmas))))
