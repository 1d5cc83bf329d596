"""Checks of the potential: the elements it knows, its heads, and whether it can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiida_mlip.calculations.checks.dispersion import check_trained_without
from aiida_mlip.calculations.checks.wording import LabelledSet, listed, refusal
from aiida_mlip.schema.potential import PotentialInfo

TRAINABLE = ("mace",)
"""Architectures that `mlip.train` can train."""


def check_potential(info: PotentialInfo, sets: Mapping[str, LabelledSet | None]) -> Iterator[str]:
    """Refuse a potential that lacks an element of a data set.

    :param sets: input name -> data set.
    """
    known = set(info.elements)
    for field, data in sets.items():
        missing = sorted(set(data.elements) - known) if data is not None else []
        if missing:
            yield refusal(
                "potential",
                info.name or f"<potential for {_elements(info)}>",
                f"it lacks {listed(missing)}, which {field} contains (it knows {_elements(info)})",
                f"Use a potential that knows {listed(missing)}, or remove those configurations from {field}",
            )


def check_head(field: str, head: str | None, info: PotentialInfo) -> Iterator[str]:
    """Refuse a head that the potential does not have."""
    if head is not None and head not in info.heads:
        yield refusal(
            field,
            head,
            "the potential has no such head",
            f"Its heads are: {listed(info.heads)}; None means {info.head!r}",
        )


def check_trainable(info: PotentialInfo) -> Iterator[str]:
    """Refuse a potential whose architecture no backend trains, or that is a model and something added to it."""
    yield from check_trained_without(info)
    if info.architecture not in TRAINABLE:
        yield refusal(
            "potential.architecture",
            info.architecture,
            "potentials of this architecture cannot be trained",
            f"Use one of: {listed(TRAINABLE)}; others can be evaluated only",
        )


def _elements(info: PotentialInfo) -> str:
    return listed(info.elements) if len(info.elements) <= 12 else f"{len(info.elements)} elements"
