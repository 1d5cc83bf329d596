"""The bond graph of a trajectory, with hysteresis and persistence: a vibration is no reaction.

A bond breaks where its atoms are farther apart than ``broken`` times the sum of their covalent radii (Cordero et al.,
Dalton Trans. 2008, 2832), and forms where they are nearer than ``formed``; in between it stays what it was. A change
counts only where it has lasted. Ions of :data:`aiida_mlip.science.liquids.molecules.IONS` have no bonds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from aiida_mlip.science.contacts import pairs_within
from aiida_mlip.science.liquids.molecules import BOND, IONS

Integers = NDArray[np.int64]
Pair = tuple[int, int]
"""Two atoms of the box, the lower index first."""


@dataclass(frozen=True)
class Change:
    """A bond that broke or formed and stayed so.

    :param time_fs: when it was first seen changed [fs], not when it was known to last.
    """

    pair: Pair
    formed: bool
    time_fs: float
    step: int


def bonds_of(atoms: Atoms, scale: float = BOND) -> set[Pair]:
    """Return the bonds of one configuration: atoms nearer than ``scale`` times the sum of their covalent radii."""
    return _pairs(_contacts(atoms, scale)[0], len(atoms))


class BondGraph:
    """Follows the bonds of a trajectory.

    :param start: step 0; its bonds are those nearer than :data:`aiida_mlip.science.liquids.molecules.BOND`.
    :param broken: multiple of the sum of covalent radii beyond which a bond breaks.
    :param formed: multiple below which one forms.
    :param persistence: time that a change must last [fs].

    ``bonds`` are those that count: of the start, with all changes that have lasted. Changes that touch each other are
    given out together, so that a proton that leaves one molecule and reaches another within ``persistence`` is one
    group: a group waits until all its changes have lasted, or twice ``persistence``.
    """

    def __init__(self, start: Atoms, *, broken: float, formed: float, persistence: float) -> None:
        self._broken, self._formed, self._persistence = broken, formed, persistence
        self._count = len(start)
        self.bonds = bonds_of(start)
        self._now = _codes(self.bonds, self._count)
        self._pending: dict[Pair, Change] = {}
        self._home = components(self.bonds, range(self._count))
        self.returned = 0
        """Changes that were gone before they had lasted."""

    @property
    def pending(self) -> tuple[Change, ...]:
        """Changes that have not lasted yet."""
        return tuple(self._pending.values())

    def component(self, atom: int) -> tuple[int, ...]:
        """Return the atoms of the molecule that an atom is part of, ascending."""
        return self._home[atom]

    def add(self, atoms: Atoms, time_fs: float, step: int) -> list[list[Change]]:
        """Take a frame and return the groups of changes that have lasted by now, each group of one reaction."""
        codes, ratios = _contacts(atoms, self._broken)
        kept = self._now[np.isin(self._now, codes)]
        closed = codes[ratios < self._formed]
        if len(kept) != len(self._now) or not np.isin(closed, kept).all():
            self._now = np.union1d(kept, closed)
        elif not self._pending:
            return []
        self._note(_pairs(self._now, self._count), time_fs, step)
        return self._lasting(time_fs)

    def _note(self, now: set[Pair], time_fs: float, step: int) -> None:
        different = now ^ self.bonds
        for pair in [pair for pair in self._pending if pair not in different]:
            del self._pending[pair]
            self.returned += 1
        for pair in different:
            self._pending.setdefault(pair, Change(pair, pair in now, time_fs, step))

    def _lasting(self, time_fs: float) -> list[list[Change]]:
        if all(self._age(change, time_fs) < self._persistence for change in self._pending.values()):
            return []
        groups = []
        for cluster in self._clusters():
            lasting = [change for change in cluster if self._age(change, time_fs) >= self._persistence]
            oldest = max(self._age(change, time_fs) for change in cluster)
            if lasting and (len(lasting) == len(cluster) or oldest >= 2 * self._persistence):
                groups.append(sorted(lasting, key=lambda change: (change.time_fs, change.pair)))
        return sorted(groups, key=lambda group: (group[0].time_fs, group[0].pair))

    def accept(self, group: Iterable[Change]) -> None:
        """Let changes count: ``bonds`` are those after them."""
        touched = set[int]()
        for change in group:
            for atom in change.pair:
                touched |= set(self._home[atom])
            (self.bonds.add if change.formed else self.bonds.discard)(change.pair)
            self._pending.pop(change.pair, None)
        self._home |= components((bond for bond in self.bonds if bond[0] in touched), sorted(touched))

    def _clusters(self) -> list[list[Change]]:
        """Return the changes that are pending, in groups that share molecules."""
        links = set[Pair]()
        for change in self._pending.values():
            first, second = (self._home[atom][0] for atom in change.pair)
            links.add((min(first, second), max(first, second)))
        ends = sorted({atom for link in links for atom in link})
        joined = components(links, ends)
        clusters: dict[tuple[int, ...], list[Change]] = {}
        for change in self._pending.values():
            clusters.setdefault(joined[self._home[change.pair[0]][0]], []).append(change)
        return list(clusters.values())

    @staticmethod
    def _age(change: Change, time_fs: float) -> float:
        return time_fs - change.time_fs + 1e-6


def components(bonds: Iterable[Pair], atoms: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Return for each atom the atoms it is connected to by bonds, itself among them, ascending."""
    members = {atom: [atom] for atom in atoms}
    for first, second in bonds:
        one, other = members[first], members[second]
        if one is other:
            continue
        if len(one) < len(other):
            one, other = other, one
        one.extend(other)
        for atom in other:
            members[atom] = one
    whole = {id(group): tuple(sorted(group)) for group in members.values()}
    return {atom: whole[id(group)] for atom, group in members.items()}


def _contacts(atoms: Atoms, scale: float) -> tuple[Integers, NDArray[np.float64]]:
    """Return pairs nearer than ``scale`` as sorted codes, and their distances over the sum of radii."""
    radii = np.where(np.isin(atoms.numbers, list(IONS)), 0.0, covalent_radii[atoms.numbers])
    i, j, distance = pairs_within("ijd", atoms, scale * radii)
    lower = i < j
    i, j, distance = i[lower], j[lower], distance[lower]
    bondable = (radii[i] > 0) & (radii[j] > 0)
    i, j, distance = i[bondable], j[bondable], distance[bondable]
    codes, ratios = i.astype(np.int64) * len(atoms) + j, distance / (radii[i] + radii[j])
    order = np.lexsort((ratios, codes))  # of several images the nearest comes first
    unique, first = np.unique(codes[order], return_index=True)
    return unique, ratios[order][first]


def _pairs(codes: Integers, count: int) -> set[Pair]:
    return set(zip((codes // count).tolist(), (codes % count).tolist(), strict=True))


def _codes(pairs: Iterable[Pair], count: int) -> Integers:
    return np.array(sorted(i * count + j for i, j in pairs), dtype=np.int64)
