"""Trust levels: how sure a potential is of a frame, by the largest uncertainty of a force in it."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """What the uncertainty says of a frame."""

    ACCURATE = "accurate"
    CANDIDATE = "candidate"
    FAILED = "failed"


def classify(sigma: float, lower: float, upper: float) -> Level:
    """Return the level of a frame: accurate < ``lower`` <= candidate < ``upper`` <= failed.

    :param sigma: largest calibrated uncertainty of an atom's force [eV/Å].
    :param lower: lower trust level [eV/Å].
    :param upper: upper trust level [eV/Å].
    :raises ValueError: where ``sigma`` is not a number that can be compared.
    """
    if sigma != sigma or sigma < 0:  # noqa: PLR0124 - NaN
        raise ValueError(f"sigma = {sigma}: an uncertainty is a number that is not negative")
    if sigma < lower:
        return Level.ACCURATE
    return Level.CANDIDATE if sigma < upper else Level.FAILED
