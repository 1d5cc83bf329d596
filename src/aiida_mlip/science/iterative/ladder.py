"""The ladder of conditions: which rungs a generation runs, and the names and random numbers of its walkers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

NAME = r"[A-Za-z](?:_?[A-Za-z0-9])*"
"""Names in the graph: letters, digits and single underscores."""

_WALKER = re.compile(rf"(?P<condition>{NAME})_s(?P<structure>\d+)_w(?P<copy>\d+)")

Ladder = Literal["all", "rising"]


def walker_name(condition: str, structure: int, copy: int) -> str:
    """Return the name of a walker: ``<condition>_s<structure>_w<copy>``."""
    return f"{condition}_s{structure}_w{copy}"


def condition_of(walker: str) -> str:
    """Return the condition of a walker; a name that is not of :func:`walker_name` is a condition of its own."""
    found = _WALKER.fullmatch(walker)
    return found["condition"] if found else walker


def walker_seed(seed: int, generation: int, number: int) -> int:
    """Return the seed of one walker of one generation; different for each, and the same each time."""
    return int(np.random.SeedSequence([seed, generation, number]).generate_state(1)[0])


def rungs_to_run(kind: Ladder, rungs: int, before: Sequence[bool] | None) -> int:
    """Return how many rungs a generation runs, counted from the gentlest.

    :param kind: ``all``: every rung, always. ``rising``: the first generation runs the first rung; each later one runs
        all rungs up to and including the first that was not converged the last time, and one more than the last time
        where all of them were.
    :param rungs: number of rungs of the ladder, at least 1.
    :param before: for each rung that the generation before ran, whether it was converged; None for the first one.
    """
    if kind == "all":
        return rungs
    if before is None:
        return 1
    first = next((number for number, converged in enumerate(before) if not converged), len(before))
    return min(first + 1, rungs)
