"""Configurations that were asked for as they are drawn in three dimensions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from aiida_mlip.report import structures
from aiida_mlip.report.asked import Asked

Array = NDArray[np.float64]

EACH = 3
"""Configurations of one generation in the view."""

RADIUS = 0.75
"""Of a drawn atom, in covalent radii, where there are several elements."""


def views(items: Sequence[Asked]) -> Iterator[Mapping[str, Any]]:
    """Yield, for each generation, the configurations of the largest uncertainty, as the script of the page reads them.

    An atom is coloured by its force uncertainty; where the trajectory is not in this database, by the disturbance of
    its surroundings.
    """
    groups: dict[int, list[Asked]] = defaultdict(list)
    for item in items:
        groups[item.generation].append(item)
    left = structures.VIEW_BUDGET
    for generation, group in groups.items():
        chosen = sorted(group, key=lambda item: -(item.origin.max_forces_sigma or 0.0))[:EACH]
        drawn = [_view(item) for item in reversed(chosen)]
        left -= sum(len(shown["v"]) for shown in drawn)
        if left < 0:
            return
        yield {"e": f"generation {generation}" if generation else "selected", "m": "", "k": "", "s": drawn}


def _view(item: Asked) -> Mapping[str, Any]:
    origin = item.origin
    place = f"{origin.walker}, step {origin.step}" if origin.step is not None else origin.kind
    sigma = item.forces_sigma
    atoms = item.atoms
    shown = structures.view(atoms, values=None if sigma is None or not sigma.any() else sigma / sigma.max())
    content = {**shown.as_json(), "t": place}
    if sigma is not None and sigma.any():
        content["q"] = f"largest force uncertainty {float(sigma.max()):.3g} eV/Å"
        if item.forces_error is not None:
            content["q"] += f", largest force error {float(item.forces_error.max()):.3g} eV/Å"
    if len(set(atoms.numbers)) > 1:
        near = shown.indices % len(atoms)
        content["r"] = np.rint(100 * RADIUS * covalent_radii[atoms.numbers[near]]).astype(int).tolist()
    return content
