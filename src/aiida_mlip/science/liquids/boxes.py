"""What is in a box that somebody else made, and whether it is a liquid of molecules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip.science.contacts import closest_contact
from aiida_mlip.science.dynamics.observables import density_of
from aiida_mlip.science.liquids.components import KNOWN, kind
from aiida_mlip.science.liquids.molecules import Molecule, find_molecules
from aiida_mlip.science.liquids.naming import name_of
from aiida_mlip.science.liquids.settling import closest_between
from aiida_mlip.science.models import StrictModel

OVERLAP = 0.5
"""Atoms nearer than this share of the sum of covalent radii lie on top of each other; hot bonds keep above 0.75."""

CLOSEST = 1.3
"""Molecules nearer than this [Å] collapse; strong hydrogen bonds have 1.5."""

THINNEST = 0.1
"""Below this density [g/cm^3] a box is a gas, or molecules in vacuum."""


class BoxFacts(StrictModel):
    """What is in a box."""

    atoms: int = Field(gt=0)
    molecules: dict[str, int] = Field(description="name or formula of a molecule -> number")
    charge: int | None = Field(description="sum of the charges; None where a molecule is not known [e]")
    density: float = Field(gt=0, description="[g/cm^3]")
    closest: float | None = Field(description="closest contact of two molecules; None: beyond 6 Å [Å]")


def facts_of(atoms: Atoms) -> BoxFacts:
    """Return what is in a box.

    :raises ValueError: where :func:`problems_of_box` has something to say.
    """
    for problem, remedy in problems_of_box(atoms):
        raise ValueError(f"box: {problem}. {remedy}")
    found = find_molecules(atoms) or []
    closest = closest_between(atoms, found)
    return BoxFacts(
        atoms=len(atoms),
        molecules=dict(sorted(Counter(name_of(molecule.kind) for molecule in found).items())),
        charge=charge_of(found),
        density=density_of(atoms),
        closest=closest if np.isfinite(closest) else None,
    )


def charge_of(molecules: list[Molecule]) -> int | None:
    """Return the sum of the charges [e] of molecules that are known components, None where one is not known."""
    charges = {kind(component): component.charge for component in KNOWN.values()}
    if any(molecule.kind not in charges for molecule in molecules):
        return None
    return sum(charges[molecule.kind] for molecule in molecules)


def problems_of_box(atoms: Atoms) -> Iterator[tuple[str, str]]:
    """Yield why a configuration is no box of a molecular liquid, and what to do; nothing where it is one.

    Looked at are: three periodic directions, overlapping atoms, molecules (a crystal or a polymer is bonded to its own
    images), the closest contact of two molecules, the density, and the sum of charges where all molecules are known.
    """
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        yield "it is not periodic in three directions", "Give a liquid in a cell, with pbc 'T T T'"
        return
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        yield "a position or the cell is not a finite number", "Correct it, or take another frame"
        return
    share = closest_contact(atoms, OVERLAP)
    if share < OVERLAP:
        yield f"two atoms overlap, at {share:.2f} times the sum of their covalent radii", "Take an earlier frame"
        return
    found = find_molecules(atoms)
    if found is None:
        yield (
            "it has no molecules: its atoms are bonded to their own images, as in a crystal or a polymer, or not at "
            "all",
            "Give a molecular liquid, or run `mlip.md` without these checks",
        )
        return
    yield from _problems_of_molecules(atoms, found)


def _problems_of_molecules(atoms: Atoms, found: list[Molecule]) -> Iterator[tuple[str, str]]:
    if len(found) < 2:
        yield "it holds one molecule only", "Give at least two"
    closest, density, charge = closest_between(atoms, found), density_of(atoms), charge_of(found)
    if closest < CLOSEST:
        yield (
            f"two molecules are {closest:.2f} Å apart, less than {CLOSEST} Å",
            "Move them apart first: `aiida_mlip.science.liquids.settling.settle` does, without touching a molecule",
        )
    if density < THINNEST:
        yield f"its density is {density:.3f} g/cm^3, that of a gas", "Give a liquid, without vacuum around it"
    if charge:
        names = ", ".join(f"{number} {name}" for name, number in Counter(name_of(one.kind) for one in found).items())
        yield f"its charges sum to {charge:+d} e ({names})", "Balance them: a periodic box must be neutral"
