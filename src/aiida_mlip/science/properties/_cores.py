"""What a screw dislocation along <111> of a bcc crystal looks like: Burgers circuits, differential displacements.

Seen along the line a bcc crystal is a triangular lattice of columns with the heights 0, b/3 and 2b/3. Around any three
neighbouring columns the heights wind up or down by b. A screw dislocation inside the three winds by b as well: it
either inverts the winding of the crystal (easy core) or cancels it, so that the three are level (hard core).
Differential displacements are those of V. Vitek, R. C. Perrin and D. K. Bowen, Phil. Mag. 21, 1049 (1970).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.optimize import least_squares
from scipy.spatial import Delaunay, cKDTree

from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import PropertyError

Array = NDArray[np.float64]
CoreKind = Literal["easy", "hard", "split", "degenerate", "between", "none", "several"]

DEGENERATE = 0.3
"""Polarity from which an easy core is called degenerate: 0 is the symmetric core, 1 the full shift by b/6."""

NEAR = 0.4
"""How near its centre has to be to the site of a core to be called so, in distances between an easy and a hard site."""


class CoreLabel(StrictModel):
    """What Burgers circuits and differential displacements say about a configuration."""

    kind: CoreKind = Field(description="easy, hard, split, degenerate, between sites, none, or several dislocations")
    burgers: int = Field(description="component along the line of the Burgers vector of the whole region, in b")
    open_triangles: int = Field(description="triangles of columns in the region around which a circuit does not close")
    centre: tuple[float, float] | None = Field(description="of the field of displacements, in the plane [Å]")
    differential: tuple[float, float, float] | None = Field(
        description="differential displacements around the triangle at the centre, in b, descending size"
    )
    polarity: float | None = Field(
        description="shift along the line of the three central columns against those around them, in b/6"
    )


@dataclass(frozen=True)
class Columns:
    """The columns of a perfect crystal along z; m columns.

    :param xy: positions in the plane [Å], shape (m, 2).
    :param heights: of the atoms modulo ``b``, in b, shape (m,).
    :param members: atoms of each column.
    :param triangles: three neighbouring columns each, counter-clockwise, shape (t, 3).
    :param b: period of a column [Å], the length of the Burgers vector.
    :param spacing: of neighbouring columns [Å].
    """

    xy: Array
    heights: Array
    members: tuple[NDArray[np.intp], ...]
    triangles: NDArray[np.intp]
    b: float
    spacing: float

    def centroids(self) -> Array:
        """Return the centres of the triangles [Å], shape (t, 2)."""
        return np.asarray(self.xy[self.triangles].mean(axis=1))


def wrapped(value: ArrayLike) -> Array:
    """Return ``value`` in b, less the nearest whole number."""
    array = np.asarray(value, dtype=float)
    return array - np.round(array)


def columns_of(bulk: Atoms, b: float) -> Columns:
    """Return the columns of a perfect bcc crystal whose [111] is along z.

    :param bulk: the crystal, any orientation about z.
    :param b: length of half a cube diagonal [Å].
    """
    tree = cKDTree(bulk.positions[:, :2])
    groups = tree.query_ball_point(bulk.positions[:, :2], 0.1 * b)
    members = tuple(np.array(sorted(group)) for index, group in enumerate(groups) if min(group) == index)
    first = np.array([group[0] for group in members])
    xy = bulk.positions[first, :2]
    spacing = b * np.sqrt(8) / 3
    corners = Delaunay(xy).simplices
    edges = np.linalg.norm(xy[corners] - xy[np.roll(corners, 1, axis=1)], axis=2)
    corners = corners[(edges < 1.1 * spacing).all(axis=1)]
    one, two = xy[corners[:, 1]] - xy[corners[:, 0]], xy[corners[:, 2]] - xy[corners[:, 0]]
    clockwise = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0] < 0
    corners[clockwise] = corners[clockwise][:, ::-1]
    return Columns(xy, bulk.positions[first, 2] / b % 1.0, members, corners, b, float(spacing))


def column_displacements(atoms: Atoms, bulk: Atoms, columns: Columns) -> Array:
    """Return how far each column is shifted along z, in b, modulo 1, shape (m,)."""
    phase = np.exp(2j * np.pi * (atoms.positions[:, 2] - bulk.positions[:, 2]) / columns.b)
    return np.array([np.angle(phase[group].sum()) / (2 * np.pi) for group in columns.members])


def differential_displacements(shifts: Array, columns: Columns) -> Array:
    """Return the differential displacements around each triangle, in b within +-1/2, shape (t, 3)."""
    corners = shifts[columns.triangles]
    return wrapped(np.roll(corners, -1, axis=1) - corners)


def label_core(atoms: Atoms, bulk: Atoms, columns: Columns, centre: ArrayLike, radius: float) -> CoreLabel:
    """Say which core of a screw dislocation ``atoms`` has.

    :param atoms: the configuration, with its atoms in the order of ``bulk`` and near those sites.
    :param bulk: the perfect crystal, line along z.
    :param columns: of ``bulk``.
    :param centre: of the region that is looked at, in the plane [Å].
    :param radius: of the region [Å].
    """
    shifts = column_displacements(atoms, bulk, columns)
    differential = differential_displacements(shifts, columns)
    circuits = np.rint(differential.sum(axis=1)).astype(int)
    inside = np.linalg.norm(columns.centroids() - np.asarray(centre, dtype=float), axis=1) < radius
    hits = np.flatnonzero((circuits != 0) & inside)
    total = int(circuits[hits].sum())
    if abs(total) != 1 or _spread(columns.centroids()[hits]) > 2.1 * columns.spacing:
        kind: CoreKind = "none" if len(hits) == 0 else "several"
        return _label(kind, total, len(hits))
    position = fit_centre(shifts, columns, total, columns.centroids()[hits].mean(axis=0))
    triangle = hits[np.argmin(np.linalg.norm(columns.centroids()[hits] - position, axis=1))]
    polarity = _polarity(shifts, columns, total, triangle)
    arrows = sorted((float(value) for value in differential[triangle]), key=abs, reverse=True)
    kind = _kind(position, columns, total)
    if kind == "easy" and abs(polarity) > DEGENERATE:
        kind = "degenerate"
    return CoreLabel(
        kind=kind,
        burgers=total,
        open_triangles=len(hits),
        centre=(float(position[0]), float(position[1])),
        differential=(arrows[0], arrows[1], arrows[2]),
        polarity=polarity,
    )


def _label(kind: CoreKind, burgers: int, triangles: int) -> CoreLabel:
    return CoreLabel(
        kind=kind, burgers=burgers, open_triangles=triangles, centre=None, differential=None, polarity=None
    )


def _spread(points: Array) -> float:
    """Return the largest distance between two of the points."""
    return float(max((np.linalg.norm(points - point, axis=1).max() for point in points), default=0.0))


def _turns(columns: Columns, centre: Array) -> Array:
    """Return the angle of each column about ``centre``, in turns, shape (m,)."""
    offset = columns.xy - centre
    return np.asarray(np.arctan2(offset[:, 1], offset[:, 0]) / (2 * np.pi))


def fit_centre(shifts: Array, columns: Columns, sign: int, start: ArrayLike) -> Array:
    """Return where a screw dislocation of isotropic elasticity fits the displacements best [Å], shape (2,).

    :param shifts: of the columns along the line, in b; whole multiples do not matter.
    :param sign: of the Burgers vector along z.
    :param start: where to begin [Å]; columns within three spacings of it are fitted.
    """
    start = np.asarray(start, dtype=float)
    near = np.linalg.norm(columns.xy - start, axis=1) < 3 * columns.spacing

    def residual(parameters: Array) -> Array:
        turns = _turns(columns, parameters[:2])[near]
        phase = 2 * np.pi * (shifts[near] - sign * turns - parameters[2])
        return np.concatenate([np.cos(phase) - 1, np.sin(phase)])

    best, lowest = start, np.inf
    for angle in np.arange(6) * np.pi / 3:
        point = start + 0.2 * columns.spacing * np.array([np.cos(angle), np.sin(angle)])
        offset = np.exp(2j * np.pi * (shifts[near] - sign * _turns(columns, point)[near])).sum()
        fit = least_squares(residual, [*point, np.angle(offset) / (2 * np.pi)])
        if fit.cost < lowest:
            best, lowest = fit.x[:2], fit.cost
    return np.asarray(best)


def winding(columns: Columns) -> NDArray[np.int_]:
    """Return whether the heights of the crystal wind up (1) or down (-1) around each triangle, shape (t,)."""
    heights = columns.heights[columns.triangles]
    return np.asarray(np.rint(wrapped(np.roll(heights, -1, axis=1) - heights).sum(axis=1)).astype(int))


def core_sites(columns: Columns, sign: int) -> dict[CoreKind, Array]:
    """Return where the centres of easy, hard and split cores are, each of shape (k, 2) [Å].

    :param sign: of the Burgers vector along z.
    """
    turns, centroids = winding(columns), columns.centroids()
    return {"easy": centroids[turns == sign], "hard": centroids[turns == -sign], "split": columns.xy}


def _kind(position: Array, columns: Columns, sign: int) -> CoreKind:
    reach = NEAR * columns.spacing / np.sqrt(3)
    for kind, sites in core_sites(columns, sign).items():
        if len(sites) and np.linalg.norm(sites - position, axis=1).min() < reach:
            return kind
    return "between"


def _polarity(shifts: Array, columns: Columns, sign: int, triangle: np.intp) -> float:
    """Return the mean shift of the three columns of ``triangle`` against the nine around them, in b/6.

    A symmetric core has a two-fold axis through each of the three columns, so that the mean of what its displacements
    differ by from those of isotropic elasticity is the same for both groups.
    """
    corners = columns.triangles[triangle]
    centre = columns.xy[corners].mean(axis=0)
    order = np.argsort(np.linalg.norm(columns.xy - centre, axis=1))
    difference = shifts - sign * _turns(columns, centre)
    reference = np.angle(np.exp(2j * np.pi * difference[order[3:12]]).sum()) / (2 * np.pi)
    rest = wrapped(difference - reference)
    return float(6 * (rest[order[:3]].mean() - rest[order[3:12]].mean()))


def burgers_vector(atoms: Atoms, lattice: ArrayLike, centre: ArrayLike, radius: float) -> Array:
    """Return the Burgers vector inside a circuit, shape (3,) [Å]: b = the integral of du counter-clockwise about z.

    The circuit leads from atom to atom near a circle. Each step is compared with the lattice vector that is nearest to
    it; what the steps lack adds up to the Burgers vector. No reference configuration is needed.

    :param atoms: the configuration; periodic along z only.
    :param lattice: primitive vectors of the perfect crystal in the same orientation, shape (3, 3) [Å].
    :param centre: of the circle, in the plane [Å].
    :param radius: of the circle [Å]; large enough that the strain on it is small.
    :raises PropertyError: where the circuit has too few atoms or a step that fits no lattice vector.
    """
    vectors = np.asarray(lattice, dtype=float)
    neighbour = float(np.linalg.norm(vectors, axis=1).min())
    count = max(12, int(np.ceil(2 * np.pi * radius / neighbour)))
    angles = 2 * np.pi * np.arange(count) / count
    points = np.asarray(centre, dtype=float) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    distance, found = cKDTree(atoms.positions[:, :2]).query(points)
    if distance.max() > neighbour:
        raise PropertyError(f"a circuit of radius {radius:.1f} Å leaves the atoms: choose a smaller one")
    loop = [index for k, index in enumerate(found) if index != found[k - 1]]
    if len(loop) < 6:
        raise PropertyError(f"a circuit of radius {radius:.1f} Å has {len(loop)} atoms: choose a larger one")
    steps = atoms.positions[np.roll(loop, -1)] - atoms.positions[loop]
    indices = np.rint(steps @ np.linalg.inv(vectors))
    lack = steps - indices @ vectors
    if np.linalg.norm(lack, axis=1).max() > 0.4 * neighbour:
        raise PropertyError("a step of the circuit fits no lattice vector: it is too near to a core")
    return np.asarray(lack.sum(axis=0))
