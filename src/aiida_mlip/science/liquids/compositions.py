"""How many molecules of what: numbers from ratios, larger boxes of the same liquid, grids of compositions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from math import gcd
from typing import Any

from aiida_mlip.science.liquids.components import Component, find

Numbers = Mapping[str, int]
"""Component, by name or SMILES -> number of molecules."""


def components_of(composition: Numbers) -> list[tuple[Component, int]]:
    """Return the components of a box with their numbers, in order; those with number 0 are left out.

    :raises ValueError: for an unknown component, a number that is none, a box without molecules, or charges that do
        not balance.
    """
    counts: dict[str, tuple[Component, int]] = {}
    for name, number in composition.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ValueError(f"composition.{name} = {number!r}: give the number of molecules, 0 or more")
        component = find(name)
        known = counts.get(component.name, (component, 0))[1]
        counts[component.name] = (component, known + number)
    found = [(component, number) for component, number in counts.values() if number]
    if not found:
        raise ValueError(f"composition = {dict(composition)!r}: there is no molecule; give at least one")
    _check_charges(found)
    return found


def _check_charges(found: Sequence[tuple[Component, int]]) -> None:
    total = sum(component.charge * number for component, number in found)
    if total == 0:
        return
    terms = " ".join(
        f"{number * component.charge:+d} ({component.name})" for component, number in found if component.charge
    )
    wanted = [component for component, _ in found if component.charge * total < 0]
    single = next((one for one in wanted if total % one.charge == 0), None)
    remedy = f"add {abs(total // single.charge)} {single.name}" if single else f"add ions of {-total:+d} in total"
    raise ValueError(
        f"composition: the charges sum to {total:+d} e = {terms}; a periodic box must be neutral: {remedy}, or take "
        "ions of the other sign out"
    )


def larger(composition: Numbers, molecules: int = 48) -> dict[str, int]:
    """Return the same composition, whole times larger, with at least so many molecules.

    12 molecules of a box become 48 as four times the numbers; the box is then packed anew, so that its molecules are
    no copies of each other.

    :raises ValueError: for a composition without molecules.
    """
    size = sum(composition.values())
    if size < 1:
        raise ValueError(f"composition = {dict(composition)!r}: there is no molecule; give at least one")
    return times(composition, max(1, -(-molecules // size)))


def times(composition: Numbers, factor: int) -> dict[str, int]:
    """Return each number times ``factor``.

    :raises ValueError: where the factor is not positive.
    """
    if factor < 1:
        raise ValueError(f"factor = {factor}: a box is made larger by a whole number of times, 1 or more")
    return {name: number * factor for name, number in composition.items()}


def from_ratio(ratio: Mapping[str, int], molecules: int) -> dict[str, int]:
    """Return the smallest composition with these proportions and at least so many molecules.

    ``{"EC": 1, "EMC": 2}`` with 12 gives 4 EC and 8 EMC; with 13 it gives 5 and 10. Components with 0 stay out.

    :raises ValueError: for a ratio without molecules.
    """
    parts = {name: number for name, number in ratio.items() if number}
    divisor = reduce(gcd, parts.values(), 0)
    return larger({name: number // max(divisor, 1) for name, number in parts.items()}, molecules)


def grid(
    compositions: Mapping[str, Numbers], densities: Sequence[float], seeds: Sequence[int] = (1,)
) -> dict[str, dict[str, Any]]:
    """Return the settings of one box for each composition, density and seed.

    :param compositions: name -> composition.
    :param densities: [g/cm^3].
    :return: ``<name>_d<density>_s<seed>`` -> ``composition``, ``density`` and ``seed``: keyword arguments of
        :class:`~aiida_mlip.schema.boxes.BoxSettings`. The dot of a density is written ``p``; parts that do not
        differ are left out of the names.
    """
    boxes: dict[str, dict[str, Any]] = {}
    for name, composition in compositions.items():
        for density in densities:
            for seed in seeds:
                parts = [name]
                parts += [f"d{density:g}".replace(".", "p")] if len(densities) > 1 else []
                parts += [f"s{seed}"] if len(seeds) > 1 else []
                boxes["_".join(parts)] = {"composition": dict(composition), "density": density, "seed": seed}
    return boxes
