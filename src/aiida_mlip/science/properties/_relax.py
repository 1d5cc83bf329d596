"""Relaxation of atomic positions in a fixed cell with few force calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from ase import Atoms
from ase.optimize import FIRE, LBFGS
from matscipy.neighbours import neighbour_list

from aiida_mlip.science.properties._base import Report

STIFFNESS = 25.0
"""Curvature from which LBFGS starts [eV/Å^2]; with 70, the value of ASE, metals need half as many calls again."""

KEEP_EVERY = 20
"""Steps after which the positions of a long relaxation are kept for a restart."""


@dataclass(frozen=True)
class Relaxation:
    """How a relaxation ended.

    :param converged: the largest force is below the limit.
    :param steps: steps taken by all optimisers together.
    :param fmax: largest force on an atom at the end [eV/Å].
    :param optimizer: the optimiser that took the last step.
    :param stopped: the caller's ``stop`` ended it.
    """

    converged: bool
    steps: int
    fmax: float
    optimizer: str
    stopped: bool = False


def relax(
    atoms: Atoms,
    *,
    fmax: float,
    max_steps: int,
    report: Report,
    stage: str,
    keep: str | None = None,
    stop: Callable[[Atoms], bool] | None = None,
) -> Relaxation:
    """Move ``atoms`` (which has a calculator) to a minimum of the energy; the cell is kept.

    LBFGS needs the fewest force calls near a minimum. Where half of the steps have not sufficed, FIRE takes over: it
    does not rely on a quadratic shape.

    :param fmax: largest force on an atom that counts as relaxed [eV/Å].
    :param max_steps: steps of both optimisers together, those of earlier jobs included.
    :param keep: name of the step in the journal under which positions are kept every few steps; where an earlier job
        has kept some, the relaxation goes on from there.
    :param stop: asked after each step whether to end here; the structure then counts as it is.
    """
    steps, name, stopped = _resume(atoms, report, keep), "", False
    optimizers = (partial(LBFGS, alpha=STIFFNESS), FIRE)
    for make, last in zip(optimizers, (max_steps - max_steps // 2, max_steps), strict=True):
        if steps >= last or stopped:
            continue
        optimizer = make(atoms, logfile=None)
        name = type(optimizer).__name__
        for converged in optimizer.irun(fmax=fmax, steps=last - steps):
            taken = steps + optimizer.nsteps
            report(stage, taken, 0)
            stopped = not converged and stop is not None and stop(atoms)
            if converged or stopped:
                break
            if keep and optimizer.nsteps and optimizer.nsteps % KEEP_EVERY == 0:
                report.put(keep, {"positions": atoms.positions.tolist(), "steps": taken})
        steps += optimizer.nsteps
        if largest_force(atoms) < fmax:
            break
    force = largest_force(atoms)
    return Relaxation(converged=force < fmax, steps=steps, fmax=force, optimizer=name, stopped=stopped)


def _resume(atoms: Atoms, report: Report, keep: str | None) -> int:
    """Put ``atoms`` where an earlier job left them, and return the steps it took."""
    kept = report.get(keep) if keep else None
    if not kept:
        return 0
    atoms.positions = np.asarray(kept["positions"], dtype=float)
    return int(kept["steps"])


def largest_force(atoms: Atoms) -> float:
    """Return the largest norm of the force on an atom [eV/Å]."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())


def closest_pair(atoms: Atoms, within: float) -> float:
    """Return the shortest distance of two atoms [Å], or ``within`` where there is none below that."""
    return float(np.min(neighbour_list("d", atoms, within), initial=within))
