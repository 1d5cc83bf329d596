"""Training sets that differ at random, for the members of a committee."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from aiida_mlip.science.isolated_atoms import is_isolated


def bootstrap(frames: Sequence[Atoms], rng: np.random.Generator) -> list[Atoms]:
    """Return as many frames, drawn with replacement; isolated atoms are kept, each once.

    On average 63 % of the frames occur, some more than once (B. Efron, Ann. Statist. 7, 1 (1979)).

    :param frames: the set to draw from, in any order.
    :param rng: the source of randomness.
    :raises ValueError: if there is nothing but isolated atoms.
    """
    atoms = [frame for frame in frames if is_isolated(frame)]
    others = [frame for frame in frames if not is_isolated(frame)]
    if not others:
        raise ValueError(f"frames has {len(frames)} isolated atoms and nothing else: there is nothing to draw from")
    return atoms + [others[index] for index in sorted(rng.integers(len(others), size=len(others)))]
