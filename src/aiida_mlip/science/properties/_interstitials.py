"""Self-interstitials of bcc and fcc crystals: how to build one, and how to tell which one a structure has."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from matscipy.neighbours import neighbour_list
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from aiida_mlip.science.properties._crystals import Structure, cubic_cell

Array = NDArray[np.float64]

Kind = Literal["111", "110", "100", "crowdion", "octahedral", "tetrahedral"]

LABELS: dict[Kind, str] = {
    "111": "<111> dumbbell",
    "110": "<110> dumbbell",
    "100": "<100> dumbbell",
    "crowdion": "crowdion",
    "octahedral": "octahedral",
    "tetrahedral": "tetrahedral",
}

SITES: dict[Structure, dict[Kind, tuple[float, float, float]]] = {
    "bcc": {"crowdion": (0.25, 0.25, 0.25), "octahedral": (0.5, 0.5, 0.0), "tetrahedral": (0.5, 0.25, 0.0)},
    "fcc": {"crowdion": (0.25, 0.25, 0.0), "octahedral": (0.5, 0.0, 0.0), "tetrahedral": (0.25, 0.25, 0.25)},
}
"""Places of an additional atom, from a lattice site, in units of the lattice constant."""

DIRECTIONS: dict[str, tuple[int, int, int]] = {"111": (1, 1, 1), "110": (1, 1, 0), "100": (1, 0, 0)}

CLOSE_PACKED: dict[Structure, str] = {"bcc": "111", "fcc": "110"}
"""The direction of the nearest neighbours: that of the crowdion."""

HALF_LENGTH = 0.416
"""Distance of the atoms of an unrelaxed dumbbell from their lattice site, in nearest-neighbour distances."""

ON_SITE = 0.1
"""Distance from a site, in lattice constants, up to which an atom counts as being on it."""

EQUAL = 1.04
"""Ratio up to which two distances count as equal."""


@dataclass(frozen=True)
class Identity:
    """Which interstitial a structure has.

    :param kind: the nearest ideal configuration.
    :param axis: unit vector of the pair that shares a lattice site, in the frame of the cubic cell; components
        positive, descending.
    :param angle: from the axis to the nearest of <100>, <110>, <111> [degrees].
    :param separation: of that pair [Å].
    :param vacant: lattice sites to which no atom is nearest.
    """

    kind: Kind
    axis: tuple[float, float, float]
    angle: float
    separation: float
    vacant: int


def interstitial_cell(element: str, structure: Structure, a: float, size: int, kind: Kind) -> Atoms:
    """Return a cube with one more atom, unrelaxed; the last atom is the new one.

    :param a: lattice constant [Å].
    :param size: cubic cells along each edge.
    """
    atoms = cubic_cell(element, structure, a) * (size, size, size)
    centre = defect_centre(a, size)
    if kind in SITES[structure]:
        atoms += Atoms([element], positions=[centre + a * np.array(SITES[structure][kind])])
        return atoms
    host = int(np.argmin(np.linalg.norm(atoms.positions - centre, axis=1)))
    neighbour = float(np.min(atoms.get_distances(host, [i for i in range(len(atoms)) if i != host], mic=True)))
    half = HALF_LENGTH * neighbour * _unit(DIRECTIONS[kind])
    atoms.positions[host] += half
    atoms += Atoms([element], positions=[centre - half])
    return atoms


def defect_centre(a: float, size: int) -> Array:
    """Return the lattice site next to the middle of the cell, where the interstitial is [Å], shape (3,)."""
    return np.full(3, (size // 2) * a)


def identify(atoms: Atoms, structure: Structure, size: int) -> Identity:
    """Return which interstitial ``atoms`` has; a rotated cell, or another order of the atoms, changes nothing.

    The pair that shares a lattice site gives the axis; where there is none, or several, the closest pair of all. An
    atom of the pair with two equal shortest distances on a line is the middle of a crowdion, or of an octahedral
    configuration of bcc. One with four or more, on a tetrahedral or octahedral site of the lattice, is the middle of
    such a configuration. All else is a dumbbell.

    :param atoms: a cubic cell of ``size`` cubic cells along each edge, in any orientation, with one atom too many.
    """
    a = float(atoms.cell.lengths()[0]) / size
    i, j, lengths, vectors = neighbour_list("ijdD", atoms, a)
    lattice = _Lattice.of(atoms, structure, size)
    same = np.flatnonzero((lattice.sites[i] == lattice.sites[j]) & (i < j))
    bond = int(same[0]) if len(same) == 1 else int(np.argmin(lengths))
    bonds = {atom: _shortest(vectors[i == atom]) for atom in (int(i[bond]), int(j[bond]))}
    middle = max(bonds, key=lambda atom: len(bonds[atom]))
    edges = atoms.cell.array / atoms.cell.lengths()[:, None]
    direction = np.sort(np.abs(edges @ vectors[bond] / lengths[bond]))[::-1]
    name, angle = nearest_direction(direction)
    return Identity(
        kind=_kind(structure, name, bonds[middle], lattice.place(middle)),
        axis=(float(direction[0]), float(direction[1]), float(direction[2])),
        angle=angle,
        separation=float(lengths[bond]),
        vacant=lattice.vacant,
    )


def _shortest(bonds: Array) -> Array:
    """Return those of the vectors, shape (m, 3), that are about as short as the shortest."""
    lengths = np.linalg.norm(bonds, axis=1)
    return np.asarray(bonds[lengths < EQUAL * lengths.min()], dtype=float)


def nearest_direction(axis: ArrayLike) -> tuple[str, float]:
    """Return which of <100>, <110> and <111> is nearest to ``axis``, and the angle to it [degrees]."""
    ordered = np.sort(np.abs(_unit(axis)))[::-1]
    cosines = {name: float(ordered @ _unit(ideal)) for name, ideal in DIRECTIONS.items()}
    name = max(cosines, key=lambda key: cosines[key])
    return name, float(np.degrees(np.arccos(min(1.0, cosines[name]))))


def _kind(structure: Structure, direction: str, bonds: Array, place: Kind | None) -> Kind:
    """Return the configuration from the axis, and the shortest bonds and the place of its middle atom."""
    dumbbells: dict[str, Kind] = {"111": "111", "110": "110", "100": "100"}
    if len(bonds) == 2 and np.dot(_unit(bonds[0]), _unit(bonds[1])) < -0.9:
        if direction == CLOSE_PACKED[structure]:
            return "crowdion"
        if direction == "100" and structure == "bcc":
            return "octahedral"
    return place if place is not None and len(bonds) >= 4 else dumbbells[direction]


@dataclass(frozen=True)
class _Lattice:
    """The lattice under a structure.

    :param positions: of the atoms in units of the lattice constant, in the frame of the lattice, shape (n, 3).
    :param sites: index of the lattice site nearest to each atom, shape (n,).
    :param structure: of the crystal.
    :param vacant: lattice sites to which no atom is nearest (Wigner-Seitz analysis).
    """

    positions: Array
    sites: NDArray[np.int_]
    structure: Structure
    vacant: int

    @classmethod
    def of(cls, atoms: Atoms, structure: Structure, size: int) -> _Lattice:
        ideal = (
            cubic_cell(atoms.get_chemical_symbols()[0], structure, 1.0) * (size, size, size)
        ).get_scaled_positions()
        scaled, shift = atoms.get_scaled_positions(), np.zeros(3)
        tree = cKDTree(_wrapped(ideal), boxsize=1.0)
        _, index = tree.query(_wrapped(scaled))
        for _ in range(2):  # the crystal may have shifted as a whole
            offset, _ = find_mic(scaled - ideal[index], np.eye(3), pbc=True)
            shift = np.median(offset, axis=0)
            _, index = tree.query(_wrapped(scaled - shift))
        vacant = int(np.sum(np.bincount(index, minlength=len(ideal)) == 0))
        return cls(np.asarray((scaled - shift) * size), np.asarray(index), structure, vacant)

    def place(self, atom: int) -> Kind | None:
        """Return on which tetrahedral or octahedral site an atom is, or None."""
        basis = cubic_cell("H", self.structure, 1.0).positions
        kinds: tuple[Kind, Kind] = ("octahedral", "tetrahedral")
        for kind in kinds:
            site = np.array(SITES[self.structure][kind])
            turned = [
                site[list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
            ]
            sites = (np.array(turned)[:, None, :] + basis).reshape(-1, 3)
            _, distances = find_mic(self.positions[atom] - sites, np.eye(3), pbc=True)
            if distances.min() < ON_SITE:
                return kind
        return None


def _wrapped(scaled: Array) -> Array:
    inside = scaled % 1.0
    inside[inside >= 1.0] = 0.0  # a tiny negative number
    return np.asarray(inside, dtype=float)


def _unit(vector: ArrayLike) -> Array:
    array = np.asarray(vector, dtype=float)
    return np.asarray(array / np.linalg.norm(array), dtype=float)
