"""Conditions of the dynamics of a liquid, and the names of its walkers, from which the conditions can be read again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

Stage = Literal["nvt", "npt", "nve"]

BAR_IN_GPA = 1.0e-4

_WALKER = re.compile(r"(?P<box>.+)_t(?P<temperature>\d+)(?:_p(?P<pressure>\d+))?_w(?P<copy>\d+)")


class WalkerPlace(NamedTuple):
    """What the name of a walker says.

    :param temperature: [K], rounded.
    :param pressure: index in the list of pressures; None at constant volume.
    :param copy: number of the trajectory of these conditions, from 1.
    """

    box: str
    temperature: int
    pressure: int | None
    copy: int

    @property
    def name(self) -> str:
        """Return the name, e.g. ``ec_emc_t300_p0_w1``."""
        pressure = "" if self.pressure is None else f"_p{self.pressure}"
        return f"{self.box}_t{self.temperature}{pressure}_w{self.copy}"


def place_of(walker: str) -> WalkerPlace:
    """Return what the name of a walker says.

    :raises ValueError: where it is no name of :attr:`WalkerPlace.name`.
    """
    found = _WALKER.fullmatch(walker)
    if found is None:
        raise ValueError(f"walker = {walker!r} is no name like 'box_t300_p0_w1'")
    pressure = found["pressure"]
    return WalkerPlace(
        found["box"], int(found["temperature"]), None if pressure is None else int(pressure), int(found["copy"])
    )


def nearest(values: Sequence[float], rounded: int) -> float:
    """Return the value that a rounded one stands for."""
    return min(values, key=lambda value: abs(value - rounded))


def in_words(
    box: str, stage: str, temperature: float | None = None, pressure: float | None = None, copy: int | None = None
) -> str:
    """Return a condition in words, e.g. ``ec_emc, npt, 300 K, 1 bar``.

    :param temperature: [K].
    :param pressure: [GPa].
    """
    parts = [box, stage]
    if temperature is not None:
        parts.append(f"{temperature:g} K")
    if pressure is not None:
        bar = pressure / BAR_IN_GPA
        parts.append(f"{bar:.3g} bar" if abs(bar) < 1000 else f"{bar / 1000:.3g} kbar")
    if copy is not None:
        parts.append(f"walker {copy}")
    return ", ".join(part for part in parts if part)
