"""Empty space in a liquid: the largest void, and how much the density differs from place to place."""

from __future__ import annotations

from itertools import product

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

_CORNERS = np.array(list(product((-0.5, 0.5), repeat=3)))


def largest_void(atoms: Atoms, tolerance: float = 0.1, coarse: float = 1.5) -> tuple[float, Array]:
    """Return the radius of the largest sphere without an atom's centre [Å], and the centre of the sphere, shape (3,).

    The distance to the nearest atom changes by no more than one moves. So of a coarse grid only those boxes are divided
    further whose distance at the centre, plus half their diagonal, is above the largest one found: the result is that
    of a grid whose boxes have half diagonals of ``tolerance``, for the price of the coarse one.

    :param atoms: periodic in three directions; any cell, wrapped or not.
    :param tolerance: the radius is too small by no more than this [Å].
    :param coarse: spacing of the first grid [Å].
    """
    cell = atoms.cell.array
    shape = np.maximum(np.ceil(atoms.cell.lengths() / coarse).astype(int), 1)
    step = 1.0 / shape
    boxes = (np.indices(shape).reshape(3, -1).T + 0.5) * step
    tree, reach = _tree(atoms, 5.0)
    distances, reach, tree = _distances(atoms, tree, reach, boxes @ cell)
    while True:
        half = float(np.linalg.norm((_CORNERS * step) @ cell, axis=1).max())
        best = int(distances.argmax())
        if half <= tolerance:
            return float(distances[best]), np.asarray(boxes[best] @ cell)
        open_boxes = boxes[distances + half >= distances[best]]
        step = step / 2
        boxes = (open_boxes[:, None, :] + _CORNERS[None] * step).reshape(-1, 3)
        distances, reach, tree = _distances(atoms, tree, reach, boxes @ cell)


def density_spread(atoms: Atoms, radius: float = 5.0, spacing: float = 3.0) -> float:
    """Return the standard deviation of the mass in spheres over its mean, spheres centred on a grid.

    :param atoms: periodic in three directions.
    :param radius: of the spheres [Å].
    :param spacing: of the grid [Å].
    """
    shape = np.maximum(np.ceil(atoms.cell.lengths() / spacing).astype(int), 1)
    grid = (np.indices(shape).reshape(3, -1).T + 0.5) / shape @ atoms.cell.array
    positions, masses = _images(atoms, radius)
    found = cKDTree(grid).query_ball_point(positions, radius)
    inside = np.zeros(len(grid))
    np.add.at(
        inside,
        np.concatenate([np.asarray(near, dtype=int) for near in found]),
        np.repeat(masses, list(map(len, found))),
    )
    return float(inside.std() / inside.mean())


def _distances(atoms: Atoms, tree: cKDTree, reach: float, points: Array) -> tuple[Array, float, cKDTree]:
    """Return distances to the nearest atom, and a tree whose images reach as far as they are."""
    while True:
        distances = tree.query(points)[0]
        if distances.max() <= reach:
            return distances, reach, tree
        tree, reach = _tree(atoms, 2 * reach)


def _tree(atoms: Atoms, reach: float) -> tuple[cKDTree, float]:
    return cKDTree(_images(atoms, reach)[0]), reach


def _images(atoms: Atoms, reach: float) -> tuple[Array, Array]:
    """Return positions and masses of the atoms in the cell and of all images within ``reach`` of it."""
    cell = atoms.cell.array
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    margin = reach / heights
    scaled = atoms.get_scaled_positions(wrap=True)
    masses = atoms.get_masses()
    for axis in range(3):
        shifts = np.arange(-np.ceil(margin[axis]), np.ceil(margin[axis]) + 1)
        copies = np.repeat(scaled[None], len(shifts), axis=0)
        copies[:, :, axis] += shifts[:, None]
        scaled, masses = copies.reshape(-1, 3), np.tile(masses, len(shifts))
        near = (scaled[:, axis] >= -margin[axis]) & (scaled[:, axis] <= 1 + margin[axis])
        scaled, masses = scaled[near], masses[near]
    return scaled @ cell, masses
