"""The work done on a cell by straining it, from its stresses and from its energies: the two must agree."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aiida_mlip.science.datasets.audit.context import Context

Array = NDArray[np.float64]

_MAX_STRAIN = 0.15
_INTERNAL = 1e-3
_VOIGT_WEIGHT = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


@dataclass(frozen=True)
class StrainedPair:
    """Two cells of the same structure: difference of their energies [eV], and that by the labelled stresses [eV]."""

    frames: tuple[int, int]
    energy: float
    by_stress: float
    volume: float

    @property
    def agrees(self) -> bool:
        """Return whether the two are of one sign and of similar size."""
        return abs(self.energy - self.by_stress) < 0.3 * (abs(self.energy) + abs(self.by_stress))


def strain_work(context: Context, members: list[int]) -> list[StrainedPair]:
    """Return pairs of frames that differ by a homogeneous strain alone, with E2 - E1 = V sigma : strain for each.

    The integral is taken by the trapezoidal rule, V sigma at both ends, with the strain relative to the mean cell:
    exact to third order in the strain. Frames are paired in order of volume, and of strain where the volume is equal.
    """
    families: dict[tuple[bytes, int], list[tuple[int, Array]]] = defaultdict(list)
    for index in members:
        atoms = context.frames[index]
        if context.stress(index) is None or not np.isfinite(context.energies[index]) or not atoms.pbc.all():
            continue
        fractional = np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T
        key = (atoms.numbers.tobytes(), len(atoms))
        families[key].append((index, fractional - fractional[0]))
    pairs: list[StrainedPair] = []
    for family in families.values():
        ordered = sorted(family, key=lambda item: context.volume(item[0]))
        for (i, one), (j, other) in pairwise(ordered):
            difference = other - one
            if np.abs(difference - np.round(difference)).max() < _INTERNAL and (pair := _pair(context, i, j)):
                pairs.append(pair)
    return pairs


def _pair(context: Context, i: int, j: int) -> StrainedPair | None:
    first, second = context.frames[i].cell.array, context.frames[j].cell.array
    mean = 0.5 * (first + second)
    gradient = np.linalg.solve(mean, second - first)
    strain = 0.5 * (gradient + gradient.T)
    if np.abs(strain).max() > _MAX_STRAIN or np.abs(strain).max() < 1e-5:
        return None
    if np.abs(gradient - strain).max() > 0.5 * np.abs(strain).max():
        return None
    voigt = np.array([strain[0, 0], strain[1, 1], strain[2, 2], strain[1, 2], strain[0, 2], strain[0, 1]])
    one, other = context.stress(i), context.stress(j)
    if one is None or other is None:
        return None
    mean_stress = 0.5 * (context.volume(i) * one + context.volume(j) * other)
    work = float(np.sum(_VOIGT_WEIGHT * voigt * mean_stress))
    energy = float(context.energies[j] - context.energies[i])
    return StrainedPair((i, j), energy, work, 0.5 * (context.volume(i) + context.volume(j)))
