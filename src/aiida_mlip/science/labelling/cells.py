"""What plane waves need of a configuration: a cell in three directions, and a mesh of k-points."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell


def boxed(atoms: Atoms, vacuum: float) -> Atoms:
    """Return a copy in which every direction that is not periodic has ``vacuum`` [Å] between the images.

    Positions stay as they are. A cell vector of such a direction is kept where the images are far enough apart;
    otherwise its length grows, and one that is missing is made perpendicular to the others.

    :param vacuum: least distance between the outermost atoms of two images [Å].
    """
    copy = atoms.copy()
    if atoms.pbc.all():
        return copy
    cell = np.array(complete_cell(atoms.cell))
    for axis in np.flatnonzero(~atoms.pbc):
        normal = np.cross(cell[(axis + 1) % 3], cell[(axis + 2) % 3])
        normal /= np.linalg.norm(normal)
        heights = atoms.positions @ normal
        needed = np.ptp(heights) + vacuum
        height = abs(cell[axis] @ normal)
        if height < needed:
            cell[axis] *= needed / height
    copy.set_cell(cell)
    return copy


def mesh_of(atoms: Atoms, distance: float, *, even: bool = False) -> tuple[int, int, int]:
    """Return the coarsest mesh whose points are at most ``distance`` apart along each reciprocal axis.

    It is the rule of AiiDA and aiida-quantumespresso: a direction that is not periodic has one point, and a cell of
    three periodic vectors of one length has the same number along each.

    :param distance: 2 pi included [1/Å].
    :param even: make the numbers even.
    """
    reciprocal = 2.0 * np.pi * np.linalg.inv(atoms.cell.array).T
    lengths = np.linalg.norm(reciprocal, axis=1)
    mesh = np.array([max(1, int(np.ceil(round(length / distance, 5)))) for length in lengths])
    if even:
        mesh += mesh % 2
    if np.ptp(atoms.cell.lengths()) < 1e-5:
        mesh[:] = mesh[atoms.pbc].max(initial=1)
    mesh[~atoms.pbc] = 1
    return int(mesh[0]), int(mesh[1]), int(mesh[2])
