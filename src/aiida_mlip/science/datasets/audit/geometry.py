"""Geometries that cannot be meant: cells, periodicity, units of length, atoms on top of each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.registry import check
from aiida_mlip.science.datasets.audit.report import Finding, Severity

_GAP = 2.5
_BOHR_RATIO = (1.35, 2.3)
_BOHR_LEAST = 1.2
"""Of the closest contact, over the sum of covalent radii: thermal cells have 0.75 to 1.1, 1.89 times that in bohr."""


@check("cell")
def cells(context: Context) -> Iterator[Finding]:
    """Periodic frames without a volume, and bulk that is said not to be periodic."""
    broken, open_bulk = [], []
    for index, atoms in enumerate(context.frames):
        finite = np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()
        if not finite:
            continue
        if index not in context.environments:
            broken.append(index)
        elif not atoms.pbc.any() and len(atoms) > 1 and _fills_cell(atoms):
            open_bulk.append(index)
    if broken:
        yield Finding(
            check="cell",
            severity=Severity.ERROR,
            frames=tuple(broken),
            message=f"{len(broken)} frames have no atoms, or are periodic in a direction in which the cell has no "
            "length or the cell vectors are in one plane.",
            remedy='Give the cell (Lattice="...") or set pbc="F F F" for molecules and clusters.',
        )
    if open_bulk:
        yield Finding(
            check="cell",
            severity=Severity.WARNING,
            frames=tuple(open_bulk),
            message=f"{len(open_bulk)} frames are not periodic, but their atoms fill the cell in all directions with "
            f"less than {_GAP} Å to the next image: this looks like bulk whose periodicity was lost.",
            remedy='Set pbc="T T T" if the calculations were periodic; remove the cell if they were not.',
        )


def _fills_cell(atoms: Atoms) -> bool:
    """Return whether the gap between the atoms and their images would be small along all three cell vectors."""
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    if volume < 1e-3:
        return False
    fractional = np.sort(np.mod(np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T, 1.0), axis=0)
    gaps = np.max(np.diff(np.vstack([fractional, fractional[:1] + 1.0]), axis=0), axis=0)
    heights = volume / np.array(
        [np.linalg.norm(np.cross(atoms.cell.array[k - 2], atoms.cell.array[k - 1])) for k in range(3)]
    )
    return bool((gaps * heights < _GAP).all())


@check("close_atoms")
def close_atoms(context: Context) -> Iterator[Finding]:
    """Atoms that are closer than chemistry allows, and sets whose lengths look like bohr."""
    limits = (
        (Severity.ERROR, context.settings.close_error, 0.0),
        (Severity.WARNING, context.settings.close_warning, context.settings.close_error),
    )
    tight = {i: env.tightest for i, env in context.environments.items() if env.tightest is not None}
    for severity, upper, lower in limits:
        frames = [index for index, (ratio, *_) in tight.items() if lower <= ratio < upper]
        if not frames:
            continue
        worst = min(frames, key=lambda index: tight[index][0])
        ratio, distance, i, j = tight[worst]
        symbols = "-".join(chemical_symbols[context.frames[worst].numbers[k]] for k in (i, j))
        yield Finding(
            check="close_atoms",
            severity=severity,
            frames=tuple(frames),
            message=f"Atoms are closer than {upper:g} times the sum of their covalent radii in {len(frames)} frames; "
            f"closest: {symbols} at {distance:.3f} Å ({ratio:.2f} times), atoms {i} and {j} of frame {worst}.",
            remedy="Leave them out if they come from a broken structure or a wrong cell; keep them if they are meant "
            "to teach the repulsion (dimers, cascades), where the pseudopotentials still hold.",
        )
    yield from _lengths(tight)


def _lengths(tight: dict[int, tuple[float, float, int, int]]) -> Iterator[Finding]:
    """Yield a finding where nearly all frames have contacts that are too long by the factor of Å to bohr."""
    ratios = np.array([ratio for ratio, *_ in tight.values()])
    low, high = _BOHR_RATIO
    if len(ratios) < 3 or not low < np.median(ratios) < high or np.quantile(ratios, 0.1) < _BOHR_LEAST:
        return
    yield Finding(
        check="close_atoms",
        severity=Severity.WARNING,
        frames=tuple(tight),
        message=f"The closest atoms are typically {np.median(ratios):.2f} times the sum of their covalent radii apart, "
        "where bonds and metals have 0.8 to 1.2: positions look like bohr (1 Å = 1.89 bohr).",
        remedy="Convert positions and cells to Å, unless these are gases or stretched crystals on purpose.",
    )
