"""Where the next run of a liquid begins: a configuration that has the molecules of the one before.

Molecules are found by the lengths of their bonds, and a hot bond is long for an instant: at 1200 K, one frame in a
hundred of two carbonates has a bond of hydrogen beyond the limit of bonds. As the first configuration of a run it would
have other molecules, which then react back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from aiida_mlip.science.liquids.bond_graph import bonds_of
from aiida_mlip.science.liquids.molecules import THERMAL, find_molecules

CHOICE = 10
"""Frames at the end of a run from which the next start is chosen."""

BROKEN = 1.6
"""A bond beyond this multiple of the sum of covalent radii is not long, it is broken."""


def next_start(frames: Iterable[Atoms]) -> Atoms:
    """Return where the next run begins.

    Of the last frames the last one is taken that has the molecules of the first frame. Where there is none, it is the
    last frame with its long bonds of hydrogen shortened; and where that does not have them either, the molecules did
    change, and it is the last frame as it is.

    :param frames: of one run, the first one being its start; at least one.
    """
    rest = iter(frames)
    first = next(rest)
    last = deque(rest, maxlen=CHOICE) or deque([first])
    kinds = kinds_of(first)
    candidates = [*reversed(last), with_short_hydrogens(last[-1], first)]
    return next((atoms for atoms in candidates if kinds_of(atoms) == kinds), last[-1])


def kinds_of(atoms: Atoms) -> list[str]:
    """Return the kinds of the molecules of a configuration, in alphabetical order."""
    return sorted(molecule.kind for molecule in find_molecules(atoms) or ())


def with_short_hydrogens(atoms: Atoms, first: Atoms) -> Atoms:
    """Return a copy in which hydrogens of long bonds are moved along them, to the length of a thermal bond.

    :param first: the same atoms in the same order, where their bonds are known.
    """
    moved = atoms.copy()
    for pair in sorted(bonds_of(first)):
        hydrogens = [atom for atom in pair if atoms.numbers[atom] == 1]
        if len(hydrogens) != 1:
            continue
        hydrogen, other = hydrogens[0], next(atom for atom in pair if atom != hydrogens[0])
        radii = float(covalent_radii[atoms.numbers[list(pair)]].sum())
        bond = np.asarray(atoms.get_distance(other, hydrogen, mic=True, vector=True))
        length = float(np.linalg.norm(bond))
        if THERMAL * radii < length < BROKEN * radii:
            moved.positions[hydrogen] -= (1 - THERMAL * radii / length) * bond
    return moved
