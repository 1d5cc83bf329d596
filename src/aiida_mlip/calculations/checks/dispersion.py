"""Checks of dispersion: it is not counted twice, members of a committee agree, and what is added is not trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from aiida_mlip.calculations.checks.wording import listed, refusal
from aiida_mlip.schema.potential import PotentialInfo

_WITH_DISPERSION = re.compile(r"\bD[234]\b|D3\(|vdW|VV10|\bMBD\b|-V\b|\bGFN|xTB", re.IGNORECASE)
"""What names a level of theory that has dispersion, among what users write."""


def check_no_dispersion(info: PotentialInfo) -> Iterator[str]:
    """Refuse a potential whose energies have dispersion, or seem to, before dispersion is added to it."""
    if info.dispersion is not None:
        yield refusal(
            "potential.dispersion",
            info.dispersion.title,
            "dispersion is added to this potential already, and would be counted twice",
            "Use it as it is, or start from the potential without it",
        )
    elif info.dispersion_statement == "included":
        yield refusal(
            "potential.dispersion_statement",
            "included",
            "its labels had dispersion, which would be counted twice",
            "Use it as it is",
        )
    elif info.dispersion_statement == "unknown" and _WITH_DISPERSION.search(info.level_of_theory):
        yield refusal(
            "potential.level_of_theory",
            info.level_of_theory,
            "this seems to have dispersion, which would be counted twice, and nobody said that it has none",
            "Use it as it is; or, if it has none, say so: `aiida-mlip potential state-dispersion NODE none`",
        )


def check_same_dispersion(infos: Mapping[str, PotentialInfo]) -> Iterator[str]:
    """Refuse members of a committee that differ in the dispersion that is added to them."""
    added = {name: info.dispersion for name, info in infos.items()}
    first = next(iter(added.values()), None)
    if any(other != first for other in added.values()):
        yield refusal(
            "potentials",
            {name: "none" if one is None else one.title for name, one in added.items()},
            "members differ in the dispersion that is added to them, and their spread would show that",
            "Add the same one to all members, or to none",
        )


def check_trained_without(info: PotentialInfo) -> Iterator[str]:
    """Refuse to train a potential to which dispersion is added: training sees the model alone."""
    if info.dispersion is not None:
        yield refusal(
            "potential.dispersion",
            info.dispersion.title,
            "it is added to the model, and training would fit labels to the model alone",
            "Train the potential without it, on labels without dispersion, and add it to the result "
            f"(`aiida-mlip potential add-dispersion`); functional: {listed([info.dispersion.functional])}",
        )
