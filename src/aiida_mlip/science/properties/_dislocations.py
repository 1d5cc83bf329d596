"""Cylinders that hold one straight dislocation, and what is true of their energies and symmetry.

The outer ring keeps the positions of anisotropic elasticity; inside, the atoms relax. The cylinder contains the whole
way from one site of the core to the next, so that all configurations of a path share one boundary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from matscipy.dislocation import CubicCrystalDislocation
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from aiida_mlip.science.properties._base import PropertyError
from aiida_mlip.science.properties._stiffness import CubicStiffness, require_stable

Array = NDArray[np.float64]

VACUUM = 10.0
"""Empty space on each side of a cylinder [Å]; the cylinder is not periodic in the plane."""


TWOFOLD = (-1.0, 1.0, -1.0)
"""Signs of the rotation by 180 degrees about y: a screw along z stays what it is, and glides the other way along x."""

NEAR_CENTRE = 0.5
"""Distance from the centre of the elastic field, in Burgers vectors, within which it is not made self-consistent."""


@dataclass(frozen=True)
class Cylinder:
    """A cylinder of crystal, and the elastic field of a dislocation along its axis z.

    :param bulk: the perfect crystal; periodic along z only, with vacuum around.
    :param start: site of the core in the plane at one end of the path [Å], shape (2,).
    :param glide: from there to the next site [Å], shape (2,).
    :param fixed: which atoms keep the positions of elasticity, shape (n,).
    :param burgers: Burgers vector [Å], shape (3,).
    :param solver: matscipy's model of the dislocation.
    """

    bulk: Atoms
    start: Array
    glide: Array
    fixed: NDArray[np.bool_]
    burgers: Array
    solver: Any

    @property
    def middle(self) -> Array:
        """Half way between the two sites [Å], shape (2,)."""
        return np.asarray(self.start + self.glide / 2)

    @property
    def period(self) -> float:
        """Length of the cylinder along the line [Å]."""
        return float(self.bulk.cell[2, 2])

    def field(self, centre: ArrayLike) -> Array:
        """Return the displacements of anisotropic elasticity for a core at ``centre`` [Å], shape (n, 3).

        They are those at the displaced positions (self-consistent) but for atoms so near to the centre that the field
        has no solution there.

        :raises PropertyError: where there is no self-consistent field.
        """
        core = np.array([[*np.asarray(centre, dtype=float), 0.0]])
        positions = self.bulk.positions
        far = np.linalg.norm(positions[:, :2] - core[0, :2], axis=1) > NEAR_CENTRE * np.linalg.norm(self.burgers)
        moved: Array = np.empty_like(positions)
        for mask, consistent in ((far, self.solver.self_consistent), (~far, False)):
            if not mask.any():
                continue
            try:
                moved[mask] = self.solver.displacements(
                    positions[mask], core, method="adsl", self_consistent=consistent, verbose=False
                )
            except RuntimeError as error:
                raise PropertyError(
                    f"the elastic field of the dislocation cannot be found ({error}): the elastic constants are close "
                    "to an instability, and no dislocation can be built with them"
                ) from error
        return moved

    def with_core(self, centre: ArrayLike, *, continuous_with: Atoms | None = None) -> Atoms:
        """Return the unrelaxed dislocation with its core at ``centre`` [Å]; the outer ring is fixed.

        :param continuous_with: shift atoms by whole Burgers vectors so that none is far from where it is there.
        """
        return self.displaced(self.field(centre), continuous_with=continuous_with)

    def displaced(self, displacements: ArrayLike, *, continuous_with: Atoms | None = None) -> Atoms:
        """Return the crystal with ``displacements`` (n, 3) [Å] and the outer ring fixed."""
        atoms = self.bulk.copy()
        atoms.positions += displacements
        if continuous_with is not None:
            atoms.positions = self.unwrapped(atoms.positions, continuous_with.positions)
        atoms.set_constraint(FixAtoms(mask=self.fixed))
        return atoms

    def noise(self, scale: float, seed: int) -> Array:
        """Return seeded normal displacements (n, 3) [Å] with the standard deviation ``scale``; none in the ring."""
        shift = np.random.default_rng(seed).normal(scale=scale, size=self.bulk.positions.shape)
        return np.asarray(shift * ~self.fixed[:, None])

    def unwrapped(self, positions: Array, reference: Array) -> Array:
        """Return ``positions`` less whole Burgers vectors, so that they are near ``reference``; both (n, 3)."""
        along = (positions - reference) @ self.burgers / (self.burgers @ self.burgers)
        return np.asarray(positions - np.round(along)[:, None] * self.burgers)


def build_cylinder(
    kind: type[CubicCrystalDislocation],
    element: str,
    a: float,
    stiffness: CubicStiffness,
    *,
    radius: float,
    fix_width: float,
    length: int = 1,
    symmetry: Sequence[float] | None = None,
) -> Cylinder:
    """Return a cylinder that contains the way of one dislocation from one site to the next.

    :param kind: matscipy's class of the dislocation; its line is along z, it glides along x.
    :param a: lattice constant of the cubic cell [Å].
    :param radius: of the region that relaxes, about the way of the core [Å].
    :param fix_width: of the ring around it that does not move [Å].
    :param length: periods along the line.
    :param symmetry: signs of x, y, z in an operation that exchanges the ends; the cylinder then has it as well.
    :raises UnstableConstants: where the crystal is elastically unstable.
    """
    require_stable(stiffness)
    solver = kind(a, C11=stiffness.c11, C12=stiffness.c12, C44=stiffness.c44, symbol=element)
    bulk, first, _ = solver.build_glide_configurations(
        radius + fix_width, fix_width=fix_width, method="adsl", verbose=False
    )
    fixed = first.arrays["fix_mask"]
    core = np.array(first.info["core_positions"][0][:2])
    shift = VACUUM - bulk.positions[:, :2].min(axis=0)
    size = np.ptp(bulk.positions[:, :2], axis=0) + 2 * VACUUM
    bulk.positions[:, :2] += shift
    bulk.set_cell([size[0], size[1], bulk.cell[2, 2]])
    bulk.pbc = (False, False, True)
    bulk.set_constraint()
    bulk.info.clear()
    for name in set(bulk.arrays) - {"numbers", "positions"}:
        del bulk.arrays[name]
    glide = np.array([solver.glide_distance, 0.0])
    paired = np.ones(len(bulk), dtype=bool)
    if symmetry is not None:
        paired = _paired(bulk, float(core[0] + shift[0] + glide[0] / 2), symmetry)
    repeated = bulk[paired].repeat((1, 1, length))
    return Cylinder(
        bulk=repeated,
        start=core + shift,
        glide=glide,
        fixed=np.tile(np.asarray(fixed, dtype=bool)[paired], length),
        burgers=np.asarray(solver.burgers @ (solver.axes / np.linalg.norm(solver.axes, axis=1)[:, None]).T),
        solver=solver,
    )


def _paired(bulk: Atoms, centre: float, signs: Sequence[float]) -> NDArray[np.bool_]:
    """Return which atoms have a partner across the middle: those right on the rim may have lost theirs to rounding."""
    order, distance = partners(bulk.positions, np.diag(bulk.cell.array), centre, signs)
    return np.asarray((distance < 0.05) & (distance[order] < 0.05))


@dataclass(frozen=True)
class Exchange:
    """A symmetry of the crystal that exchanges the two ends of a path.

    :param order: atom i of the crystal is taken to the site of atom ``order[i]``, shape (n,).
    :param signs: of x, y, z in the operation, shape (3,).
    :param shift: translation that takes the transformed field to the one of the other end [Å], shape (3,).
    """

    order: NDArray[np.intp]
    signs: Array
    shift: Array

    def apply(self, vectors: Array) -> Array:
        """Return displacements or forces (n, 3) after the operation, without the translation."""
        moved = np.empty_like(vectors)
        moved[self.order] = vectors * self.signs
        return moved

    def image(self, cylinder: Cylinder, atoms: Atoms, *, continuous_with: Atoms) -> Atoms:
        """Return the configuration ``atoms`` after the operation."""
        moved = self.apply(atoms.positions - cylinder.bulk.positions) + self.shift
        return cylinder.displaced(moved, continuous_with=continuous_with)


def partners(positions: Array, box: Array, centre: float, signs: ArrayLike) -> tuple[NDArray[np.intp], Array]:
    """Return the atom that the operation takes each atom to, and how far that one is [Å]; both of shape (n,).

    :param positions: of a crystal that is periodic along z, shape (n, 3) [Å].
    :param box: edges of its cell [Å].
    :param centre: x of the axis [Å]; the axis is at the height of the atom nearest to it.
    """
    tree = cKDTree(positions % box, boxsize=box)
    height = positions[np.argmin(np.abs(positions[:, 0] - centre)), 2]
    turned = positions * np.asarray(signs) + np.array([2 * centre, 0.0, 2 * height])
    distance, order = tree.query(turned % box)
    return np.asarray(order), np.asarray(distance)


def exchange_of(cylinder: Cylinder, signs: ArrayLike = TWOFOLD, *, tolerance: float = 0.05) -> Exchange:
    """Return the operation that exchanges the two ends of the path of ``cylinder``.

    :raises PropertyError: where it is no symmetry of the crystal.
    """
    bulk = cylinder.bulk
    order, distance = partners(bulk.positions, np.diag(bulk.cell.array), cylinder.middle[0], signs)
    if distance.max() > tolerance or len(set(order)) < len(order) or (cylinder.fixed != cylinder.fixed[order]).any():
        raise PropertyError("the two ends of the path are not equivalent by symmetry in this cylinder")
    plain = Exchange(order, np.asarray(signs, dtype=float), np.zeros(3))
    here, there = cylinder.field(cylinder.start), cylinder.field(cylinder.start + cylinder.glide)
    b = float(np.linalg.norm(cylinder.burgers))
    difference = (there - plain.apply(here))[cylinder.fixed] @ cylinder.burgers / b**2
    fraction = float(np.angle(np.exp(2j * np.pi * difference).sum())) / (2 * np.pi)
    return Exchange(order, plain.signs, fraction * cylinder.burgers)


def transplanted(small: Atoms, small_cylinder: Cylinder, cylinder: Cylinder, centre: ArrayLike) -> Atoms:
    """Return the dislocation with its core at ``centre`` [Å] in ``cylinder``, its inner part as in a smaller cylinder.

    :param small: relaxed in ``small_cylinder``, which has the same crystal, line and length.
    """
    atoms = cylinder.with_core(centre)
    offset = np.array([*(cylinder.start - small_cylinder.start), 0.0])
    distance, site = cKDTree(cylinder.bulk.positions).query(small_cylinder.bulk.positions + offset)
    inner = ~small_cylinder.fixed & (distance < 0.1)
    moved = atoms.positions.copy()
    moved[site[inner]] = small.positions[inner] + offset
    moved = cylinder.unwrapped(moved, atoms.positions)
    atoms.positions[~cylinder.fixed] = moved[~cylinder.fixed]
    return atoms


def window(distance: ArrayLike, inner: float, outer: float) -> Array:
    """Return weights: 1 within ``inner`` of the core, 0 beyond ``outer``, half a cosine between [all Å]."""
    part = np.clip((np.asarray(distance, dtype=float) - inner) / (outer - inner), 0.0, 1.0)
    return np.asarray((1 + np.cos(np.pi * part)) / 2)


@dataclass(frozen=True)
class CoreEnergy:
    """The energy of a dislocation less that of as many crystal atoms, per period of the line.

    :param total: of all atoms [eV per period]; the free surface is in it, only differences mean anything.
    :param inner: of the atoms around the core, without the surface [eV per period]; only differences mean anything.
        None where the calculator has no energies of atoms.
    """

    total: float
    inner: float | None

    @property
    def best(self) -> float:
        """The one without the surface where there is one [eV per period]."""
        return self.total if self.inner is None else self.inner


def core_energy(
    atoms: Atoms,
    cylinder: Cylinder,
    centre: ArrayLike,
    bulk_energy: float,
    *,
    radius: float,
    fix_width: float,
    periods: float = 1.0,
) -> CoreEnergy:
    """Return the energy of the relaxed dislocation ``atoms``, which has a calculator.

    The inner energy weights the energies of the atoms: by 1 within half of ``radius`` of the core, falling to 0 in the
    middle of the fixed ring, so that no atom near the free surface counts. A wide slope is needed: with a sharp edge
    the sum depends on which columns of atoms it cuts. The region moves with the core.

    :param centre: of the core, in the plane [Å].
    :param bulk_energy: of the perfect crystal [eV/atom].
    :param periods: the cylinder has along the line.
    """
    total = (float(atoms.get_potential_energy(force_consistent=True)) - len(atoms) * bulk_energy) / periods
    if "energies" not in atoms.calc.results:
        return CoreEnergy(total, None)
    distance = np.linalg.norm(cylinder.bulk.positions[:, :2] - np.asarray(centre, dtype=float), axis=1)
    weights = window(distance, radius / 2, radius + fix_width / 2)
    energies = np.asarray(atoms.calc.results["energies"], dtype=float) - bulk_energy
    return CoreEnergy(total, float(weights @ energies) / periods)
