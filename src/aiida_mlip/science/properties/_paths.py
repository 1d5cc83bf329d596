"""The path of lowest energy of a dislocation between two stationary configurations, with few force calls.

The nudged elastic band of S. Makri, C. Ortner and J. R. Kermode, J. Chem. Phys. 150, 094109 (2019): tangents from
splines, forces preconditioned by the connectivity of the crystal, steps of an adaptive integrator. In a cylinder of
hundreds of atoms it needs a fraction of the iterations of a plain band, because long waves relax as fast as short ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.mep import NEB
from ase.mep.neb import NEBOptimizer
from ase.optimize.precon import Exp
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline, CubicSpline, PchipInterpolator

from aiida_mlip.science.properties._base import Meter, Report
from aiida_mlip.science.properties._images import keep_images, resume_images

Array = NDArray[np.float64]

SPRING = 0.1
"""Spring constant between images [eV/Å^2]; it acts along the path only."""


@dataclass(frozen=True)
class Path:
    """How the search for a path ended.

    :param perpendicular: largest force perpendicular to the path on an atom of an inner image [eV/Å].
    :param iterations: accepted steps of all inner images.
    :param converged: whether the perpendicular force is below the limit.
    """

    perpendicular: float
    iterations: int
    converged: bool


def straight_line(first: Atoms, last: Atoms, inner: int) -> list[Atoms]:
    """Return ``first``, ``inner`` images equally spaced on the straight line, and ``last``; copies, no calculator.

    Fixed atoms move along as well: each image has its own boundary.
    """
    images = []
    for fraction in np.linspace(0.0, 1.0, inner + 2):
        image = first.copy()
        positions = (1 - fraction) * first.positions + fraction * last.positions
        image.set_positions(positions, apply_constraint=False)
        images.append(image)
    return images


def relax_band(
    images: Sequence[Atoms],
    calculator: BaseCalculator,
    preconditioner: Exp,
    *,
    fmax: float,
    max_iterations: int,
    report: Report,
    stage: str,
) -> Path:
    """Move the inner ``images`` (two or more) in place to the path of lowest energy; the outer ones stay.

    :param preconditioner: for the crystal; copied for each image.
    :param fmax: largest perpendicular force that counts as relaxed [eV/Å].
    """
    done = resume_images(images, report, stage)
    for image in images:
        image.calc = Meter(calculator)  # remembers what it has computed, so nothing is computed twice
    preconditioners = [_made(preconditioner, image) for image in images]
    neb = NEB(list(images), k=SPRING, method="spline", precon=preconditioners)
    optimizer = NEBOptimizer(neb, method="ode", logfile=None)

    def keep() -> None:
        step = done + optimizer.nsteps + 1
        report(stage, step, max_iterations)
        keep_images(images, report, stage, step)

    optimizer.attach(keep)
    report(stage, done, max_iterations)
    optimizer.run(fmax=fmax / np.sqrt(3), steps=max(max_iterations - done, 1))  # it looks at components of forces
    largest = perpendicular_force(neb)
    return Path(largest, done + optimizer.nsteps, largest <= fmax)


def perpendicular_force(neb: Any) -> float:
    """Return the largest force on a free atom perpendicular to the path over the inner images [eV/Å].

    Perpendicular in the metric of the preconditioner P: F - (F.t) P t, with the tangent t of the spline normalised so
    that t.P t = 1 (eq. 11 of Makri et al.). It vanishes on the path of steepest descent in that metric, which has the
    same saddle points as any other.
    """
    largest = 0.0
    for index in range(1, neb.nimages - 1):
        image, preconditioner = neb.images[index], neb.precon[index]
        force, tangent = image.get_forces(), neb.precon.get_tangent(index)
        rest = force - np.vdot(force, tangent) * preconditioner.Pdot(tangent.ravel()).reshape(-1, 3)
        for constraint in image.constraints:
            rest[constraint.get_indices()] = 0.0
        largest = max(largest, float(np.linalg.norm(rest, axis=1).max()))
    return largest


def path_length(images: Sequence[Atoms]) -> Array:
    """Return the distance along the path in the space of all coordinates, 0 for the first image and 1 for the last."""
    steps = [np.linalg.norm(after.positions - before.positions) for before, after in pairwise(images)]
    distance = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(distance / distance[-1])


def energy_along(images: Sequence[Atoms]) -> CubicHermiteSpline:
    """Return the total energy [eV] as a function of the path length (0 to 1), from energies and forces of the images.

    The slopes are those of the work of all forces, also of those on fixed atoms, whose positions change along the path.
    """
    length = path_length(images)
    positions = np.array([image.positions.ravel() for image in images])
    tangents = CubicSpline(length, positions)(length, 1)
    forces = np.array([image.get_forces(apply_constraint=False).ravel() for image in images])
    energies = [float(image.get_potential_energy(force_consistent=True)) for image in images]
    return CubicHermiteSpline(length, energies, -(forces * tangents).sum(axis=1))


def highest_energy(images: Sequence[Atoms], inner_less_total: Array, periods: float) -> tuple[float, float]:
    """Return the highest energy above the first image, between the images as well, and where on the path it is.

    :param inner_less_total: energy around the core less the total one of each image [eV per period], shape (k,).
    :param periods: of the line in the cell.
    :return: the energy [eV per period], and the path length from 0 to 1.
    """
    fine = np.linspace(0.0, 1.0, 1001)
    total = energy_along(images)(fine) / periods
    curve = total - total[0] + PchipInterpolator(path_length(images), inner_less_total - inner_less_total[0])(fine)
    highest = int(np.argmax(curve))
    return float(curve[highest]), float(fine[highest])


def _made(preconditioner: Exp, image: Atoms) -> Exp:
    made = preconditioner.copy()
    made.make_precon(image)
    return made
