"""Which frames are asked for: farthest-point sampling within a budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mlip.science.selection.levels import Level
from aiida_mlip.science.selection.novelty import SAME, Array, Described, Novelty, scaling, typical_novelty


@dataclass(frozen=True)
class Candidate:
    """A frame that may be asked for.

    :param walker: name of its walker.
    :param index: its number in the trajectory.
    :param atoms: the frame.
    :param sigma: largest calibrated uncertainty of an atom's force [eV/Å].
    :param level: what the uncertainty says of it.
    :param temperature: target temperature [K], where there is one.
    """

    walker: str
    index: int
    atoms: Atoms
    sigma: float
    level: Level
    temperature: float | None = None


@dataclass(frozen=True)
class Budget:
    """How many frames may be chosen.

    :param total: in all.
    :param per_temperature: in each bin of the target temperature; None: no limit.
    :param bin_width: of a bin [K]; bins are centred on its multiples.
    """

    total: int
    per_temperature: int | None = None
    bin_width: float = 50.0

    def bin_of(self, temperature: float | None) -> int | None:
        """Return the bin of a temperature; frames without one share a bin."""
        return None if temperature is None else int(np.floor(temperature / self.bin_width + 0.5))


@dataclass(frozen=True)
class Choice:
    """A frame that is asked for.

    :param candidate: its position among the candidates.
    :param novelty: how new it was when it was chosen, in units of the known set's own; infinite where it has an element
        that was not known.
    :param atom: index of the atom that makes it new.
    """

    candidate: int
    novelty: float
    atom: int


@dataclass(frozen=True)
class Chosen:
    """The result of a selection.

    :param choices: in the order in which they were chosen.
    :param novelties: of all candidates against what was known before, shape (candidates,), in the same units.
    :param unit: typical novelty of the known frames, in scaled descriptors; None where there are not two different
        ones, and novelties are then in standard deviations of the descriptors.
    """

    choices: tuple[Choice, ...]
    novelties: Array
    unit: float | None


def choose(
    candidates: Sequence[Candidate],
    described: Sequence[Described],
    known: Sequence[Described],
    budget: Budget,
    *,
    min_novelty: float = 0.0,
    include_failed: bool = True,
    seed: int = 1,
) -> Chosen:
    """Choose frames one by one, always the newest of those that may be chosen, which then counts as known.

    Frames of the level *candidate* come first, and failed ones only fill what is left of the budget. Within a level no
    walker gets more than its even share while another one has new frames. Of equally new frames the most uncertain is
    taken, then the first in the order of the candidates.

    :param candidates: frames of the levels *candidate* and *failed*, in an order that does not depend on chance.
    :param described: descriptors of the candidates.
    :param known: descriptors of what is known.
    :param min_novelty: frames that are less new are not chosen, in units of the known set's own; frames that are the
        same as a known one never are.
    :param seed: see :func:`~aiida_mlip.science.selection.novelty.typical_novelty`.
    """
    if not candidates:
        return Chosen((), np.zeros(0), None)
    scale = scaling(known, described)
    frames, scaled_known = [scale(frame) for frame in described], [scale(frame) for frame in known]
    unit = typical_novelty(scaled_known, seed)
    novelty = Novelty(frames)
    for frame in scaled_known:
        novelty.learn(frame)
    search = _Search(candidates, frames, novelty, unit or 1.0, max(min_novelty, SAME))
    before = search.values()
    for level in (Level.CANDIDATE, Level.FAILED) if include_failed else (Level.CANDIDATE,):
        new = [c for c, value in zip(candidates, search.values(), strict=True) if value >= search.least]
        walkers = {candidate.walker for candidate in new if candidate.level == level}
        share = int(np.ceil((budget.total - len(search.choices)) / max(len(walkers), 1)))
        search.run(level, budget, share)
        search.run(level, budget, None)
    return Chosen(tuple(search.choices), before, unit)


class _Search:
    """The frames chosen so far, and what may still be chosen."""

    def __init__(
        self, candidates: Sequence[Candidate], frames: Sequence[Described], novelty: Novelty, unit: float, least: float
    ) -> None:
        self.candidates, self.frames, self.novelty, self.unit, self.least = candidates, frames, novelty, unit, least
        self.choices: list[Choice] = []

    def values(self) -> Array:
        return self.novelty.values() / self.unit

    def run(self, level: Level, budget: Budget, share: int | None) -> None:
        """Choose frames of a level until the budget is used up or none is new; ``share``: at most of one walker."""
        while len(self.choices) < budget.total:
            values = self.values().tolist()
            allowed = self._allowed(level, budget, share)
            open_ = [i for i, value in enumerate(values) if value >= self.least and allowed(i)]
            if not open_:
                return
            best = max(open_, key=lambda i: (_rounded(values[i]), self.candidates[i].sigma, -i))
            self.choices.append(Choice(best, values[best], self.novelty.strangest(best)))
            self.novelty.learn(self.frames[best])

    def _allowed(self, level: Level, budget: Budget, share: int | None) -> Callable[[int], bool]:
        taken = [self.candidates[choice.candidate] for choice in self.choices]
        bins = Counter(budget.bin_of(candidate.temperature) for candidate in taken)
        walkers = Counter(candidate.walker for candidate in taken if candidate.level == level)
        chosen = {choice.candidate for choice in self.choices}

        def allowed(index: int) -> bool:
            candidate = self.candidates[index]
            full = budget.per_temperature is not None and bins[budget.bin_of(candidate.temperature)] >= (
                budget.per_temperature
            )
            return (
                candidate.level == level
                and index not in chosen
                and not full
                and (share is None or walkers[candidate.walker] < share)
            )

        return allowed


def _rounded(value: float) -> float:
    """Return a value without the digits that depend on the order of additions."""
    return float(f"{value:.9g}")
