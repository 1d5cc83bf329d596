"""Seeded splits into training, validation and test sets that share nothing they should not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.fingerprints import Duplicates, Tolerances, find_duplicates
from aiida_mlip.science.isolated_atoms import is_isolated
from aiida_mlip.science.models import StrictModel

_JOINED = "\0joined"

SETS = ("train", "valid", "test")


class Split(StrictModel):
    """Fractions of the frames of each configuration type."""

    train: float = Field(default=0.8, gt=0, le=1)
    valid: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _sum(self) -> Split:
        total = self.train + self.valid + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train + valid + test = {total:g}: the fractions must add up to 1")
        return self


class SplitResult(dict[str, list[int]]):
    """``train``, ``valid`` and ``test`` to sorted indices of frames; ``warnings`` say what is not as asked."""

    warnings: list[str]

    def __init__(self, sets: dict[str, list[int]], warnings: list[str]) -> None:
        super().__init__(sets)
        self.warnings = warnings


def split(
    frames: Sequence[Atoms],
    *,
    fractions: Split | None = None,
    seed: int,
    by_group: bool = True,
    duplicates: Duplicates | None = None,
    tolerances: Tolerances | None = None,
    min_units: int = 5,
) -> SplitResult:
    """Divide frames into training, validation and test sets, the same way for the same seed.

    Frames of one ``group``, and frames that are the same or nearly so, form a unit that is never parted. Units are
    drawn for each configuration type apart, so that each type is in each set in the proportions asked for, as far as
    the sizes of its units allow. A unit belongs to the type that most of its frames have. Isolated atoms go to the
    training set, and so does, with a warning, every type that has fewer than ``min_units`` units. Where such types hold
    more than half of the units (some programs give each frame a type of its own), they are joined and divided as one.

    :param frames: canonical configurations.
    :param fractions: of frames; default 80%, 10%, 10%.
    :param seed: of the random numbers.
    :param by_group: whether ``group`` is respected; near-duplicates always are.
    :param duplicates: result of :func:`find_duplicates` for these frames, where it is known already.
    :param tolerances: what counts as nearly the same, where ``duplicates`` is not given.
    :param min_units: smallest number of units of a configuration type that is divided.
    :raises DatasetError: if there are no frames, or a set that was asked for would be empty.
    """
    fractions = fractions or Split()
    if not len(frames):
        raise DatasetError("frames is empty: there is nothing to split")
    units = units_of(frames, by_group, duplicates or find_duplicates(frames, tolerances))
    sets: dict[str, list[int]] = {name: [] for name in SETS}
    warnings: list[str] = []
    by_type: dict[str, list[list[int]]] = defaultdict(list)
    for unit in units:
        if any(is_isolated(frames[index]) for index in unit):
            sets["train"] += unit
        else:
            by_type[_main_type(frames, unit)].append(unit)
    kept, strata = _strata(by_type, min_units, warnings) if fractions.train < 1.0 else ([], by_type)
    sets["train"] += kept
    for number, stratum in enumerate(sorted(strata)):
        generator = np.random.default_rng([seed, number])
        for name, indices in _divide(strata[stratum], fractions, generator).items():
            sets[name] += indices
    result = {name: sorted(indices) for name, indices in sets.items()}
    _check(result, fractions, by_type, warnings, len(frames))
    return SplitResult(result, warnings)


def units_of(frames: Sequence[Atoms], by_group: bool, duplicates: Duplicates) -> list[list[int]]:
    """Return the sets of frames that are never parted, each sorted, in order of their first frame.

    :param by_group: whether frames of one ``group`` stay together; near-duplicates always do.
    :param duplicates: result of :func:`find_duplicates` for these frames.
    """
    links = [(items[0], other) for items in duplicates.near for other in items[1:]]
    if by_group:
        groups: dict[str, int] = {}
        for index, atoms in enumerate(frames):
            if name := str(atoms.info.get(keys.GROUP, "")):
                links.append((groups.setdefault(name, index), index))
    n = len(frames)
    pairs = np.array(links, dtype=np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, labels = connected_components(graph, directed=False)
    units: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels.tolist()):
        units[label].append(index)
    return sorted(units.values())


def _main_type(frames: Sequence[Atoms], unit: list[int]) -> str:
    counts = Counter(str(frames[index].info.get(keys.CONFIG_TYPE, keys.DEFAULT_CONFIG_TYPE)) for index in unit)
    return min(counts, key=lambda name: (-counts[name], name))


def _divide(units: list[list[int]], fractions: Split, generator: np.random.Generator) -> dict[str, list[int]]:
    """Return the frames of one configuration type for each set.

    Units are drawn in random order. Each goes to the set, of validation and test, that lacks most of its share, if it
    fits there; otherwise to the training set. A set left without any gets the smallest unit of the training set.
    """
    total = sum(len(unit) for unit in units)
    wanted = {name: getattr(fractions, name) * total for name in ("valid", "test") if getattr(fractions, name) > 0}
    drawn: dict[str, list[list[int]]] = {name: [] for name in SETS}
    for position in generator.permutation(len(units)).tolist():
        unit = units[position]
        lacking = {name: share - sum(map(len, drawn[name])) for name, share in wanted.items()}
        name = max(lacking, key=lambda key: (lacking[key], key), default="train")
        fits = name != "train" and len(unit) <= lacking[name] + 0.5
        drawn[name if fits else "train"].append(unit)
    for name in wanted:
        if not drawn[name]:
            smallest = min(range(len(drawn["train"])), key=lambda k: len(drawn["train"][k]))
            if len(drawn["train"]) > 1 and len(drawn["train"][smallest]) <= total / 3:
                drawn[name].append(drawn["train"].pop(smallest))
    return {name: [index for unit in chosen for index in unit] for name, chosen in drawn.items()}


def _strata(
    by_type: dict[str, list[list[int]]], min_units: int, warnings: list[str]
) -> tuple[list[int], dict[str, list[list[int]]]]:
    """Return the frames of types too small to divide, and the units of each stratum that is divided."""
    small = {name: units for name, units in sorted(by_type.items()) if len(units) < min_units}
    large = {name: units for name, units in by_type.items() if name not in small}
    n_small = sum(len(units) for units in small.values())
    if n_small >= min_units and n_small > sum(len(units) for units in large.values()):
        warnings.append(
            f"{len(small)} of {len(by_type)} config_types have fewer than {min_units} units that can be parted and are "
            "divided as if they were one type: not each of them is in each set"
        )
        return [], {**large, _JOINED: [unit for units in small.values() for unit in units]}
    for config_type, units in small.items():
        n_frames = sum(len(unit) for unit in units)
        warnings.append(
            f"config_type {config_type!r}: its {n_frames} frames are {len(units)} unit(s) that cannot be parted "
            f"(groups, near-duplicates), fewer than {min_units}: all are in the training set, so its errors are not "
            "tested"
        )
    return [index for units in small.values() for unit in units for index in unit], large


def _check(
    sets: dict[str, list[int]], fractions: Split, by_type: dict[str, list[list[int]]], warnings: list[str], total: int
) -> None:
    """Raise where a set that was asked for is empty; warn where its size is far from what was asked for."""
    for name in SETS:
        share = getattr(fractions, name)
        if share > 0 and not sets[name]:
            units = {config_type: len(members) for config_type, members in sorted(by_type.items())}
            raise DatasetError(
                f"split: the {name} set would be empty. Units that cannot be parted (groups, chains of near-duplicates "
                f"along a trajectory), by config_type: {units}. Add data that are not related, keep fewer frames of "
                f"each trajectory (`dataset import --index ::20`), ignore groups if theirs are not related (`by_group: "
                f"false`, `dataset split --ignore-groups`), or set the fraction of {name} to 0"
            )
        actual = len(sets[name]) / total
        if abs(actual - share) > max(0.05, 0.25 * share):
            warnings.append(
                f"{name}: {len(sets[name])} of {total} frames ({actual:.0%}) instead of {share:.0%}, since groups, "
                "near-duplicates, isolated atoms and small configuration types are not divided"
            )
