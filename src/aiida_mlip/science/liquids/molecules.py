"""Molecules of a configuration: who is bonded to whom, whole again where the cell cuts them, and of what kind."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from aiida_mlip.science.contacts import neighbours

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Bonds = dict[int, list[tuple[int, tuple[int, int, int]]]]
"""Atom -> its neighbours, each with the cells that the bond reaches across."""

BOND = 1.25
"""Atoms nearer than this multiple of the sum of their covalent radii are bonded.

Thermal bonds have 0.85 to 1.15, hydrogen bonds some 1.7, and most atoms two bonds apart 1.5 or more.
"""

THERMAL = 1.15
"""A longer bond is none where both atoms have shorter ones to the same third atom: S-N-S of imides has S-S at 1.25."""

IONS = frozenset({3, 11, 12, 19, 20, 37, 55})
"""Li, Na, Mg, K, Ca, Rb, Cs: next to molecules they are coordinated, not bonded."""


@dataclass(frozen=True)
class Molecule:
    """Atoms that are bonded to each other.

    ``indices`` (n,): atoms of the configuration, ascending, not always in a row; ``offsets`` (n, 3): cells by which
    each is moved so that the molecule is in one piece; ``kind``: formula and a digest of its bonds, the same for all
    conformations.
    """

    indices: Integers
    offsets: Integers
    kind: str

    def positions(self, atoms: Atoms) -> Array:
        """Return the positions of the molecule in one piece [Å], shape (n, 3)."""
        return np.asarray(atoms.positions[self.indices] + self.offsets @ atoms.cell.array)

    def centre(self, atoms: Atoms) -> Array:
        """Return the centre of mass of the molecule in one piece [Å], shape (3,)."""
        masses = atoms.get_masses()[self.indices]
        return np.asarray(masses @ self.positions(atoms) / masses.sum())

    def closed_shell(self, atoms: Atoms) -> bool:
        """Return whether the number of electrons is even when the molecule is neutral."""
        return int(atoms.numbers[self.indices].sum()) % 2 == 0


def find_molecules(atoms: Atoms) -> list[Molecule] | None:
    """Return the molecules of a configuration, ordered by their first atom; single atoms and ions are among them.

    None where there are none: no two atoms are bonded, or bonds lead from an atom to its own image (a crystal, a
    polymer, a slab).
    """
    bonds = _bonds(atoms)
    molecules, seen = [], set[int]()
    for first in range(len(atoms)):
        if first in seen:
            continue
        offsets = _connected(bonds, first)
        if offsets is None:
            return None
        seen |= set(offsets)
        indices = sorted(offsets)
        shifts = np.array([offsets[index] for index in indices], dtype=np.int64).reshape(-1, 3)
        molecules.append(Molecule(np.array(indices), shifts, _kind(atoms, indices, bonds)))
    return molecules if any(len(molecule.indices) > 1 for molecule in molecules) else None


def _bonds(atoms: Atoms) -> Bonds:
    i, j, shifts, distance = neighbours("ijSd", atoms, BOND)
    ion = np.isin(atoms.numbers, list(IONS))
    ratio = distance / (covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]])
    bonds: Bonds = defaultdict(list)
    doubtful = []
    for a, b, shift, long in zip(i.tolist(), j.tolist(), shifts.tolist(), (ratio > THERMAL).tolist(), strict=True):
        if ion[a] or ion[b]:
            continue
        bond = (b, (shift[0], shift[1], shift[2]))
        if long:
            doubtful.append((a, bond))
        else:
            bonds[a].append(bond)
    short = {atom: frozenset(there) for atom, there in bonds.items()}
    for atom, bond in doubtful:
        if not _across(atom, bond, short):
            bonds[atom].append(bond)
    return bonds


def _across(atom: int, bond: tuple[int, tuple[int, int, int]], short: Mapping[int, frozenset[Any]]) -> bool:
    """Return whether two atoms are both bonded to a third: S and S in S-N-S are, without a bond of their own."""
    other, (x, y, z) = bond
    for middle, (dx, dy, dz) in short.get(atom, ()):
        if (other, (x - dx, y - dy, z - dz)) in short.get(middle, ()):
            return True
    return False


def _connected(bonds: Bonds, first: int) -> dict[int, tuple[int, int, int]] | None:
    """Return the atoms bonded to ``first``, directly or not, with their offsets; None where an image is reached."""
    offsets = {first: (0, 0, 0)}
    queue = deque([first])
    while queue:
        atom = queue.popleft()
        x, y, z = offsets[atom]
        for other, (dx, dy, dz) in bonds.get(atom, ()):
            offset = (x + dx, y + dy, z + dz)
            if other not in offsets:
                offsets[other] = offset
                queue.append(other)
            elif offsets[other] != offset:
                return None
    return offsets


def _kind(atoms: Atoms, indices: Sequence[int], bonds: Bonds) -> str:
    number = {index: place for place, index in enumerate(indices)}
    pairs = [(number[index], number[other]) for index in indices for other, _ in bonds.get(index, ()) if index < other]
    return kind_of(atoms.numbers[list(indices)].tolist(), pairs)


def kind_of(numbers: Sequence[int], bonds: Iterable[tuple[int, int]]) -> str:
    """Return formula and digest of a bond graph (Weisfeiler and Leman, 1968), whatever the order of atoms.

    Equal to :attr:`Molecule.kind` of a molecule with these atoms and bonds. Charges, bond orders and the handedness of
    a molecule make no difference.

    :param numbers: atomic number of each atom.
    :param bonds: pairs of atoms, each bond once.
    """
    others: dict[int, list[int]] = defaultdict(list)
    for one, other in bonds:
        others[one].append(other)
        others[other].append(one)
    labels = [str(number) for number in numbers]
    for _ in range(min(len(labels), 8)):
        labels = [
            _digest(f"{label}({','.join(sorted(labels[other] for other in others[index]))})")
            for index, label in enumerate(labels)
        ]
    formula = Atoms(numbers=numbers).get_chemical_formula()
    return f"{formula}_{_digest(' '.join(sorted(labels)))[:6]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
