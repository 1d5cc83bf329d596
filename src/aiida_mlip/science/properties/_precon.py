"""Relaxation of hundreds of atoms around a dislocation with few force calls, by a preconditioned optimiser."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.optimize import FIRE
from ase.optimize.precon import Exp, PreconLBFGS
from numpy.typing import ArrayLike
from scipy.sparse import diags

from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA
from aiida_mlip.science.properties._base import PropertyError, Report
from aiida_mlip.science.properties._relax import Relaxation, closest_pair, largest_force
from aiida_mlip.science.properties._stiffness import CubicStiffness

SMALLEST_DISTANCE = 0.6
"""Distance of two atoms, in nearest-neighbour distances, below which the potential has collapsed."""


DECAY = 3.0
"""How fast the preconditioner falls off with the distance of two atoms."""

REACH = 2.0
"""Range of the preconditioner, in nearest-neighbour distances."""


class HeldExp(Exp):
    """The exponential preconditioner for atoms some of which keep their height.

    :param held: indices of these atoms.
    """

    P: Any

    def __init__(self, held: ArrayLike, **settings: Any) -> None:
        super().__init__(**settings)
        self.heights = 3 * np.asarray(held, dtype=int) + 2

    def create_solver(self) -> None:
        """Part the held coordinates from the others, so that a step neither moves them nor counts on it."""
        if len(self.heights):
            matrix = self.P
            keep = np.ones(matrix.shape[0])
            keep[self.heights] = 0.0
            self.P = (diags(keep) @ matrix @ diags(keep) + diags(1 - keep)).tocsc()
        super().create_solver()


class CollapsedCoreError(PropertyError):
    """Atoms sit on one another: the potential cannot describe this core."""


def crystal_preconditioner(a: float, stiffness: CubicStiffness, held: ArrayLike = ()) -> HeldExp:
    """Return the preconditioner of D. Packwood et al., J. Chem. Phys. 144, 164109 (2016), for a bcc crystal.

    Its scale follows from the elastic constants, which saves the two force calls that finding it takes: it has the
    longitudinal modulus of the crystal, averaged over directions, for waves that are long.

    :param a: lattice constant of the cubic cell [Å].
    :param held: atoms whose height stays.
    """
    neighbour = a * np.sqrt(3) / 2
    grid = np.arange(-4, 5)
    corners = np.stack(np.meshgrid(grid, grid, grid), axis=-1).reshape(-1, 3).astype(float)
    sites = a * np.concatenate([corners, corners + 0.5])
    distance = np.linalg.norm(sites, axis=1)
    distance = distance[(distance > 0.1 * a) & (distance < REACH * neighbour)]
    moments = float(np.sum(np.exp(-DECAY * (distance / neighbour - 1)) * distance**2))
    modulus = 0.6 * stiffness.c11 + 0.4 * (stiffness.c12 + 2 * stiffness.c44)
    scale = 6 * modulus / EV_PER_ANGSTROM3_IN_GPA * a**3 / 2 / moments
    return HeldExp(held, A=DECAY, r_NN=neighbour, r_cut=REACH * neighbour, mu=scale)


@dataclass(frozen=True)
class Limits:
    """When a relaxation ends.

    :param fmax: largest force that counts as relaxed [eV/Å].
    :param max_steps: steps it may take.
    :param neighbour: distance of nearest neighbours [Å], to see whether atoms collapse.
    """

    fmax: float
    max_steps: int
    neighbour: float


@dataclass(frozen=True)
class Watch:
    """Who follows a relaxation, and what ends it early.

    :param report: told of each step.
    :param stage: under this name.
    :param stop: says whether to end with these atoms.
    """

    report: Report
    stage: str
    stop: Callable[[Atoms], bool] | None = None


def relax_preconditioned(atoms: Atoms, preconditioner: Exp, limits: Limits, watch: Watch) -> Relaxation:
    """Relax ``atoms``, which has a calculator, by preconditioned LBFGS; FIRE takes over where its line search fails.

    :raises CollapsedCoreError: where atoms end on one another.
    """
    optimizer: Any = PreconLBFGS(atoms, precon=preconditioner, logfile=None)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Armijo linesearch failed")
            steps = _run(optimizer, atoms, limits, watch, limits.max_steps)
    except RuntimeError as error:
        if "linesearch" not in str(error):
            raise
        steps = optimizer.nsteps
        optimizer = FIRE(atoms, logfile=None)
        steps += _run(optimizer, atoms, limits, watch, max(limits.max_steps - steps, 0))
    require_intact(atoms, limits, watch.stage)
    force = largest_force(atoms)
    return Relaxation(force < limits.fmax, steps, force, type(optimizer).__name__)


def _run(optimizer: Any, atoms: Atoms, limits: Limits, watch: Watch, steps: int) -> int:
    for converged in optimizer.irun(fmax=limits.fmax, steps=steps):
        watch.report(watch.stage, optimizer.nsteps, limits.max_steps)
        if optimizer.nsteps % 10 == 9:
            require_intact(atoms, limits, watch.stage)
        if converged or (watch.stop is not None and watch.stop(atoms)):
            break
    return int(optimizer.nsteps)


def require_intact(atoms: Atoms, limits: Limits, stage: str) -> None:
    """Refuse a configuration in which atoms sit on one another.

    :raises CollapsedCoreError: with the distance.
    """
    smallest = SMALLEST_DISTANCE * limits.neighbour
    nearest = closest_pair(atoms, smallest)
    if nearest < smallest:
        raise CollapsedCoreError(
            f"{stage}: two atoms are {nearest:.2f} Å apart, {100 * nearest / limits.neighbour:.0f} % of the "
            "nearest-neighbour distance: the potential attracts atoms that are too close, and cannot describe this core"
        )
