"""Trust levels of force uncertainties: accurate below the lower one, a candidate up to the upper one, failed above."""

from __future__ import annotations


def absolute_levels(median: float, lower: float, upper: float, floor: float) -> tuple[float, float]:
    """Return the lower and the upper level [eV/Å] from multiples of the median on the calibration set.

    Where the floor lifts the lower level, the upper one is lifted by as much, so that there is room between them.

    :param median: of the largest calibrated force uncertainty of each calibration frame [eV/Å].
    :param lower: multiple of the median.
    :param upper: multiple of the median.
    :param floor: the lower level is never below this [eV/Å].
    :raises ValueError: where the median and the floor are both zero, so that there is no level.
    """
    found = max(lower * median, floor)
    if found <= 0.0:
        raise ValueError(
            f"levels: the median of the largest force uncertainties is {median} eV/Å and the floor is {floor} eV/Å: "
            "give a floor above zero, or absolute levels"
        )
    return found, found * upper / lower
