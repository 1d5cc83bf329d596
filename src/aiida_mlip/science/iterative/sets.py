"""The sets of a loop: what is held out for good, what validates, and what must not come near the hold-out set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from aiida_mlip.science.datasets.environments import environments
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.fingerprints import find_duplicates, usable
from aiida_mlip.science.datasets.splitting import Split, split, units_of
from aiida_mlip.science.isolated_atoms import is_isolated
from aiida_mlip.science.keys import FORCES
from aiida_mlip.science.origin import read_origin

_SMALLEST_FORCE = 1e-3
"""eV/Å; a validation set of frames whose forces vanish by symmetry says nothing about forces."""

_MIN_UNITS = 2
"""Units that a configuration type needs to be parted; first sets are small."""


def hold_out(frames: Sequence[Atoms], fraction: float, seed: int) -> tuple[list[int], list[int], list[str]]:
    """Return the indices of the frames to train on, of those held out, and warnings.

    Groups and near-duplicates stay together, isolated atoms are trained on, and each configuration type is divided in
    proportion as far as its number of units allows (:func:`aiida_mlip.science.datasets.splitting.split`).

    :param fraction: of the frames; 0 holds nothing out.
    :raises DatasetError: if nothing could be held out.
    """
    if fraction == 0.0:
        return list(range(len(frames))), [], []
    parts = Split(train=1.0 - fraction, valid=0.0, test=fraction)
    result = split(frames, fractions=parts, seed=seed, min_units=_MIN_UNITS)
    return result["train"], result["test"], result.warnings


def validation_indices(frames: Sequence[Atoms], fraction: float, seed: int) -> list[int]:
    """Return the indices of the frames that validate.

    The choice is stable: what was chosen when the set was smaller is chosen again, so that no model was ever trained on
    what a later one is validated with. Generations are gone through in turn. Units (groups and near-duplicates) that
    are new are taken in order of their first frame, in blocks of about 1 / ``fraction``; one of each block validates,
    drawn by the seed and the number of the block (of the first block one of the first two, so that small sets have
    one). A new frame that belongs to a unit of an earlier generation goes where that one went, and where it joins two,
    it validates if one of them does. Isolated atoms, and units whose forces vanish, are never chosen.

    :param frames: of the whole set, oldest first.
    :param fraction: of the units, between 0 and 1.
    :raises DatasetError: if no unit can validate, or none would be left to train on.
    """
    known = {index: environments(atoms) for index, atoms in enumerate(frames) if usable(atoms)}
    block = max(round(1.0 / fraction), 2)
    chosen: dict[int, bool] = {}
    drawn = 0
    for end in _generations(frames):
        there = {index: features for index, features in known.items() if index < end}
        for unit in units_of(frames[:end], True, find_duplicates(frames[:end], known=there)):
            validates = any(chosen.get(index, False) for index in unit)
            if chosen.keys().isdisjoint(unit) and _validates(frames, unit):
                validates = _is_drawn(drawn, block, seed)
                drawn += 1
            for index in unit:
                chosen.setdefault(index, validates)
    found = sorted(index for index, validates in chosen.items() if validates)
    others = sum(not is_isolated(atoms) for atoms in frames)
    if not found or len(found) >= others:
        raise DatasetError(
            f"validation_fraction = {fraction}: of {len(frames)} frames, {drawn} unit(s) that are not parted "
            "(groups, near-duplicates) have forces; at least two are needed, one to train on and one to validate. Give "
            "more configurations, or more augmentation"
        )
    return found


def _generations(frames: Sequence[Atoms]) -> list[int]:
    """Return where the frames of each generation end: those of later ones are behind those of earlier ones."""
    ends, latest = [], 0
    for index, atoms in enumerate(frames):
        origin = read_origin(atoms)
        if origin is not None and origin.generation > latest:
            latest = origin.generation
            ends.append(index)
    return [*(end for end in ends if end), len(frames)]


def _is_drawn(position: int, block: int, seed: int) -> bool:
    """Return whether the unit at a position validates."""
    number, place = divmod(position, block)
    return place == int(np.random.default_rng([seed, number]).integers(block if number else 2))


def _validates(frames: Sequence[Atoms], unit: Sequence[int]) -> bool:
    if any(is_isolated(frames[index]) for index in unit):
        return False
    forces = [frames[index].arrays[FORCES] for index in unit if FORCES in frames[index].arrays]
    return any(np.abs(part).max() > _SMALLEST_FORCE for part in forces)


def apart_from(frames: Sequence[Atoms], others: Sequence[Atoms]) -> tuple[list[int], list[int]]:
    """Return the indices of the frames that are not near-duplicates of any of ``others``, and of those that are.

    Isolated atoms are kept: they are reference energies.
    """
    duplicates = find_duplicates([*frames, *others])
    number = len(frames)
    near = {
        index
        for members in duplicates.near
        if any(member >= number for member in members)
        for index in members
        if index < number and not is_isolated(frames[index])
    }
    return [index for index in range(number) if index not in near], sorted(near)
