"""Trust levels of force uncertainties: accurate below the lower one, a candidate up to the upper one, failed above."""

from __future__ import annotations


def absolute_levels(median: float, lower: float, upper: float, *, floor: float, ceiling: float) -> tuple[float, float]:
    """Return the lower and the upper level [eV/Å] from multiples of the median on the calibration set.

    Where the floor or the ceiling moves the lower level, the upper one keeps its ratio to it. The ceiling keeps a model
    that is poor everywhere from calling its dynamics accurate: one that was trained for two epochs had a median of
    1.7 eV/Å on strongly displaced frames, above anything that its dynamics met at 2000 K.

    :param median: of the largest calibrated force uncertainty of each calibration frame [eV/Å].
    :param lower: multiple of the median.
    :param upper: multiple of the median.
    :param floor: the lower level is never below this [eV/Å].
    :param ceiling: nor above this [eV/Å].
    :raises ValueError: where the median and the floor are both zero, so that there is no level.
    """
    found = min(max(lower * median, floor), ceiling)
    if found <= 0.0:
        raise ValueError(
            f"levels: the median of the largest force uncertainties is {median} eV/Å and the floor is {floor} eV/Å: "
            "give a floor above zero, or absolute levels"
        )
    return found, found * upper / lower
