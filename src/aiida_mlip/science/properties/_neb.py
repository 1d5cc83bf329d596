"""A nudged elastic band between two stationary points, with few force calls and a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.mep import NEB
from ase.mep.neb import NEBState
from ase.optimize import FIRE, LBFGS
from numpy.typing import NDArray

from aiida_mlip.science.properties._base import Meter, Report
from aiida_mlip.science.properties._images import keep_images, resume_images
from aiida_mlip.science.properties._relax import STIFFNESS

Array = NDArray[np.float64]

SPRING = 1.0
"""Spring constant between images [eV/Å^2]; along the path only, so it does not change the energies."""


@dataclass(frozen=True)
class Band:
    """A path of images.

    :param energies: of all images, ends included [eV].
    :param distances: along the path from the first image, in the space of all coordinates [Å].
    :param perpendicular: largest force perpendicular to the path on an atom of an inner image [eV/Å].
    :param converged: whether that is below the limit, and for a climbing image all of its force.
    :param iterations: in all, each with one force call for every inner image.
    """

    energies: tuple[float, ...]
    distances: tuple[float, ...]
    perpendicular: float
    converged: bool
    iterations: int


def interpolate(first: Atoms, last: Atoms, inner: int) -> list[Atoms]:
    """Return ``first``, ``inner`` images on the straight line, and ``last``; copies without calculator."""
    step, _ = find_mic(last.positions - first.positions, first.cell, first.pbc)
    images = []
    for fraction in np.linspace(0, 1, inner + 2):
        image = first.copy()
        image.set_constraint()
        image.positions = first.positions + fraction * step
        images.append(image)
    return images


def relax_path(
    images: Sequence[Atoms],
    calculator: BaseCalculator,
    *,
    ends: tuple[float, float],
    fmax: float,
    max_iterations: int,
    report: Report,
    stage: str,
    climb: bool = False,
) -> Band:
    """Move the inner ``images`` in place to the path of lowest energy between the outer ones, which stay.

    LBFGS first, FIRE where half of the iterations have not sufficed. The positions are kept every few iterations
    under the name of the stage.

    :param ends: energies of the outer images [eV]; they are not computed again.
    :param fmax: largest force on an atom of the band that counts as relaxed [eV/Å].
    :param climb: the highest inner image climbs to a saddle.
    """
    done = resume_images(images, report, stage)
    for image, energy in zip((images[0], images[-1]), ends, strict=True):
        image.calc = SinglePointCalculator(image, energy=energy, free_energy=energy)
    for image in images[1:-1]:
        image.calc = Meter(calculator)  # remembers what it has computed, so nothing is computed twice
    neb = NEB(list(images), k=SPRING, climb=climb, method="improvedtangent")
    optimizers = (partial(LBFGS, alpha=STIFFNESS), FIRE)
    for make, last in zip(optimizers, (max_iterations - max_iterations // 2, max_iterations), strict=True):
        if done >= last:
            continue
        optimizer = make(neb, logfile=None)
        converged = False
        for reached in optimizer.irun(fmax=fmax, steps=last - done):
            converged = reached
            report(stage, done + optimizer.nsteps, max_iterations)
            if optimizer.nsteps:
                keep_images(images, report, stage, done + optimizer.nsteps)
        done += optimizer.nsteps
        if converged:
            break
    return _band(neb, fmax, done)


def _band(neb: NEB, fmax: float, iterations: int) -> Band:
    forces = np.linalg.norm(np.asarray(neb.get_forces()).reshape(-1, 3), axis=1)
    images = neb.images
    steps = [0.0]
    for one, other in pairwise(images):
        shift, _ = find_mic(other.positions - one.positions, one.cell, one.pbc)
        steps.append(float(np.linalg.norm(shift)))
    perpendicular = float(np.linalg.norm(_perpendicular(neb), axis=2).max())
    return Band(
        energies=tuple(float(image.get_potential_energy(force_consistent=True)) for image in images),
        distances=tuple(np.cumsum(steps).tolist()),
        perpendicular=perpendicular,
        converged=bool(forces.max() < fmax),
        iterations=iterations,
    )


def _perpendicular(neb: NEB) -> Array:
    """Return the forces of the inner images perpendicular to the tangents of the band, shape (inner, n, 3) [eV/Å]."""
    state = NEBState(neb, neb.images, neb.energies)
    result = []
    for index in range(1, len(neb.images) - 1):
        tangent = neb.neb_method.get_tangent(state, state.spring(index - 1), state.spring(index), index)
        tangent = tangent / np.linalg.norm(tangent)
        force = neb.real_forces[index]
        result.append(force - np.vdot(force, tangent) * tangent)
    return np.array(result)
