"""Invariant features of the atomic environments of a configuration, and their exact derivatives.

Each atom's neighbours of one element are summed up in moments: M0 = sum B_k(r), M1 = sum B_k(r) u and
M2 = sum B_k(r) u u^T, with the unit vector u to the neighbour. Features are M0, M0^2, ``|M1|^2``, ``|M2|^2``, summed
over the atoms of one element. They do not change with rotation, translation, reflection, order of atoms or choice of
the periodic cell, and grow in proportion to the size of a supercell. The moments are those of moment tensor potentials
(Shapeev, Multiscale Model. Simul. 14, 1153 (2016)); the radial functions are Bessel functions with a polynomial
envelope (Gasteiger et al., arXiv:2003.03123), as in MACE. SOAP would serve as well; these are cheap enough for 10 000
configurations on one core and need no further package.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

CUTOFF = 5.0
"""Å; holds the first two shells of metals and all bonds and angles of molecules."""

N_RADIAL = 8
KINDS = ("M0", "M0^2", "|M1|^2", "|M2|^2")

_ROW, _COLUMN = np.array([0, 1, 2, 1, 0, 0]), np.array([0, 1, 2, 2, 2, 1])
_WEIGHT = np.sqrt(np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0]))


@dataclass(frozen=True)
class Environments:
    """Features of one configuration.

    ``numbers``: the elements (atomic numbers, ascending); ``counts``: atoms of each; ``features``: shape (e, e, 4, k)
    for element of the atom, element of the neighbours, kind and radial function, summed over the atoms; ``closest``:
    distance [Å] and indices of the closest pair within the cut-off, or ``None``; ``tightest``: the same for the pair
    that is closest relative to the sum of its covalent radii, with that ratio in front.
    """

    numbers: tuple[int, ...]
    counts: tuple[int, ...]
    features: Array
    closest: tuple[float, int, int] | None
    tightest: tuple[float, float, int, int] | None = None

    @property
    def composition(self) -> tuple[tuple[int, int], ...]:
        """Return element and count in lowest terms: equal for a cell and its supercells."""
        divisor = int(np.gcd.reduce(self.counts))
        return tuple((z, n // divisor) for z, n in zip(self.numbers, self.counts, strict=True))

    @property
    def averages(self) -> Array:
        """Return the features for each atom of its element as a vector: the same for a cell and its supercells."""
        return np.asarray(self.features / np.array(self.counts)[:, None, None, None]).ravel()


@dataclass(frozen=True)
class Derivatives:
    """Features of one configuration with their derivatives; ``f`` = e * e * 4 * k features as a vector.

    ``features`` (f,); ``positions`` (n, 3, f) [1/Å]; ``strain`` (6, f), Voigt order, for the symmetric strain that
    moves cell and atoms.
    """

    features: Array
    positions: Array
    strain: Array


@dataclass(frozen=True)
class _Pairs:
    """The neighbour list of a configuration, ordered by slot (atom, element of the neighbour)."""

    i: Integers
    j: Integers
    distance: Array
    unit: Array
    slot: Integers
    n_slots: int

    def part(self, keep: NDArray[np.bool_]) -> _Pairs:
        """Return some of the pairs."""
        return _Pairs(self.i[keep], self.j[keep], self.distance[keep], self.unit[keep], self.slot[keep], self.n_slots)


def environments(atoms: Atoms) -> Environments:
    """Return the features of a configuration.

    :param atoms: finite positions; where periodic, a cell with volume.
    """
    numbers, element = np.unique(atoms.numbers, return_inverse=True)
    counts = np.bincount(element, minlength=len(numbers))
    pairs = _pairs(atoms, element, len(numbers))
    features = np.zeros((len(numbers), len(numbers), len(KINDS), N_RADIAL))
    np.add.at(features, element, _by_atom(pairs, len(atoms)))
    closest, tightest = None, None
    if len(pairs.distance):
        p = int(np.argmin(pairs.distance))
        closest = (float(pairs.distance[p]), *_sorted(pairs, p))
        radii = covalent_radii[atoms.numbers]
        ratio = pairs.distance / (radii[pairs.i] + radii[pairs.j])
        p = int(np.argmin(ratio))
        tightest = (float(ratio[p]), float(pairs.distance[p]), *_sorted(pairs, p))
    return Environments(tuple(numbers.tolist()), tuple(counts.tolist()), features, closest, tightest)


def _sorted(pairs: _Pairs, p: int) -> tuple[int, int]:
    i, j = int(pairs.i[p]), int(pairs.j[p])
    return min(i, j), max(i, j)


def atomic_environments(atoms: Atoms) -> Array:
    """Return the features of each atom, shape (n, e * 4 * k), e the number of elements."""
    numbers, element = np.unique(atoms.numbers, return_inverse=True)
    return _by_atom(_pairs(atoms, element, len(numbers)), len(atoms)).reshape(len(atoms), -1)


def _by_atom(pairs: _Pairs, n_atoms: int) -> Array:
    """Return the features of each atom, shape (n, e, 4, k)."""
    m0, m1, m2 = _moments(pairs, radial(pairs.distance))
    per_slot = np.stack([m0, m0**2, np.sum(m1**2, axis=2), np.sum(m2**2, axis=2)], axis=1)
    return per_slot.reshape(n_atoms, -1, len(KINDS), N_RADIAL)


def derivatives(atoms: Atoms, only: Integers | None = None) -> Derivatives:
    """Return the features of a configuration with their derivatives by positions and strain.

    :param only: atoms whose derivatives are wanted: those of others, and by strain, are then meaningless.
    """
    numbers, element = np.unique(atoms.numbers, return_inverse=True)
    n_elements, n_atoms = len(numbers), len(atoms)
    pairs = _pairs(atoms, element, n_elements)
    values, slopes = radial(pairs.distance), radial_derivative(pairs.distance)
    moments = _moments(pairs, values)
    if only is not None:
        wanted = np.isin(pairs.i, only) | np.isin(pairs.j, only)
        pairs, values, slopes = pairs.part(wanted), values[wanted], slopes[wanted]
    by_pair = _pair_gradients(pairs, values, slopes, moments)
    positions = np.zeros((n_atoms, n_elements * n_elements, len(KINDS) * N_RADIAL, 3))
    strain = np.zeros((6, n_elements * n_elements, len(KINDS) * N_RADIAL))
    block = element[pairs.i] * n_elements + element[pairs.j]
    vector = pairs.unit * pairs.distance[:, None]
    for b in np.unique(block):
        chosen = block == b
        gradient = by_pair[chosen]
        _add(positions[:, b], pairs.j[chosen], gradient)
        _add(positions[:, b], pairs.i[chosen], -gradient)
        full = np.einsum("pa,pfc->acf", vector[chosen], gradient)
        strain[:, b] = 0.5 * (full + full.transpose(1, 0, 2))[_ROW, _COLUMN]
    features = environments(atoms).features.reshape(-1)
    by_position = positions.transpose(0, 3, 1, 2).reshape(n_atoms, 3, -1)
    return Derivatives(features, by_position, strain.reshape(6, -1))


def radial(distance: Array) -> Array:
    """Return the radial functions at distances [Å], shape (p, k); zero with two derivatives at the cut-off."""
    x = distance[:, None] / CUTOFF
    order = np.pi * np.arange(1, N_RADIAL + 1)
    return _envelope(x) * np.sin(order * x) / x


def radial_derivative(distance: Array) -> Array:
    """Return the derivatives of the radial functions by distance [1/Å], shape (p, k)."""
    x = distance[:, None] / CUTOFF
    order = np.pi * np.arange(1, N_RADIAL + 1)
    sine, cosine = np.sin(order * x) / x, order * np.cos(order * x) / x
    by_x = _envelope_derivative(x) * sine + _envelope(x) * (cosine - sine / x)
    return np.asarray(by_x / CUTOFF)


def _envelope(x: Array) -> Array:
    return np.asarray(1.0 - 28.0 * x**6 + 48.0 * x**7 - 21.0 * x**8)


def _envelope_derivative(x: Array) -> Array:
    return np.asarray(-168.0 * x**5 + 336.0 * x**6 - 168.0 * x**7)


def _pairs(atoms: Atoms, element: Integers, n_elements: int) -> _Pairs:
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if not bare.pbc.all():
        bare.set_cell(_box(bare), scale_atoms=False)
    i, j, distance, vector = neighbour_list("ijdD", bare, CUTOFF)
    slot = i.astype(np.int64) * n_elements + element[j]
    order = np.argsort(slot, kind="stable")
    distance = np.maximum(distance[order], 1e-6)
    unit = vector[order] / distance[:, None]
    return _Pairs(i[order], j[order], distance, unit, slot[order], len(atoms) * n_elements)


def _box(atoms: Atoms) -> Array:
    """Return a cell whose directions without periodicity have a length, which the neighbour list needs."""
    cell = atoms.cell.array.copy()
    cell[~atoms.pbc] = 0.0
    completed = np.array(atoms.cell.new(cell).complete().array)
    extent = float(np.ptp(atoms.positions, axis=0).max()) + 2.0 * CUTOFF
    completed[~atoms.pbc] *= extent
    return completed


def _moments(pairs: _Pairs, values: Array) -> tuple[Array, Array, Array]:
    """Return M0 (s, k), M1 (s, k, 3) and M2 (s, k, 6), weighted so that its square is that of the tensor."""
    unit = pairs.unit
    angular = np.hstack([np.ones((len(unit), 1)), unit, unit[:, _ROW] * unit[:, _COLUMN] * _WEIGHT])
    product = (values[:, :, None] * angular[:, None, :]).reshape(len(unit), 10 * N_RADIAL)
    total = np.zeros((pairs.n_slots, 10 * N_RADIAL))
    if len(unit):
        slots, first = np.unique(pairs.slot, return_index=True)
        total[slots] = np.add.reduceat(product, first, axis=0)
    shaped = total.reshape(pairs.n_slots, N_RADIAL, 10)
    return shaped[:, :, 0], shaped[:, :, 1:4], shaped[:, :, 4:]


def _pair_gradients(pairs: _Pairs, values: Array, slopes: Array, moments: tuple[Array, Array, Array]) -> Array:
    """Return the derivatives of the features of an atom by the vector to each neighbour, shape (p, 4 * k, 3)."""
    m0, m1, m2 = (moment[pairs.slot] for moment in moments)
    unit, over_r = pairs.unit[:, None, :], values / pairs.distance[:, None]
    tensor = np.zeros((*m2.shape[:2], 3, 3))
    tensor[:, :, _ROW, _COLUMN] = m2 / _WEIGHT
    tensor[:, :, _COLUMN, _ROW] = m2 / _WEIGHT
    along1 = np.einsum("pkc,pc->pk", m1, pairs.unit)[..., None]
    applied = np.einsum("pkcd,pd->pkc", tensor, pairs.unit)
    along2 = np.einsum("pkc,pc->pk", applied, pairs.unit)[..., None]
    slope, ratio = slopes[..., None], over_r[..., None]
    linear = slope * unit
    return np.concatenate(
        [
            linear,
            2.0 * m0[..., None] * linear,
            2.0 * (slope * along1 * unit + ratio * (m1 - along1 * unit)),
            2.0 * (slope * along2 * unit + 2.0 * ratio * (applied - along2 * unit)),
        ],
        axis=1,
    )


def _add(target: Array, index: Integers, values: Array) -> None:
    """Add values to the rows of ``target`` that ``index`` names, repeated rows included."""
    order = np.argsort(index, kind="stable")
    rows, first = np.unique(index[order], return_index=True)
    target[rows] += np.add.reduceat(values[order], first, axis=0)
