"""When iterative training has converged: counts of candidates, held-out errors, and the stability of the dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Observation:
    """What one generation showed.

    :param candidate_fraction: share of the frames above the lower trust level; None where nothing was explored.
    :param forces_rmse: root-mean-square force error on the hold-out set [eV/Å], None without one.
    :param stopped: walkers that a rule stopped.
    :param rungs: rungs of the ladder that were run.
    :param explored: whether there were frames of the dynamics to look at.
    :param blind: whether the uncertainty was zero where it was calibrated, as that of equal members is.
    """

    candidate_fraction: float | None
    forces_rmse: float | None = None
    stopped: tuple[str, ...] = ()
    rungs: int = 1
    explored: bool = True
    blind: bool = False


@dataclass(frozen=True)
class Limits:
    """What is asked of each of ``generations`` generations in a row; None: not asked."""

    candidate_fraction: float
    generations: int = 1
    forces_improvement: float | None = None
    stable: bool = True
    rungs: int = 1


def missing(seen: Sequence[Observation], limits: Limits) -> list[str]:
    """Return what is not yet converged in the last ``limits.generations`` generations; empty where all of it is.

    :param seen: all generations so far, in order.
    """
    if not seen:
        return ["no generation is finished"]
    reasons: list[str] = []
    if len(seen) < limits.generations:
        reasons.append(f"{len(seen)} of the {limits.generations} generations in a row that are asked for")
    start = max(len(seen) - limits.generations, 0)
    for number in range(start, len(seen)):
        before = seen[number - 1] if number else None
        reasons += [f"generation {number + 1}: {text}" for text in _missing_of(seen[number], before, limits)]
    return reasons


def _missing_of(now: Observation, before: Observation | None, limits: Limits) -> list[str]:
    reasons = []
    if now.rungs < limits.rungs:
        reasons.append(f"{now.rungs} of {limits.rungs} conditions were run")
    if now.blind:
        reasons.append("the uncertainty is zero on the calibration frames, so that no frame can be a candidate")
    if not now.explored or now.candidate_fraction is None:
        reasons.append("no frame was explored")
    elif now.candidate_fraction > limits.candidate_fraction:
        reasons.append(
            f"candidates are {now.candidate_fraction:.1%} of the frames, above {limits.candidate_fraction:.1%}"
        )
    if limits.stable and now.stopped:
        shown = ", ".join(now.stopped[:5]) + (", ..." if len(now.stopped) > 5 else "")
        reasons.append(f"{len(now.stopped)} walker(s) were stopped by a rule: {shown}")
    if limits.forces_improvement is not None and (text := _still_improves(now, before, limits.forces_improvement)):
        reasons.append(text)
    return reasons


def _still_improves(now: Observation, before: Observation | None, limit: float) -> str:
    """Return why the held-out error counts as still falling, or an empty text."""
    if now.forces_rmse is None:
        return "there is no held-out force error to judge"
    if before is None or before.forces_rmse is None:
        return "the held-out force error has nothing to be compared with"
    fell = 1.0 - now.forces_rmse / before.forces_rmse if before.forces_rmse > 0 else 0.0
    return f"the held-out force error still fell by {fell:.1%}, at least {limit:.1%}" if fell >= limit else ""


def condition_converged(candidate_fraction: float | None, stopped: Sequence[str], limits: Limits) -> bool:
    """Return whether one rung of the ladder is done with, so that the next one may be run.

    :param candidate_fraction: of the frames of this rung alone, None where it gave none.
    :param stopped: walkers of this rung that a rule stopped.
    """
    few = candidate_fraction is not None and candidate_fraction <= limits.candidate_fraction
    return few and not (limits.stable and stopped)
