"""Structures of properties as a page holds them: points for its view in three dimensions, and files to download.

The view is a small script of our own on a canvas. Viewers on PyPI either load their script from a network when the
page is opened (py3Dmol, the x3d of ASE) or need a running notebook; the three-dimensional plots of plotly draw flat
discs, need WebGL, and browsers allow only some of them on a page.
"""

from __future__ import annotations

import base64
import gzip
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ase.io
import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from ase import Atoms
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from aiida_mlip.report.measured import in_order
from aiida_mlip.report.subject import Subject
from aiida_mlip.science.keys import CONFIG_TYPE

Array = NDArray[np.float64]

T = TypeVar("T")

OUTPUTS = "structures__"
"""Beginning of the labels of the links to structures."""

MOST_ATOMS = 400
"""Atoms of one structure in the view; of a larger one those around the defect are taken."""

FRAMES = (9, 5, 3, 1)
"""Structures of one property in the view, evenly spaced among those there are: the first number for which all fit."""

VIEW_BUDGET = 50_000
"""Atoms in all views of a page."""

FILE_BUDGET = 1_600_000
"""Bytes of all files inside a page."""

EDGE = 0.02
"""Part of the cell by which its border is moved, so that noise does not part atoms that lie on it."""

INNER = 0.6
"""Part of the radius around a dislocation in which the surface is not felt."""

SHORTEST = 7.0
"""Length [Å] that a periodic cell is repeated to, so that a cell of one atom looks like a crystal."""


@dataclass(frozen=True)
class Kept:
    """The structures of one property, potential and element.

    :param name: of the property.
    :param node: the data set.
    """

    potential: str
    element: str
    name: str
    node: orm.Data

    @property
    def frames(self) -> tuple[Atoms, ...]:
        """Return the structures."""
        return tuple(self.node.frames())


@dataclass(frozen=True)
class View:
    """One structure as it is drawn.

    :param positions: [Å], shape (n, 3), around zero.
    :param disturbance: of each atom, see :func:`disturbance`, shape (n,).
    :param corners: cell vectors [Å], shape (3, 3); None where the cell is not shown.
    :param number: atoms of the whole structure.
    :param largest: disturbance that has the last colour; that of a free surface around a dislocation does not count.
    :param along: index of the axis of a structure that is periodic in one direction only, to look along; else None.
    :param indices: of the drawn atoms in the structure, repeated where it is small, shape (n,).
    """

    title: str
    positions: Array
    disturbance: Array
    corners: Array | None
    number: int
    largest: float
    along: int | None
    indices: NDArray[np.int_]

    def as_json(self) -> Mapping[str, Any]:
        """Return short names and whole numbers: hundredths of an ångström, and of the disturbance."""
        return {
            "t": self.title,
            "n": self.number,
            "p": np.rint(100 * self.positions).astype(int).ravel().tolist(),
            "v": np.rint(100 * self.disturbance).astype(int).tolist(),
            "c": None if self.corners is None else np.rint(100 * self.corners).astype(int).ravel().tolist(),
            "x": round(100 * self.largest),
            "a": self.along,
        }


def kept(subject: Subject) -> tuple[Kept, ...]:
    """Return the structures that a process left, by element, potential and property."""
    links = subject.node.base.links.get_outgoing(link_type=(LinkType.CREATE, LinkType.RETURN)).all()
    named = [
        (link.link_label.removeprefix(OUTPUTS), link.node) for link in links if link.link_label.startswith(OUTPUTS)
    ]
    found = [Kept(*_parts(label), node) for label, node in named]
    ranks = {name: rank for rank, name in enumerate(in_order({item.name for item in found}))}
    measured = subject.measured
    names = measured.names if measured is not None else ()
    elements = measured.elements if measured is not None else ()

    def rank(item: Kept) -> tuple[int, int, int]:
        return _place(elements, item.element), _place(names, item.potential), ranks[item.name]

    return tuple(sorted(found, key=rank))


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _parts(label: str) -> tuple[str, str, str]:
    """Return potential, element and property of the label of a link; the first two are empty for a single job."""
    parts = label.rsplit("__", 2)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("", "", label)


def views(items: Sequence[Kept]) -> Iterator[tuple[Kept, list[View]]]:
    """Yield what is drawn of each data set: as many of its structures as :data:`VIEW_BUDGET` allows for all."""
    sizes = [[min(len(atoms) * math.prod(_repeats(atoms)), MOST_ATOMS) for atoms in item.frames] for item in items]
    most = next((most for most in FRAMES if sum(sum(_spread(size, most)) for size in sizes) <= VIEW_BUDGET), FRAMES[-1])
    left = VIEW_BUDGET
    for item in items:
        chosen = [view(atoms, str(place)) for place, atoms in _spread(list(enumerate(item.frames)), most)]
        left -= sum(len(shown.positions) for shown in chosen)
        if left < 0:
            return
        yield item, chosen


def _spread(found: Sequence[T], most: int) -> Sequence[T]:
    """Return at most ``most`` of them, evenly spaced, with the first one."""
    return found[:: max(1, -(-len(found) // most))]


def view(atoms: Atoms, fallback: str = "", *, values: Array | None = None) -> View:
    """Return what is drawn of a structure; the defect is in the middle of a periodic cell.

    :param values: what the colours show, one number between 0 and 1 for each atom of ``atoms``, in place of the
        disturbance.
    """
    title = str(atoms.info.get(CONFIG_TYPE, fallback)).replace("_", " ")
    repeats = _repeats(atoms)
    shown = atoms.repeat(repeats)
    values = disturbance(shown) if values is None else np.tile(values, math.prod(repeats))
    near = neighbourhood(shown, values)
    positions = _centred(shown, values)[near]
    rod = int(shown.pbc.sum()) == 1
    whole = len(near) == len(shown) and bool(shown.cell.volume) and not rod
    if not whole:
        positions = positions - positions.mean(axis=0)
    distance = np.linalg.norm(positions[:, ~shown.pbc], axis=1) if rod else np.zeros(len(positions))
    inner = distance <= INNER * distance.max()
    return View(
        title=title,
        positions=positions,
        disturbance=values[near],
        corners=np.asarray(shown.cell.array, dtype=float) if whole else None,
        number=len(atoms),
        largest=float(values[near][inner].max()),
        along=int(np.flatnonzero(shown.pbc)[0]) if rod else None,
        indices=near,
    )


def _centred(atoms: Atoms, values: Array) -> Array:
    """Return positions [Å] relative to the most disturbed place in periodic directions, to the mean in the others."""
    if not atoms.cell.volume:
        return np.asarray(atoms.positions - atoms.positions.mean(axis=0), dtype=float)
    inside = atoms.get_scaled_positions(wrap=False)
    weights = values**2 + 1e-9
    phase = np.angle((weights[:, None] * np.exp(2j * np.pi * inside)).sum(axis=0)) / (2 * np.pi)
    centre = np.where(atoms.pbc, phase, inside.mean(axis=0))
    moved = inside - centre
    moved = np.where(atoms.pbc, (moved + 0.5 + EDGE) % 1.0 - 0.5 - EDGE, moved)
    return np.asarray(moved @ atoms.cell.array, dtype=float)


def _repeats(atoms: Atoms) -> tuple[int, int, int]:
    """Return how often a small cell is repeated in its periodic directions."""
    if len(atoms) > MOST_ATOMS // 8 or not atoms.cell.volume:
        return (1, 1, 1)
    lengths = atoms.cell.lengths()
    wanted = [int(np.ceil(SHORTEST / lengths[axis])) if atoms.pbc[axis] else 1 for axis in range(3)]
    while np.prod(wanted) * len(atoms) > MOST_ATOMS and max(wanted) > 1:
        wanted[int(np.argmax(wanted))] -= 1
    return (wanted[0], wanted[1], wanted[2])


def disturbance(atoms: Atoms) -> Array:
    """Return how far the surroundings of each atom are from those in a crystal with inversion symmetry.

    This is the centro-symmetry parameter of C. L. Kelchner, S. J. Plimpton, J. C. Hamilton, Phys. Rev. B 58, 11085
    (1998), in units of the squared distance of nearest neighbours: 0 in a bcc or fcc crystal, about 1 where one
    neighbour is missing. Pairs of opposite neighbours are chosen greedily.

    :return: shape (n,).
    """
    nearest = _nearest_distance(atoms)
    if nearest is None:
        return np.zeros(len(atoms))
    i, vectors, lengths = neighbour_list("iDd", atoms, 1.55 * nearest)
    close = np.bincount(i[lengths < 1.1 * nearest], minlength=len(atoms))
    wanted = 12 if np.median(close) > 10 else 8
    order = np.lexsort((lengths, i))
    i, vectors = i[order], vectors[order]
    rank = np.arange(len(i)) - np.searchsorted(i, i)
    taken = rank < wanted
    around = np.full((len(atoms), wanted, 3), np.nan)
    around[i[taken], rank[taken]] = vectors[taken]
    return _unpaired(around / nearest)


def _unpaired(around: Array) -> Array:
    """Return the sum of the squared sums of opposite vectors; a pair that is not there, or is farther off, counts 1.

    :param around: vectors to the neighbours, NaN where there are fewer, shape (n, even number, 3).
    :return: shape (n,).
    """
    atoms, wanted = np.arange(len(around)), around.shape[1]
    sums = np.square(around[:, :, None] + around[:, None]).sum(axis=-1)
    sums[np.isnan(sums) | ~np.triu(np.ones((wanted, wanted), dtype=bool), 1)] = np.inf
    total = np.zeros(len(around))
    for _ in range(wanted // 2):
        flat = sums.reshape(len(around), -1).argmin(axis=1)
        first, second = np.divmod(flat, wanted)
        total += np.minimum(sums[atoms, first, second], 1.0)
        for used in (first, second):
            sums[atoms, used, :] = np.inf
            sums[atoms, :, used] = np.inf
    return total


def _nearest_distance(atoms: Atoms) -> float | None:
    """Return the median over the atoms of the distance to the nearest neighbour [Å]."""
    if len(atoms) == 1 and not atoms.pbc.any():
        return None
    for cutoff in (3.5, 5.0, 7.0):
        i, lengths = neighbour_list("id", atoms, cutoff)
        if len(i) and len(np.unique(i)) > len(atoms) // 2:
            shortest = np.full(len(atoms), np.inf)
            np.minimum.at(shortest, i, lengths)
            return float(np.median(shortest[np.isfinite(shortest)]))
    return None


def neighbourhood(atoms: Atoms, values: Array) -> NDArray[np.int_]:
    """Return the atoms that are shown: all, or :data:`MOST_ATOMS` around the defect.

    In a cell that is periodic in all directions these are the atoms nearest to those most disturbed; otherwise, since
    surfaces are disturbed too, those nearest to the middle.
    """
    if len(atoms) <= MOST_ATOMS:
        return np.arange(len(atoms))
    if atoms.pbc.all():
        worst = np.argsort(-values)[:4]
        distance = np.min([atoms.get_distances(int(atom), range(len(atoms)), mic=True) for atom in worst], axis=0)
    else:
        free = ~atoms.pbc
        middle = atoms.positions.mean(axis=0)
        distance = np.linalg.norm((atoms.positions - middle)[:, free], axis=1)
    return np.sort(np.argsort(distance, kind="stable")[:MOST_ATOMS])


def files(items: Sequence[Kept]) -> Iterator[tuple[Kept, str, str | None]]:
    """Yield each data set with the name of its file and its content as an address, None where the page would get large.

    The format is extended XYZ, compressed; ASE reads it as it is. Of all files, the largest are left out first.
    """
    addresses = [_address(item) for item in items]
    taken, left = set(), FILE_BUDGET
    for place in sorted(range(len(items)), key=lambda place: len(addresses[place])):
        left -= len(addresses[place])
        if left >= 0:
            taken.add(place)
    for place, item in enumerate(items):
        name = "-".join(part for part in (item.element, item.potential, item.name) if part) + ".xyz.gz"
        yield item, name, addresses[place] if place in taken else None


def _address(item: Kept) -> str:
    buffer = io.StringIO()
    ase.io.write(buffer, [_plain(atoms) for atoms in item.frames], format="extxyz")
    packed = gzip.compress(buffer.getvalue().encode(), mtime=0)
    return f"data:application/gzip;base64,{base64.b64encode(packed).decode()}"


def _plain(atoms: Atoms) -> Atoms:
    """Return a copy without constraints, which the format does not hold."""
    copy = atoms.copy()
    copy.set_constraint()
    return copy
