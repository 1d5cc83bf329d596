"""Which configurations are the same, or nearly the same, whatever their orientation, order of atoms or cell.

A hash of rounded numbers parts equal structures that fall on two sides of a rounding step, so none is used. Instead,
configurations of one composition are compared by invariant features (see :mod:`.environments`), scaled by how much
these change when atoms move by the tolerance. Only pairs that are close there are compared atom by atom. Cost: one
matrix product for each composition, in 24 dimensions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pydantic import Field

from aiida_mlip.science.datasets.environments import Environments, environments
from aiida_mlip.science.datasets.superposition import (
    Distances,
    distances,
    same_distances,
    same_environments,
    same_order,
)
from aiida_mlip.science.models import StrictModel

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_CANDIDATE = 3.0
_SAMPLE = 12
_DIMENSIONS = 24
_CHUNK = 512


class Tolerances(StrictModel):
    """When two configurations count as the same and as nearly the same."""

    exact: float = Field(default=1e-3, gt=0, description="largest distance of equivalent atoms [Å]: rounding in files")
    near: float = Field(
        default=0.02,
        gt=0,
        description="root mean square distance of equivalent atoms [Å]: a tenth of the thermal amplitude of solids at "
        "room temperature, and less than what atoms move within 5 fs",
    )
    strain: float = Field(default=1e-3, gt=0, description="largest difference of the cells' strain, for near ones")
    comparisons: int = Field(
        default=3000, ge=0, description="pairs in different order or orientation that are compared; the closest first"
    )


@dataclass(frozen=True)
class Duplicates:
    """Sets of configurations, by index; those that are alone are left out.

    ``exact`` and ``near`` (which includes the exact ones) are each a partition. ``links``: pairs that show it, with
    the root mean square distance of their atoms [Å]. ``skipped``: pairs not compared because there were too many.
    """

    exact: tuple[tuple[int, ...], ...]
    near: tuple[tuple[int, ...], ...]
    links: tuple[tuple[int, int, float], ...]
    skipped: int = 0


@dataclass
class _Partition:
    """A union-find over n items whose labels are kept flat."""

    labels: Integers

    def join(self, one: int, other: int) -> None:
        self.labels[self.labels == self.labels[other]] = self.labels[one]

    def sets(self) -> tuple[tuple[int, ...], ...]:
        members: dict[int, list[int]] = defaultdict(list)
        for item, label in enumerate(self.labels.tolist()):
            members[label].append(item)
        return tuple(tuple(items) for items in members.values() if len(items) > 1)


@dataclass
class _Search:
    """What is found while the compositions are gone through."""

    tolerances: Tolerances
    exact: _Partition
    near: _Partition
    links: list[tuple[int, int, float]] = field(default_factory=list)
    open: list[tuple[float, int, int]] = field(default_factory=list)


def usable(atoms: Atoms) -> bool:
    """Return whether a configuration has a geometry: atoms, finite numbers, and a volume if it is periodic in 3D."""
    cell = atoms.cell.array
    finite = len(atoms) > 0 and np.isfinite(atoms.positions).all() and np.isfinite(cell).all()
    if not finite or not atoms.pbc.any():
        return bool(finite)
    vectors = cell[atoms.pbc]
    area = np.sqrt(max(np.linalg.det(vectors @ vectors.T), 0.0))
    lengths = np.linalg.norm(vectors, axis=1)
    return bool(lengths.min() > 0.1 and area > 1e-2 * np.prod(lengths))


def find_duplicates(
    frames: Sequence[Atoms],
    tolerances: Tolerances | None = None,
    known: Mapping[int, Environments] | None = None,
) -> Duplicates:
    """Return which configurations are the same and which nearly so.

    Same means: equal composition, and each atom within ``tolerances.exact`` of an equivalent one, after any rotation,
    reflection, translation, renumbering, or other choice of the periodic cell. Nearly the same: within
    ``tolerances.near``. A cell and its supercell count as nearly the same.

    :param frames: configurations; those without a usable geometry are never duplicates.
    :param known: environments that were computed already, by index.
    """
    tolerances = tolerances or Tolerances()
    known = known if known is not None else {i: environments(a) for i, a in enumerate(frames) if usable(a)}
    n = len(frames)
    search = _Search(tolerances, _Partition(np.arange(n)), _Partition(np.arange(n)))
    blocks: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for index, environment in known.items():
        blocks[environment.composition].append(index)
    for members in blocks.values():
        if len(members) > 1:
            _search_block(search, frames, members, known)
    skipped = _compare_open(search, frames)
    return Duplicates(search.exact.sets(), search.near.sets(), tuple(search.links), skipped)


def _search_block(
    search: _Search, frames: Sequence[Atoms], members: list[int], known: Mapping[int, Environments]
) -> None:
    """Compare the configurations of one composition."""
    vectors = np.array([known[index].averages for index in members])
    scale, typical = _scale(frames, members, known, search.tolerances)
    scaled = vectors / scale
    for row, columns, apart in _close(scaled):
        i = members[row]
        others = np.array([members[column] for column in columns], dtype=np.int64)
        different = search.near.labels[others] != search.near.labels[i]
        tight = (apart < 0.1) & (search.exact.labels[others] != search.exact.labels[i])
        for j, distance in zip(others[different | tight].tolist(), apart[different | tight].tolist(), strict=True):
            _compare(search, frames, (i, j), distance, typical)


def _compare(search: _Search, frames: Sequence[Atoms], pair: tuple[int, int], distance: float, typical: float) -> None:
    """Compare a pair atom by atom in the order given; put it aside where another order might fit."""
    i, j = pair
    one, other, tolerances = frames[i], frames[j], search.tolerances
    if search.exact.labels[i] == search.exact.labels[j]:
        return
    if len(one) != len(other):
        if distance < 0.05:
            _link(search, i, j, 0.0)
        return
    found = same_order(one, other, tolerances.strain)
    if found is not None and found.largest < tolerances.exact:
        search.exact.join(i, j)
        _link(search, i, j, found.rms)
    elif found is not None and found.rms < tolerances.near:
        _link(search, i, j, found.rms)
    elif distance < 1.5 * typical:
        search.open.append((distance, i, j))


def _link(search: _Search, i: int, j: int, rms: float) -> None:
    if search.near.labels[i] != search.near.labels[j]:
        search.near.join(i, j)
    search.links.append((i, j, rms))


def _compare_open(search: _Search, frames: Sequence[Atoms]) -> int:
    """Compare what may be the same in another order or orientation, the most alike first; return how many were not."""
    done = 0
    cache: dict[int, Distances] = {}
    for count, (_, i, j) in enumerate(sorted(search.open)):
        if search.exact.labels[i] == search.exact.labels[j]:
            continue
        if done >= search.tolerances.comparisons:
            return len(search.open) - count
        done += 1
        for index in (i, j):
            if index not in cache:
                cache[index] = distances(frames[index])
        difference = same_distances(frames[i], frames[j], cache[i], cache[j])
        if difference is None:
            continue
        if difference.largest < search.tolerances.exact:
            search.exact.join(i, j)
            _link(search, i, j, difference.rms)
        elif (
            search.near.labels[i] != search.near.labels[j]
            and difference.rms < search.tolerances.near
            and same_environments(frames[i], frames[j], search.tolerances.near) < 1.0
        ):
            _link(search, i, j, difference.rms)
    return 0


def _scale(
    frames: Sequence[Atoms], members: list[int], known: Mapping[int, Environments], tolerances: Tolerances
) -> tuple[Array, float]:
    """Return how much each averaged feature changes when atoms move, and cells strain, by the near tolerance.

    Measured on a sample of the configurations; the random numbers have a fixed seed. The second value is the distance,
    in these units, that moving the atoms alone makes: in crystals it is small, since the averages change in second
    order only.
    """
    generator = np.random.default_rng(0)
    chosen = members if len(members) <= _SAMPLE else generator.choice(members, _SAMPLE, replace=False).tolist()
    moves, changes = [], []
    for index in chosen:
        moved = frames[index].copy()
        moved.positions += generator.normal(scale=tolerances.near / np.sqrt(3.0), size=moved.positions.shape)
        moves.append(environments(moved).averages - known[index].averages)
        strain = generator.normal(scale=tolerances.strain, size=(3, 3))
        deformation = np.eye(3) + 0.5 * (strain + strain.T)
        moved.set_cell(moved.cell.array @ deformation)
        moved.positions = moved.positions @ deformation
        changes.append(environments(moved).averages - known[index].averages)
    scale = np.sqrt(np.mean(np.square(changes), axis=0))
    scale = np.maximum(scale, 1e-6 + 1e-3 * scale.max())
    typical = float(np.median(np.sqrt(np.mean((np.array(moves) / scale) ** 2, axis=1))))
    return scale, max(typical, 0.05)


def _close(scaled: Array) -> Iterator[tuple[int, Integers, Array]]:
    """Yield row, later rows within the candidate distance, and these distances (root mean square over features)."""
    n, width = scaled.shape
    centred = scaled - scaled.mean(axis=0)
    reduced = centred
    if width > _DIMENSIONS:
        _, vectors = np.linalg.eigh(centred.T @ centred)
        reduced = centred @ vectors[:, -_DIMENSIONS:]
    squares = np.sum(reduced**2, axis=1)
    limit = _CANDIDATE**2 * width
    for start in range(0, n, _CHUNK):
        block = slice(start, min(start + _CHUNK, n))
        square = squares[block, None] + squares[None, start:] - 2.0 * reduced[block] @ reduced[start:].T
        for row in range(block.start, block.stop):
            columns = np.flatnonzero(square[row - start] < limit + 1e-10 * squares[row]) + start
            columns = columns[columns > row]
            if len(columns):
                exact = np.sqrt(np.mean((scaled[columns] - scaled[row]) ** 2, axis=1))
                near = exact < _CANDIDATE
                yield row, columns[near], exact[near]
