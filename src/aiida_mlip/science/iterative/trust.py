"""Trust levels of the force uncertainty [eV/Å], from what the uncertainty is on known configurations."""

from __future__ import annotations


def levels_from_median(lower: float, upper: float, floor: float, median: float) -> tuple[float, float]:
    """Return the lower and the upper level [eV/Å].

    Levels relative to the model's own uncertainty hold from the weak models of the first generation to the good ones
    of the last; a fixed relative force uncertainty of 0.4 stopped weak models at their first steps.

    :param lower: multiple of ``median`` below which a frame is accurate.
    :param upper: multiple of ``median`` above which a frame is taken for failed; more than ``lower``.
    :param floor: the lower level is never below this [eV/Å]; the upper one keeps its ratio to the lower one.
    :param median: median over the calibration frames of the largest calibrated force uncertainty of an atom [eV/Å].
    :raises ValueError: if the median is negative, or nothing keeps the levels above 0.
    """
    level = max(lower * median, floor)
    if median < 0 or level <= 0:
        raise ValueError(
            f"median uncertainty = {median} eV/angstrom with floor = {floor}: the levels would be 0; "
            "set a positive floor, or absolute levels"
        )
    return level, level * upper / lower
