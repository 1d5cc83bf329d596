"""Relaxation of stacking faults along their normal with few force calls, and the curve through their energies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.constraints import FixedLine
from ase.optimize import BFGS
from numpy.typing import NDArray
from pydantic import Field
from scipy.interpolate import CubicSpline
from scipy.signal import find_peaks

from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import PropertyError, Report
from aiida_mlip.science.properties._relax import largest_force


class FaultPoint(StrictModel):
    """A slab with a fault, relaxed along the normal."""

    energy: float = Field(description="of the cell [eV]")
    unrelaxed: float | None = Field(description="of the cell before the relaxation [eV]; None: not computed")
    heights: tuple[float, ...] = Field(description="displacements of the atoms along the normal [Å]")
    fmax: float = Field(description="largest force along the normal at the end [eV/Å]")
    steps: int = Field(description="steps of the relaxation")
    converged: bool = Field(description="whether the force is below the limit")


class RelaxationAlongNormal:
    """Relaxes a row of similar slabs along z, each from where the last two lead to.

    The matrix of second derivatives that BFGS has learned is handed on as well.

    :param calculator: an ASE calculator with energy and forces.
    :param report: told of the progress.
    :param stage: what it is told.
    :param fmax: largest force along the normal that counts as relaxed [eV/Å].
    :param max_steps: for each slab.
    :param unrelaxed: compute the energy before the relaxation as well; it costs a call.
    """

    def __init__(
        self,
        calculator: BaseCalculator,
        report: Report,
        *,
        stage: str,
        fmax: float,
        max_steps: int,
        unrelaxed: bool,
    ) -> None:
        self._calculator, self._report, self._stage = calculator, report, stage
        self._fmax, self._max_steps, self._unrelaxed = fmax, max_steps, unrelaxed
        self._last: list[NDArray[np.float64]] = []
        self._hessian: NDArray[np.float64] | None = None

    def follow(self, point: FaultPoint) -> None:
        """Let the next slabs start from ``point``."""
        self._last = [*self._last[-1:], np.array(point.heights)]

    def point(self, slab: Atoms, start: Sequence[float] | None = None) -> FaultPoint:
        """Relax ``slab``, whose atoms are on their ideal sites; it is left as it is.

        :param start: displacements along the normal to start from [Å]; None: continued from the last two points.
        :raises PropertyError: where the potential fails.
        """
        atoms = slab.copy()
        atoms.calc = self._calculator
        unrelaxed = _energy(atoms) if self._unrelaxed else None
        atoms.positions[:, 2] += self._guess(len(atoms)) if start is None else np.asarray(start)
        atoms.set_constraint(FixedLine(range(len(atoms)), (0.0, 0.0, 1.0)))
        optimizer = BFGS(atoms, logfile=None)
        if self._hessian is not None and self._hessian.shape == optimizer.H0.shape:
            optimizer.H0 = self._hessian
        for converged in optimizer.irun(fmax=self._fmax, steps=self._max_steps):
            self._report(self._stage, optimizer.nsteps, 0)
            if not np.isfinite(atoms.get_forces()).all():
                raise PropertyError(
                    "the potential gives no finite forces in the fault: its atoms come closer than it allows"
                )
            if converged:
                break
        if optimizer.state is not None:
            self._hessian = np.array(optimizer.H)
        force = largest_force(atoms)
        return FaultPoint(
            energy=_energy(atoms),
            unrelaxed=unrelaxed,
            heights=tuple((atoms.positions[:, 2] - slab.positions[:, 2]).tolist()),
            fmax=force,
            steps=optimizer.nsteps,
            converged=force < self._fmax,
        )

    def _guess(self, count: int) -> NDArray[np.float64]:
        if not self._last:
            return np.zeros(count)
        return 2 * self._last[-1] - self._last[0] if len(self._last) == 2 else self._last[-1]


def _energy(atoms: Atoms) -> float:
    return float(atoms.get_potential_energy(force_consistent=True))


@dataclass(frozen=True)
class FaultCurve:
    """A periodic cubic spline through fault energies.

    :param x: displacements in units of the period, ascending from 0 to 1; shape (n,).
    :param y: energies [J/m^2]; the last equals the first within the noise, and is taken as equal by the spline.
    :param spline: the spline.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    spline: CubicSpline

    @classmethod
    def through(cls, x: NDArray[np.float64], y: NDArray[np.float64]) -> FaultCurve:
        """Return the curve through these points."""
        return cls(x, y, CubicSpline(x, np.append(y[:-1], y[0]), bc_type="periodic"))

    def at(self, x: float) -> float:
        """Return the energy at ``x`` [J/m^2]."""
        return float(self.spline(x))

    @property
    def highest(self) -> int:
        """Index of the highest point."""
        return int(np.argmax(self.y))

    @property
    def maximum_at(self) -> float:
        """Where the spline is highest, in units of the period."""
        roots = self.spline.derivative().roots(extrapolate=False)
        inside = roots[np.isfinite(roots)]
        if not len(inside):
            return float(self.x[self.highest])
        return float(inside[np.argmax(self.spline(inside))])

    @property
    def maximum(self) -> float:
        """The highest value of the spline [J/m^2]."""
        return self.at(self.maximum_at)

    def minima(self, depth: float) -> tuple[float, ...]:
        """Return where, between the ends, the energy has further minima that are deep enough.

        :param depth: least depth below the lower of the two sides, relative to the maximum.
        """
        found, _ = find_peaks(-self.y, prominence=depth * max(float(self.y.max()), 1e-12))
        return tuple(self.x[found].tolist())
