"""How new a frame is: how far its strangest atom is from every atomic environment that is known.

Descriptors averaged over a frame hide one strange atom among a hundred, and that atom is the reason to ask for a label.
A local potential sees environments, not frames. So the distance of a frame from a set is the directed Hausdorff
distance of their environments, element by element::

    novelty(frame) = max over atoms a of the frame of ( min over environments b of the same element of |d_a - d_b| )

It is 0 for a frame that is known, in whatever orientation, order or supercell; a perfect supercell of a known cell
brings nothing new. An element that is not known at all is infinitely new.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

SAME = 1e-3
"""Novelty, in units of the known set's own, below which a frame counts as known: rounding gives some 1e-6."""

_DIFFERENT = 1e-4
_LEAST = 10
_FLOOR = 0.05
_SAMPLE = 200
_BLOCK = 4096


@dataclass(frozen=True)
class Described:
    """The environments of one frame of n atoms.

    ``numbers`` (n,): atomic numbers; ``features`` (n, f): invariant descriptors; ``counts`` (n,): the atoms whose
    novelty is that of the frame. All atoms make a frame known.
    """

    numbers: Integers
    features: Array
    counts: NDArray[np.bool_]


@dataclass(frozen=True)
class Scaling:
    """Mean and scale of each descriptor, by element; shapes (f,)."""

    mean: Mapping[int, Array]
    scale: Mapping[int, Array]

    def __call__(self, frame: Described) -> Described:
        """Return a frame with descriptors of mean 0 and scale 1."""
        features = np.empty_like(frame.features)
        for number in np.unique(frame.numbers).tolist():
            chosen = frame.numbers == number
            features[chosen] = (frame.features[chosen] - self.mean[number]) / self.scale[number]
        return Described(frame.numbers, features, frame.counts)


def scaling(known: Sequence[Described], others: Sequence[Described]) -> Scaling:
    """Return how descriptors are made comparable: each is divided by its standard deviation among the known ones.

    Elements with fewer than ten known environments, or with known ones that are all the same, are scaled by all frames
    together. A standard deviation is never taken for less than 0.05 times the root mean square one of its element, so
    that what hardly varies does not dominate.
    """
    first, both = _by_element(known), _by_element([*known, *others])
    mean, scale = {}, {}
    for number, everything in both.items():
        chosen = first.get(number, everything[:0])
        deviation = chosen.std(axis=0) if len(chosen) >= _LEAST else np.zeros(0)
        if not _rms(deviation) > 1e-6 * _rms(everything):
            chosen, deviation = everything, everything.std(axis=0)
        mean[number] = chosen.mean(axis=0)
        scale[number] = np.maximum(deviation, _FLOOR * _rms(deviation) or 1.0)
    return Scaling(mean, scale)


def _by_element(frames: Sequence[Described]) -> dict[int, Array]:
    parts: dict[int, list[Array]] = defaultdict(list)
    for frame in frames:
        for number in np.unique(frame.numbers).tolist():
            parts[number].append(frame.features[frame.numbers == number])
    return {number: np.concatenate(stack) for number, stack in sorted(parts.items())}


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


class Novelty:
    """The novelty of frames while more and more becomes known.

    :param frames: the frames in question, with scaled descriptors.
    """

    def __init__(self, frames: Sequence[Described]) -> None:
        self._size = len(frames)
        self._features: dict[int, Array] = {}
        self._owner: dict[int, Integers] = {}
        self._atom: dict[int, Integers] = {}
        self._norms: dict[int, Array] = {}
        self._squared: dict[int, Array] = {}
        for number in sorted({int(z) for frame in frames for z in frame.numbers[frame.counts]}):
            chosen = [np.flatnonzero((frame.numbers == number) & frame.counts) for frame in frames]
            stack = [frame.features[atoms] for frame, atoms in zip(frames, chosen, strict=True)]
            self._features[number] = np.concatenate(stack)
            self._norms[number] = np.sum(self._features[number] ** 2, axis=1)
            self._owner[number] = np.repeat(np.arange(self._size), [len(atoms) for atoms in chosen])
            self._atom[number] = np.concatenate(chosen)
            self._squared[number] = np.full(len(self._owner[number]), np.inf)

    def learn(self, frame: Described, *, but: int | None = None) -> None:
        """Let all environments of a frame be known, to all frames in question but one.

        :param frame: its descriptors are scaled as those of the frames in question.
        :param but: index of the frame for which nothing changes.
        """
        for number, features in self._features.items():
            known = frame.features[frame.numbers == number]
            if not len(known):
                continue
            squares = np.sum(known**2, axis=1)
            for start in range(0, len(features), _BLOCK):
                block = slice(start, start + _BLOCK)
                nearest = np.min(squares - 2.0 * features[block] @ known.T, axis=1) + self._norms[number][block]
                old = self._squared[number][block]
                found = np.minimum(old, np.maximum(nearest, 0.0))
                self._squared[number][block] = np.where(self._owner[number][block] == but, old, found)

    def values(self) -> Array:
        """Return the novelty of each frame, shape (frames,); 0 where no atom of it counts."""
        squared = np.zeros(self._size)
        for number, distances in self._squared.items():
            np.maximum.at(squared, self._owner[number], distances)
        return np.sqrt(squared)

    def strangest(self, frame: int) -> int:
        """Return the index, in its frame, of the atom that makes the frame new; the first of equal ones.

        :raises ValueError: where no atom of the frame counts.
        """
        best: tuple[float, int] | None = None
        for number, distances in self._squared.items():
            mine = np.flatnonzero(self._owner[number] == frame)
            for squared, atom in zip(distances[mine].tolist(), self._atom[number][mine].tolist(), strict=True):
                if best is None or (squared, -atom) > best:
                    best = (squared, -atom)
        if best is None:
            raise ValueError(f"frame = {frame}: none of its atoms counts")
        return -best[1]


def typical_novelty(known: Sequence[Described], seed: int) -> float | None:
    """Return how new known frames are to each other: the median novelty of each against all others.

    :param known: frames with scaled descriptors; all their atoms count. Of more than 200, that many are drawn.
    :param seed: of the draw.
    :return: None where there are no two different frames.
    """
    drawn = list(range(len(known)))
    if len(known) > _SAMPLE:
        drawn = sorted(np.random.default_rng(seed).choice(len(known), _SAMPLE, replace=False).tolist())
    place = {index: position for position, index in enumerate(drawn)}
    novelty = Novelty(
        [Described(k.numbers, k.features, np.ones(len(k.numbers), bool)) for k in (known[i] for i in drawn)]
    )
    for index, frame in enumerate(known):
        novelty.learn(frame, but=place.get(index, -1))
    values = novelty.values()
    width = known[0].features.shape[1] if known else 0
    different = values[np.isfinite(values) & (values > _DIFFERENT * np.sqrt(width))]
    return float(np.median(different)) if len(different) else None
