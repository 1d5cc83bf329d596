"""Reactions of a trajectory: bonds that changed, put together, and the species before and after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.stats import chi2

from aiida_mlip.science.liquids.bond_graph import BondGraph, Change, Pair, components
from aiida_mlip.science.liquids.findings import Event, Species
from aiida_mlip.science.liquids.molecules import kind_of


class SpeciesBook:
    """The kinds of molecules that were seen, in the order in which they were."""

    def __init__(self, atoms: Atoms) -> None:
        self._numbers = atoms.numbers.copy()
        self._symbols = atoms.get_chemical_symbols()
        self._seen: dict[str, Species] = {}

    def key(self, members: Sequence[int], bonds: Iterable[Pair], time_fs: float) -> str:
        """Return the key of a molecule and note its kind.

        :param members: its atoms, ascending.
        :param bonds: of the box; only those within the molecule are looked at.
        """
        place = {atom: index for index, atom in enumerate(members)}
        own = sorted((place[i], place[j]) for i, j in bonds if i in place and j in place)
        key = kind_of([int(self._numbers[atom]) for atom in members], own)
        if key not in self._seen:
            symbols = tuple(self._symbols[atom] for atom in members)
            self._seen[key] = Species(
                key=key, formula=key.split("_")[0], symbols=symbols, bonds=tuple(own), first_time_fs=time_fs
            )
        return key

    def counted(self, first: dict[str, int], last: dict[str, int]) -> list[Species]:
        """Return all species with the numbers of molecules at both ends."""
        return [
            species.model_copy(update={"count_first": first.get(key, 0), "count_last": last.get(key, 0)})
            for key, species in self._seen.items()
        ]

    def census(self, bonds: set[Pair], time_fs: float) -> dict[str, int]:
        """Return species -> molecules of a bond graph."""
        whole = components(bonds, range(len(self._numbers)))
        own: dict[tuple[int, ...], list[Pair]] = {members: [] for members in whole.values()}
        for bond in sorted(bonds):
            own[whole[bond[0]]].append(bond)
        counts: dict[str, int] = {}
        for members, pairs in sorted(own.items()):
            key = self.key(members, pairs, time_fs)
            counts[key] = counts.get(key, 0) + 1
        return counts


def accept_reaction(graph: BondGraph, group: Sequence[Change], book: SpeciesBook) -> Event:
    """Let a group of changes count in the graph, and return it as one reaction.

    The time is that of the first change. ``before_atoms`` and ``after_atoms`` have the atoms of each species, so that
    :func:`origins` can say where an atom of a product came from.
    """
    time_fs, step = group[0].time_fs, group[0].step
    changed = sorted({atom for change in group for atom in change.pair})
    before = sorted({graph.component(atom) for atom in changed})
    involved = {atom for members in before for atom in members}
    bonds = [bond for bond in graph.bonds if bond[0] in involved]
    before_keys = tuple(book.key(members, bonds, time_fs) for members in before)
    graph.accept(group)
    after = sorted({graph.component(atom) for atom in involved})
    bonds = [bond for bond in graph.bonds if bond[0] in involved]
    return Event(
        time_fs=time_fs,
        step=step,
        broken=tuple(change.pair for change in group if not change.formed),
        formed=tuple(change.pair for change in group if change.formed),
        before=before_keys,
        after=tuple(book.key(members, bonds, time_fs) for members in after),
        atoms=tuple(sorted(involved)),
        before_atoms=tuple(before),
        after_atoms=tuple(after),
    )


def origins(event: Event, product: int) -> dict[int, str]:
    """Return for each atom of a product the key of the species that it was part of before.

    :param product: index in ``event.after``.
    """
    home = {atom: key for key, members in zip(event.before, event.before_atoms, strict=True) for atom in members}
    return {atom: home[atom] for atom in event.after_atoms[product]}


@dataclass(frozen=True)
class Rate:
    """Events per exposure, with the interval that holds the true rate with the given confidence."""

    value: float
    low: float
    high: float


def poisson_rate(events: int, exposure: float, confidence: float = 0.95) -> Rate:
    """Return the rate of independent events and its exact interval (Garwood, Biometrika 28, 437, 1936).

    Without any event ``high`` is the one-sided upper limit, 3.0 events at 95 %.

    :param exposure: e.g. molecules times time, > 0; the unit of the rate is its inverse.
    :raises ValueError: where the exposure is not positive.
    """
    if exposure <= 0:
        raise ValueError(f"exposure = {exposure}: a rate needs a positive one")
    if events == 0:
        return Rate(0.0, 0.0, float(-np.log(1 - confidence)) / exposure)
    tail = (1 - confidence) / 2
    low, high = chi2.ppf(tail, 2 * events) / 2, chi2.isf(tail, 2 * events + 2) / 2
    return Rate(events / exposure, float(low) / exposure, float(high) / exposure)
