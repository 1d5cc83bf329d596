"""Slabs of cubic Bravais lattices with one atom per layer: the start of surfaces and of stacking faults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.units import J, m
from numpy.typing import NDArray

from aiida_mlip.science.properties._base import PropertyError
from aiida_mlip.science.properties._crystals import Structure

BRAVAIS: tuple[Structure, ...] = ("bcc", "fcc", "sc")
"""Structures with one atom per primitive cell, of which a slab has one atom per layer."""

EV_PER_ANGSTROM2_IN_J_PER_M2 = float(m**2 / J)
"""1 eV/Å^2 in J/m^2 (16.0218)."""

Miller = tuple[int, int, int]


@dataclass(frozen=True)
class Layers:
    """How a crystal is stacked along the normal of a lattice plane.

    :param vectors: rows are two primitive vectors of the plane and the vector from one layer to the next [lattice
        constants], shape (3, 3), in the axes of the cube. The first two and the outward normal are right-handed.
    """

    vectors: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area of the cell of one layer [lattice constants squared]."""
        return float(np.linalg.norm(np.cross(self.vectors[0], self.vectors[1])))

    @property
    def spacing(self) -> float:
        """Distance of the layers [lattice constants]."""
        return float(abs(np.linalg.det(self.vectors)) / self.area)

    @property
    def normal(self) -> NDArray[np.float64]:
        """The unit vector normal to the layers, from one layer to the next; shape (3,)."""
        normal = np.cross(self.vectors[0], self.vectors[1])
        return np.asarray(normal / np.linalg.norm(normal))

    def in_frame(self) -> NDArray[np.float64]:
        """Return the vectors in the frame of a slab: the first along x, the normal along z; shape (3, 3)."""
        x, z = self.vectors[0] / np.linalg.norm(self.vectors[0]), self.normal
        return np.asarray(self.vectors @ np.array([x, np.cross(z, x), z]).T)

    def count(self, a: float, thickness: float, *, multiple: int = 1) -> int:
        """Return the least number of layers that are ``thickness`` [Å] thick at lattice constant ``a`` [Å].

        Each layer counts with one spacing.

        :param multiple: the number is a multiple of this.
        """
        return multiple * max(2, math.ceil(thickness / (multiple * self.spacing * a) - 1e-9))


def miller_indices(text: str) -> Miller:
    """Return the indices written as ``110`` or, where one is negative or has two digits, as ``1 -1 0``.

    :raises ValueError: where ``text`` is neither, or is ``000``.
    """
    parts = text.split() if " " in text.strip() else list(text.strip())
    try:
        h, k, l = (int(part) for part in parts)  # noqa: E741 - the names of the indices
    except ValueError:
        raise ValueError(f"{text!r} is no set of Miller indices: write '110' or '1 -1 0'") from None
    if h == k == l == 0:
        raise ValueError("'000' is no lattice plane: give indices that are not all zero")
    return h, k, l


def miller_text(indices: Miller) -> str:
    """Return the indices as text: the opposite of :func:`miller_indices`."""
    plain = all(0 <= index <= 9 for index in indices)
    return ("" if plain else " ").join(str(index) for index in indices)


def layers_of(structure: Structure, plane: Miller, *, along: Miller | None = None) -> Layers:
    """Return how the lattice ``structure`` is stacked along the normal of ``plane``.

    The vectors in the plane are the two shortest. The vector to the next layer has the shortest component in the plane.

    :param plane: Miller indices of the cubic cell.
    :param along: direction in the plane that the first vector takes instead; its sense counts.
    :raises PropertyError: where the structure has more than one atom in its primitive cell, or ``along`` is not in
        the plane.
    """
    if structure not in BRAVAIS:
        raise PropertyError(f"structure = {structure!r}: slabs are made of {', '.join(BRAVAIS)}, one atom per layer")
    primitive = bulk("X", structure, a=1.0).cell.array
    heights = np.rint(2 * primitive @ np.array(plane)).astype(int)
    heights //= np.gcd.reduce(heights)
    reach = int(np.abs(heights).max()) + 1
    numbers = np.array(list(product(range(-reach, reach + 1), repeat=3)))
    height = numbers @ heights
    first, second = _in_plane(numbers[height == 0] @ primitive, along)
    normal = np.array(plane) / np.linalg.norm(plane)
    if np.cross(first, second) @ normal < 0:
        second = -second
    steps = numbers[height == 1] @ primitive
    aside = np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1)
    return Layers(np.array([first, second, _first(steps, aside)]))


def _in_plane(vectors: NDArray[np.float64], along: Miller | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two primitive vectors out of all short lattice vectors of a plane."""
    lengths = np.linalg.norm(vectors, axis=1)
    vectors, lengths = vectors[lengths > 1e-9], lengths[lengths > 1e-9]
    if along is None:
        first = _first(vectors, lengths)
    else:
        direction = np.array(along) / np.linalg.norm(along)
        parallel = vectors @ direction > lengths - 1e-9
        if not parallel.any():
            raise PropertyError(f"along = {along}: is not in the plane, or no short lattice vector has this direction")
        first = _first(vectors[parallel], lengths[parallel])
    areas = np.linalg.norm(np.cross(first, vectors), axis=1)
    smallest = np.abs(areas - areas[areas > 1e-9].min()) < 1e-9
    return first, _first(vectors[smallest], lengths[smallest])


def _first(vectors: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shortest vector; among equals the one with the largest components, in their order."""
    order = np.lexsort((*-np.round(vectors, 6).T[::-1], np.round(lengths, 6)))
    return np.asarray(vectors[order[0]])


def slab(element: str, layers: Layers, a: float, count: int, vacuum: float) -> Atoms:
    """Return a slab of ``count`` layers, one atom each, centred in its cell and without calculator.

    The first vector of the plane is along x, the normal along z. The atoms are in the order of the layers, from the
    bottom up. The slab is periodic in its plane only.

    :param a: lattice constant of the cubic cell [Å].
    :param vacuum: gap between the outermost layers of the slab and of its image along z [Å].
    """
    first, second, step = a * layers.in_frame()
    height = (count - 1) * step[2] + vacuum
    cell = np.array([first, second, (0.0, 0.0, height)])
    positions = np.outer(np.arange(count), step)
    positions[:, 2] += vacuum / 2
    atoms = Atoms([element] * count, positions=positions, cell=cell, pbc=(True, True, False))
    atoms.wrap(eps=1e-6)
    return atoms
