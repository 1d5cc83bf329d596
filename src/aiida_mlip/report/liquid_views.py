"""First and last frames of liquids, and those of reactions, as the page draws them in three dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.data.colors import jmol_colors
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.report.electrolyte import Liquids, Look, Run
from aiida_mlip.report.structures import VIEW_BUDGET, Kept
from aiida_mlip.science.dynamics.observables import density_of
from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.liquids.findings import worst
from aiida_mlip.science.liquids.molecules import BOND, find_molecules
from aiida_mlip.science.origin import origin_of

Array = NDArray[np.float64]

MOST_EVENTS = 4
"""Frames of reactions of one trajectory."""

RADIUS = 0.5
"""Of a drawn atom, in covalent radii: sticks are between them."""

ION = 0.55
"""The same of an atom that is bonded to none."""

COLOURS: Mapping[str, tuple[int, int, int]] = {"C": (90, 98, 107), "H": (226, 231, 236), "O": (214, 52, 40),
                                               "Li": (126, 64, 190), "F": (106, 190, 60)}  # fmt: skip
"""Element -> colour; of others that of Jmol. Pale ones are darkened so that they show on white."""


@dataclass(frozen=True)
class Scene:
    """The frames of one trajectory that are drawn."""

    run: Run
    frames: tuple[tuple[str, Atoms], ...]


def frames_of(look: Look) -> Mapping[str, list[Atoms]]:
    """Return config type (``frame_<walker>`` or ``event_<walker>``) -> frames in order of time."""
    node = look.outputs.get("frames")
    found: dict[str, list[Atoms]] = {}
    if isinstance(node, DatasetData):
        for atoms in node.frames():
            found.setdefault(str(atoms.info.get(CONFIG_TYPE, "")), []).append(atoms)
    return {name: sorted(group, key=_step) for name, group in found.items()}


def _step(atoms: Atoms) -> int:
    origin = origin_of(atoms)
    return origin.step if origin is not None and origin.step is not None else 0


def scenes(liquids: Liquids) -> Iterator[Scene]:
    """Yield first and last frame of each trajectory, and the first reactions, as many as a page holds."""
    left, known = VIEW_BUDGET, dict[int, Mapping[str, list[Atoms]]]()
    for run in liquids.runs:
        frames = known.setdefault(run.look.node.pk, frames_of(run.look))
        own = frames.get(f"frame_{run.walker}", [])
        if not own:
            continue
        events = frames.get(f"event_{run.walker}", [])[:MOST_EVENTS]
        chosen = [("first frame", own[0]), *((f"reaction {number}", atoms) for number, atoms in enumerate(events, 1))]
        if len(own) > 1:
            chosen.append(("last frame", own[-1]))
        left -= sum(len(atoms) for _, atoms in chosen)
        if left < 0:
            return
        yield Scene(run, tuple(chosen))


def best_scene(found: Sequence[Scene]) -> int:
    """Return the number of the scene that is shown first: one with reactions, else one that failed, else the first."""
    reacted = [number for number, scene in enumerate(found) if scene.run.findings.events]
    failed = [number for number, scene in enumerate(found) if worst(scene.run.findings.checks) == "fail"]
    return next(iter([*reacted, *failed]), 0)


def as_json(scene: Scene) -> Mapping[str, Any]:
    """Return a scene as the script of the page reads it."""
    run = scene.run
    touched = {atom for event in run.findings.events for atom in event.atoms}
    views = [_view(title, atoms, run, touched) for title, atoms in scene.frames]
    return {"e": run.name, "m": "", "k": "", "s": views}


def _view(title: str, atoms: Atoms, run: Run, touched: set[int]) -> Mapping[str, Any]:
    positions = whole(atoms)
    colours, elements = palette(atoms)
    pairs = bonds(atoms, positions)
    bonded = {atom for pair in pairs for atom in pair}
    factor = np.array([RADIUS if atom in bonded else ION for atom in range(len(atoms))])
    radii = np.rint(100 * factor * covalent_radii[atoms.numbers]).astype(int)
    time = _step(atoms) * run.findings.facts.timestep / 1000
    facts = [f"{time:.4g} ps"]
    if atoms.pbc.all() and atoms.cell.volume:
        facts.append(f"{density_of(atoms):.3f} g/cm³")
    origin = origin_of(atoms)
    if title.startswith("reaction") and origin is not None and ": " in origin.reason:
        facts.append(origin.reason.partition(": ")[2])
    return {
        "t": title,
        "n": len(atoms),
        "p": np.rint(100 * positions).astype(int).ravel().tolist(),
        "v": [100 if atom in touched else 0 for atom in range(len(atoms))],
        "c": np.rint(100 * atoms.cell.array).astype(int).ravel().tolist() if atoms.cell.volume else None,
        "x": 100,
        "a": None,
        "r": radii.tolist(),
        "h": colours,
        "g": elements,
        "b": [atom for pair in pairs for atom in pair],
        "q": ", ".join(facts),
    }


def whole(atoms: Atoms) -> Array:
    """Return positions [Å] around the middle of the cell: molecules in one piece, their centres inside."""
    molecules = find_molecules(atoms)
    if not atoms.cell.volume:
        return np.asarray(atoms.positions - atoms.positions.mean(axis=0), dtype=float)
    middle = atoms.cell.array.sum(axis=0) / 2
    if molecules is None:
        return np.asarray(atoms.get_positions(wrap=True) - middle, dtype=float)
    positions = np.empty((len(atoms), 3))
    for molecule in molecules:
        own = molecule.positions(atoms)
        scaled = atoms.cell.scaled_positions(own.mean(axis=0)[None, :])[0]
        shift = np.where(atoms.pbc, -np.floor(scaled), 0.0) @ atoms.cell.array
        positions[molecule.indices] = own + shift
    return np.asarray(positions - middle, dtype=float)


def bonds(atoms: Atoms, positions: Array) -> list[tuple[int, int]]:
    """Return pairs of atoms that are bonded and drawn beside each other."""
    i, j = neighbour_list("ij", atoms, float(2 * BOND * covalent_radii[atoms.numbers].max()))
    once = i < j
    i, j = i[once], j[once]
    length = np.linalg.norm(positions[i] - positions[j], axis=1)
    allowed = BOND * (covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]])
    ions = np.isin(atoms.numbers, [3, 11, 12, 19, 20])
    near = (length < allowed) & ~ions[i] & ~ions[j]
    return sorted({(int(a), int(b)) for a, b in zip(i[near], j[near], strict=True)})


def palette(atoms: Atoms) -> tuple[list[int], list[tuple[str, tuple[int, int, int]]]]:
    """Return the number of the colour of each atom, and the colours: element and red, green, blue."""
    elements = sorted(set(atoms.symbols), key=lambda symbol: atomic_numbers[symbol])
    shades = [(element, colour_of(element)) for element in elements]
    return [elements.index(symbol) for symbol in atoms.symbols], shades


def colour_of(element: str) -> tuple[int, int, int]:
    """Return red, green and blue of an element, 0 to 255."""
    if element in COLOURS:
        return COLOURS[element]
    red, green, blue = (round(235 * float(part)) for part in jmol_colors[atomic_numbers[element]])
    return red, green, blue


def files(liquids: Liquids) -> list[Kept]:
    """Return the data sets of frames: of each potential and stage one."""
    stages = {run.look.node.pk: run.condition.stage for run in liquids.runs}
    return [
        Kept(look.potential, "", f"{stages.get(look.node.pk, 'liquid')}-frames", look.outputs["frames"])
        for look in liquids.looks
        if isinstance(look.outputs.get("frames"), DatasetData)
    ]
