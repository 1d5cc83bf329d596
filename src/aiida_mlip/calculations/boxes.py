"""Boxes of liquids: packed by a calculation, or imported and looked at."""

from __future__ import annotations

from collections.abc import Iterator

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip.calculations.checks.wording import describe, refusal
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.boxes import BoxSettings
from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.liquids.boxes import problems_of_box
from aiida_mlip.science.liquids.compositions import components_of
from aiida_mlip.science.liquids.packing import ChangedMoleculesError, PackingError, pack

BOX = "box"
"""``config_type`` of a packed box."""

PACKING_FAILED = 410
"""Exit status of :func:`build_box`: packmol is missing, failed, or the molecules do not fit."""

MOLECULES_CHANGED = 411
"""Exit status of :func:`build_box`: molecules came so close that they would be taken for bonded."""


@calcfunction
def build_box(settings: orm.Dict) -> DatasetData | ExitCode:
    """Return one box of a liquid, periodic and cubic, without labels.

    Its molecules are placed by packmol and moved apart as rigid bodies: see
    :func:`~aiida_mlip.science.liquids.packing.pack`. Exit status 410: the molecules do not fit, or packmol failed;
    411: they came so close that they would be taken for bonded. The message says what to change.

    :param settings: of :class:`~aiida_mlip.schema.boxes.BoxSettings`.
    :raises ValueError: for a composition that makes no sense; :func:`check_box_settings` says so beforehand.
    """
    asked = BoxSettings(**settings.get_dict())
    try:
        atoms = pack(asked.composition, asked.density, asked.tolerance, asked.seed)
    except PackingError as error:
        status = MOLECULES_CHANGED if isinstance(error, ChangedMoleculesError) else PACKING_FAILED
        return ExitCode(status, str(error))
    atoms.info[CONFIG_TYPE] = BOX
    box = DatasetData([atoms], level_of_theory="none")
    contents = ", ".join(f"{number} {name}" for name, number in asked.composition.items() if number)
    box.label = f"{contents} at {asked.density:g} g/cm^3"
    return box


def check_box_settings(field: str, settings: BoxSettings) -> Iterator[str]:
    """Refuse a composition with an unknown component, or whose charges do not balance.

    :param field: name of the box as the user knows it, e.g. ``settings.boxes.liquid``.
    """
    try:
        components_of(settings.composition)
    except ValueError as error:
        yield f"{field}.{error}"


def check_box(field: str, box: DatasetData) -> Iterator[str]:
    """Refuse an imported box that is no liquid of molecules, or more than one configuration.

    :param field: name of the input, e.g. ``boxes.liquid``.
    """
    if len(box) != 1:
        yield refusal(field, describe(box), "a box is one configuration", "Give each frame as a box of its own")
        return
    for problem, remedy in problems_of_box(next(box.frames())):
        yield refusal(field, describe(box), problem, remedy)
