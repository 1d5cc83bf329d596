"""What is written of a selection: the frames with their origins, and the outcome in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from aiida_mlip.science.iterative.ladder import condition_of
from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.origin import Origin, set_origin
from aiida_mlip.science.selection.choice import Candidate, Choice, Chosen
from aiida_mlip.science.selection.levels import Level
from aiida_mlip.science.selection.sift import Sifted

CONFIG_TYPE_PREFIX = "md"


def config_type_of(walker: str) -> str:
    """Return ``md_<condition>`` for a walker of a ladder of conditions, ``md`` for any other."""
    condition = condition_of(walker)
    return CONFIG_TYPE_PREFIX if condition == walker else f"{CONFIG_TYPE_PREFIX}_{condition}"


def selected_frame(
    candidate: Candidate, choice: Choice, *, lower: float, upper: float, unit: float | None, generation: int
) -> Atoms:
    """Return a frame to be labelled: its geometry, type and origin, and nothing that the dynamics knew besides.

    :param unit: as in :class:`~aiida_mlip.science.selection.choice.Chosen`.
    """
    frame, info = candidate.atoms, candidate.atoms.info
    bare = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    bare.info[CONFIG_TYPE] = config_type_of(candidate.walker)
    energy = info.get("energy_sigma")
    origin = Origin(
        kind="md",
        generation=generation,
        walker=candidate.walker,
        step=info.get("step"),
        temperature=candidate.temperature,
        pressure=info.get("pressure"),
        max_forces_sigma=candidate.sigma,
        energy_sigma=None if energy is None else float(energy) / len(frame),
        reason=_reason(candidate, choice, lower, upper, unit),
    )
    return set_origin(bare, origin)


def _reason(candidate: Candidate, choice: Choice, lower: float, upper: float, unit: float | None) -> str:
    where = (
        f"at or above the lower level of {lower:.3g} and below the upper one of {upper:.3g}"
        if candidate.level == Level.CANDIDATE
        else f"at or above the upper level of {upper:.3g}"
    )
    symbol = candidate.atoms.symbols[choice.atom]
    if not np.isfinite(choice.novelty):
        new = f"the environment of atom {choice.atom} ({symbol}): no {symbol} was known"
    elif unit is None:
        new = (
            f"the environment of atom {choice.atom} ({symbol}), {choice.novelty:.3g} standard deviations from the known"
        )
    else:
        new = (
            f"the environment of atom {choice.atom} ({symbol}), {choice.novelty:.3g} times as far from the known ones "
            "as these typically are from each other"
        )
    return f"{candidate.level}: largest force uncertainty {candidate.sigma:.3g} eV/Å, {where}; new by {new}"


def outcome(
    sifted: Mapping[str, Sifted], candidates: list[Candidate], chosen: Chosen, *, new: int, lower: float, failed: bool
) -> str:
    """Return what was selected, or why nothing was, in words.

    :param candidates: those whose novelty is known.
    :param new: how many of them are new enough.
    :param lower: lower trust level [eV/Å].
    :param failed: whether failed frames may be chosen.
    """
    frames = sum(walker.frames for walker in sifted.values())
    if chosen.choices:
        return f"{len(chosen.choices)} of {new} new frames were selected; there were {frames} frames."
    passed = sum(sum(walker.levels.values()) for walker in sifted.values())
    if not passed:
        return f"Nothing was selected: the geometry filters refused all {frames} frames."
    above = sum(len(walker.candidates) for walker in sifted.values())
    if not above:
        largest = max(walker.largest for walker in sifted.values())
        return (
            f"Nothing was selected: no frame reaches the lower level of {lower:.3g} eV/Å; the largest force "
            f"uncertainty of {passed} frames is {largest:.3g} eV/Å."
        )
    if not failed and all(candidate.level == Level.FAILED for candidate in candidates):
        return (
            f"Nothing was selected: all {above} frames at or above the lower level are at or above the upper one too, "
            "and include_failed is False."
        )
    return f"Nothing was selected: the {above} frames at or above the lower level are as what is known."
