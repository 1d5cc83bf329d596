"""Radial distribution functions of a periodic liquid, within molecules and between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols, vdw_radii
from numpy.typing import NDArray

from aiida_mlip.science.contacts import pairs_within
from aiida_mlip.science.liquids.molecules import IONS
from aiida_mlip.science.liquids.unwrap import Follower, molecules_of

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Pair = tuple[str, str]

ALL_PAIRS = 1500
"""Up to this number of atoms the distances of all pairs are cheaper than a list of neighbours."""


@dataclass(frozen=True)
class Types:
    """Types of atoms: an element in a species.

    :param names: e.g. ``OofC3H4O3``: the formula names the species, with its digest where two have the same.
    :param elements: chemical symbol of each type.
    :param of_atom: index of its type for each atom, shape (n,).
    :param ions: types that are a molecule by themselves and an ion.
    """

    names: tuple[str, ...]
    elements: tuple[str, ...]
    of_atom: Integers
    ions: frozenset[int]

    @property
    def counts(self) -> Integers:
        """Number of atoms of each type."""
        return np.bincount(self.of_atom, minlength=len(self.names))


def types_of(start: Atoms) -> Types:
    """Return the types of the atoms of a configuration, in alphabetical order."""
    molecules = molecules_of(start)
    digests: dict[str, set[str]] = defaultdict(set)
    for molecule in molecules:
        formula, _, digest = molecule.kind.partition("_")
        digests[formula].add(digest)
    labels: list[tuple[str, str, bool]] = [("", "", False)] * len(start)
    for molecule in molecules:
        formula, _, digest = molecule.kind.partition("_")
        species = formula + (f"x{digest}" if len(digests[formula]) > 1 else "")
        for index in molecule.indices:
            element, alone = start.symbols[index], len(molecule.indices) == 1
            ion = alone and int(start.numbers[index]) in IONS
            labels[index] = (element if alone else f"{element}of{species}", element, ion)
    known = sorted(set(labels))
    place = {label: index for index, label in enumerate(known)}
    return Types(
        names=tuple(name for name, _, _ in known),
        elements=tuple(element for _, element, _ in known),
        of_atom=np.array([place[label] for label in labels]),
        ions=frozenset(index for index, (_, _, ion) in enumerate(known) if ion),
    )


@dataclass(frozen=True)
class Histogram:
    """Distances of one frame, by pairs of types.

    :param inter: atoms of the second type around those of the first, in other molecules or in another image of the
        same one: number of ordered pairs in each bin, shape (types, types, bins).
    :param intra: the same within a molecule.
    :param closest: smallest distance between molecules over its limit, and the atoms; infinite without a pair.
    """

    inter: Array
    intra: Array
    volume: float
    closest: float
    atoms: tuple[int, int]


class Distances:
    """Sorts the distances of each frame.

    :param start: first configuration; types and molecules are those of its bonds.
    :param r_max: largest distance [Å].
    :param bins: number of bins from 0 to ``r_max``.
    :param contact: limit of a contact over the sum of the van der Waals radii (Bondi, J. Phys. Chem. 68, 441, 1964);
        for ions it is ``ion_contact`` [Å].
    """

    def __init__(self, start: Atoms, r_max: float, bins: int, contact: float, ion_contact: float) -> None:
        self.types = types_of(start)
        self.edges: Array = np.linspace(0.0, r_max, bins + 1)
        self._r_max, self._bins = r_max, bins
        self._follower = Follower(start)
        self._all_pairs = np.triu_indices(len(start), 1) if len(start) <= ALL_PAIRS else None
        numbers = [atomic_numbers[element] for element in self.types.elements]
        radii = contact * np.nan_to_num(vdw_radii[numbers])
        self._limits = radii[:, None] + radii[None, :]
        ion = np.isin(numbers, list(IONS))
        self._limits[ion, :] = self._limits[:, ion] = ion_contact

    def of(self, frame: Atoms) -> Histogram:
        """Take the next frame."""
        shifts = self._follower.shifts(frame)
        i, j, distance, crossed = self._pairs(frame)
        inter = self._follower.owner[i] != self._follower.owner[j]
        same = np.flatnonzero(~inter)
        inter[same] = (crossed[same] != shifts[j[same]] - shifts[i[same]]).any(axis=1)
        n = len(self.types.names)
        place = np.minimum((distance * (self._bins / self._r_max)).astype(np.int64), self._bins - 1)
        flat = ((inter * n + self.types.of_atom[i]) * n + self.types.of_atom[j]) * self._bins + place
        counts = np.bincount(flat, minlength=2 * n * n * self._bins).reshape(2, n, n, self._bins).astype(float)
        counts += counts.transpose(0, 2, 1, 3)
        closest, atoms = self._closest(i[inter], j[inter], distance[inter])
        return Histogram(counts[1], counts[0], float(frame.get_volume()), closest, atoms)

    def _pairs(self, frame: Atoms) -> tuple[Integers, Integers, Array, Integers]:
        """Return each pair within the largest distance once: atoms, distance [Å], and the cells it reaches across.

        Where that distance is below half the width of the cell, the nearest image by rounding is the only one within.
        """
        if self._all_pairs is None or half_width(frame) < self._r_max:
            i, j, distance, crossed = pairs_within("ijdS", frame, self._r_max)
            once = i < j
            return i[once], j[once], distance[once], crossed[once]
        i, j = self._all_pairs
        scaled = np.ascontiguousarray(frame.cell.scaled_positions(frame.positions).T)
        apart = [column[j] - column[i] for column in scaled]
        images = [np.rint(column) for column in apart]
        x, y, z = (column - image for column, image in zip(apart, images, strict=True))
        metric = frame.cell.array @ frame.cell.array.T
        squares = metric[0, 0] * x * x + metric[1, 1] * y * y + metric[2, 2] * z * z
        for product, factor in ((x * y, metric[0, 1]), (y * z, metric[1, 2]), (x * z, metric[0, 2])):
            squares += 2 * factor * product
        near = np.flatnonzero(squares < self._r_max**2)
        crossed = np.stack([-image[near] for image in images], axis=1).astype(np.int64)
        return i[near], j[near], np.sqrt(squares[near]), crossed

    def _closest(self, i: Integers, j: Integers, distance: Array) -> tuple[float, tuple[int, int]]:
        near = np.flatnonzero(distance < 2 * self._limits.max())
        if not len(near):
            return float("inf"), (0, 0)
        ratio = distance[near] / self._limits[self.types.of_atom[i[near]], self.types.of_atom[j[near]]]
        first = near[int(ratio.argmin())]
        return float(ratio.min()), (int(i[first]), int(j[first]))


def half_width(atoms: Atoms) -> float:
    """Return half the smallest distance between two opposite faces of the cell [Å]."""
    normals = np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    return float(0.5 / normals.max())


@dataclass(frozen=True)
class Distributions:
    """Averages of histograms, as radial distribution functions and coordination numbers.

    :param types: of the atoms.
    :param edges: of the bins [Å], shape (bins + 1,).
    :param averages: means over frames of the pairs between molecules, of the same times the volume of the frame [Å^3],
        so that the density may change, and of pairs within molecules times the volume; shape (3, types, types, bins).
    :param intra_pairs: ordered pairs of atoms within one molecule, shape (types, types), of :func:`intra_pairs`.
    """

    types: Types
    edges: Array
    averages: Array
    intra_pairs: Integers

    @property
    def _shells(self) -> Array:
        """Volume of each bin [Å^3]."""
        shells: Array = 4 / 3 * np.pi * np.diff(self.edges**3)
        return shells

    @property
    def r(self) -> Array:
        """Middles of the bins [Å]."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def inter(self, first: list[int], second: list[int]) -> Array | None:
        """Return g(r) between molecules, or None where there is no such pair; 1 where there is no order.

        The mean over frames of V n(r) / (N v(r)): n ordered pairs in a shell of volume v, N pairs of atoms of two
        molecules.

        :param first: types of the atoms in the middle.
        :param second: types of the atoms around them.
        """
        pairs = self._pairs(first, second) - self.intra_pairs[np.ix_(first, second)].sum()
        if pairs <= 0:
            return None
        found: Array = self.averages[1][np.ix_(first, second)].sum(axis=(0, 1)) / (pairs * self._shells)
        return found

    def intra(self, first: list[int], second: list[int]) -> Array | None:
        """Return g(r) within molecules, by all pairs of such atoms, or None where no molecule has such a pair."""
        if self.intra_pairs[np.ix_(first, second)].sum() == 0:
            return None
        pairs = self._pairs(first, second)
        found: Array = self.averages[2][np.ix_(first, second)].sum(axis=(0, 1)) / (pairs * self._shells)
        return found

    def number(self, first: list[int], second: list[int]) -> Array:
        """Return how many atoms of the second types are nearer than r to one of the first, at the end of each bin."""
        around: Array = self.averages[0][np.ix_(first, second)].sum(axis=(0, 1)) / self.types.counts[first].sum()
        return np.cumsum(around)

    def _pairs(self, first: list[int], second: list[int]) -> int:
        counts = self.types.counts
        both = counts[[index for index in first if index in second]].sum()
        return int(counts[first].sum() * counts[second].sum() - both)


def intra_pairs(start: Atoms, types: Types) -> Integers:
    """Return the ordered pairs of atoms within one molecule, by types, shape (types, types)."""
    n = len(types.names)
    found = np.zeros((n, n), dtype=np.int64)
    for molecule in molecules_of(start):
        mine = np.bincount(types.of_atom[molecule.indices], minlength=n)
        found += np.outer(mine, mine) - np.diag(mine)
    return found


@dataclass(frozen=True)
class Shell:
    """First coordination shell: distances of its maximum and of the minimum after it [Å], and g there."""

    peak: float
    edge: float
    height: float
    depth: float


def first_shell(r: Array, g: Array, *, within: float, width: float) -> Shell | None:
    """Return the first maximum of g(r) above 1 and the minimum after it, or None where there is no such pair.

    :param within: the maximum is below this distance [Å].
    :param width: standard deviation of the Gaussian that smooths g(r) first [Å].
    """
    step = r[1] - r[0]
    offsets = np.arange(-round(4 * width / step), round(4 * width / step) + 1)
    kernel = np.exp(-0.5 * (offsets * step / width) ** 2)
    smooth = np.convolve(g, kernel / kernel.sum(), mode="same")
    rising = np.r_[True, smooth[1:] > smooth[:-1]]
    peaks = np.flatnonzero(rising[:-1] & ~rising[1:] & (smooth[:-1] > 1) & (r[:-1] < within))
    if not len(peaks):
        return None
    peak = int(peaks[0])
    after = smooth[peak:]
    turns = np.flatnonzero((after[1:] > after[:-1]) & (after[:-1] < 0.5 * after[0]))
    if not len(turns):
        return None
    edge = peak + int(after[: turns[0] + 1].argmin())
    return Shell(float(r[peak]), float(r[edge]), float(smooth[peak]), float(smooth[edge]))


def element_pairs(types: Types) -> Mapping[Pair, tuple[list[int], list[int]]]:
    """Return the types of each pair of elements; ions come first, otherwise the order is alphabetical."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, element in enumerate(types.elements):
        members[element].append(index)
    order = sorted(members, key=lambda element: (atomic_numbers[element] not in IONS, element))
    return {(a, b): (members[a], members[b]) for place, a in enumerate(order) for b in order[place:]}


def acceptors(types: Types) -> list[str]:
    """Return the elements with lone pairs that coordinate ions: N, O, F, S, Cl, Br."""
    donors = {chemical_symbols[number] for number in (7, 8, 9, 16, 17, 35)}
    return sorted(set(types.elements) & donors)
