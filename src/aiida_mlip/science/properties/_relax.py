"""Relaxation of atomic positions in a fixed cell with few force calls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.optimize import FIRE, LBFGS

from aiida_mlip.science.properties._base import Report


@dataclass(frozen=True)
class Relaxation:
    """How a relaxation ended.

    :param converged: the largest force is below the limit.
    :param steps: steps taken by all optimisers together.
    :param fmax: largest force on an atom at the end [eV/Å].
    :param optimizer: the optimiser that took the last step.
    """

    converged: bool
    steps: int
    fmax: float
    optimizer: str


def relax(atoms: Atoms, *, fmax: float, max_steps: int, report: Report, stage: str) -> Relaxation:
    """Move ``atoms`` (which has a calculator) to a minimum of the energy; the cell is kept.

    LBFGS needs the fewest force calls near a minimum. Where half of the steps have not sufficed, FIRE takes over: it
    does not rely on a quadratic shape.

    :param fmax: largest force on an atom that counts as relaxed [eV/Å].
    :param max_steps: steps of both optimisers together.
    """
    steps, name = 0, ""
    budgets = ((LBFGS, max_steps - max_steps // 2), (FIRE, max_steps // 2))
    for optimizer_class, budget in budgets:
        name = optimizer_class.__name__
        optimizer = optimizer_class(atoms, logfile=None)
        for converged in optimizer.irun(fmax=fmax, steps=budget):
            report(stage, steps + optimizer.nsteps, 0)
            if converged:
                break
        steps += optimizer.nsteps
        if largest_force(atoms) < fmax:
            break
    force = largest_force(atoms)
    return Relaxation(converged=force < fmax, steps=steps, fmax=force, optimizer=name)


def largest_force(atoms: Atoms) -> float:
    """Return the largest norm of the force on an atom [eV/Å]."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())
