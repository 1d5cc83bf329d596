"""Relaxation of an interstitial to a true minimum: noise, a search for soft modes, and a stop at what is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.geometry import find_mic
from numpy.typing import NDArray
from pydantic import Field

from aiida_mlip.science.properties._base import Report
from aiida_mlip.science.properties._crystals import Structure
from aiida_mlip.science.properties._curvature import softest_mode
from aiida_mlip.science.properties._interstitials import Kind, defect_centre, identify
from aiida_mlip.science.properties._point_defects import (
    COLLAPSE,
    DefectInCell,
    Host,
    embed,
    formation_energy,
    in_cell,
    shaken,
)
from aiida_mlip.science.properties._relax import Relaxation, closest_pair, largest_force, relax

ROUNDS = 3
"""Relaxations that a start gets: after each but the last, a soft mode is followed."""

NEGATIVE = -0.1
"""Curvature [eV/Å^2] below which a structure is no minimum; closer to zero the finite differences do not tell."""

MODE_CALLS = 16
"""Force calls of one search for a soft mode."""

CORE = 1.2
"""Decay length of the random direction in which the search begins, from the closest pair [Å]."""

PUSH = 0.3
"""Length of the displacement along a soft mode [Å]."""

KNOWN_ENERGY = 0.01
"""Energy above a known minimum of the same kind [eV] at which a relaxation has fallen onto it."""

KNOWN_FORCE = 0.1
"""Largest force on an atom [eV/Å] that goes with it."""


KNOWN_ANGLE = 3.0
"""Angle between the axes [degrees] that goes with it."""


class InterstitialInCell(DefectInCell):
    """An interstitial in one size of the cell."""

    requested: Kind = Field(description="configuration it started from")
    final: Kind = Field(description="configuration it ended in, from the pair of atoms that share a site")
    axis: tuple[float, float, float] = Field(description="unit vector of that pair, components positive and descending")
    angle: float = Field(description="from the axis to the nearest of <100>, <110>, <111> [degrees]")
    separation: float = Field(description="of that pair [Å]")
    vacant: int = Field(description="lattice sites to which no atom is nearest; 0 for a single interstitial")
    curvature: float | None = Field(description="lowest that was found [eV/Å^2]; None: not searched")
    rounds: int = Field(description="relaxations; each but the first began along a soft mode of the one before")
    ended_on: Kind | None = Field(
        description="the requested configuration onto whose minimum it fell; its numbers are given; None: none"
    )
    collapsed: bool = Field(description="whether atoms came so close that the potential has failed")

    def unstable(self) -> bool:
        """Whether it is a saddle."""
        return self.curvature is not None and self.curvature < NEGATIVE and not self.collapsed

    def usable(self) -> bool:
        """Whether it is a relaxed single interstitial."""
        return self.converged and not self.collapsed and self.vacant == 0

    def problem(self) -> str:
        """Return in words why it is not usable."""
        if self.collapsed:
            return f"atoms came within {self.separation:.2f} Å: the potential is not repulsive enough"
        if self.vacant:
            return f"{self.vacant} lattice sites were left empty"
        return f"the largest force is {self.fmax:.3f} eV/Å after {self.steps} steps: give more max_steps"


@dataclass(frozen=True)
class SearchLimits:
    """When and from where a relaxation goes.

    :param fmax: largest force on an atom that counts as relaxed [eV/Å].
    :param max_steps: steps of each relaxation.
    :param noise: standard deviation of the initial displacements [Å].
    :param seed: of the random numbers.
    """

    fmax: float
    max_steps: int
    noise: float
    seed: int


@dataclass
class Search:
    """Relaxes interstitials one after the other, and knows those it has found."""

    calculator: BaseCalculator
    report: Report
    crystal: Host
    structure: Structure
    limits: SearchLimits
    stability: bool
    stop_at_known: bool
    _known: list[InterstitialInCell] = field(default_factory=list)

    def relaxed(
        self, kind: Kind, size: int, ideal: Atoms, smaller: tuple[Atoms, Atoms] | None
    ) -> tuple[InterstitialInCell, Atoms]:
        """Return the interstitial that ``ideal`` relaxes to, and its atoms without calculator.

        :param smaller: the ideal and the relaxed one in a smaller cell, to start from.
        """
        stage = f"{kind} {size}x{size}x{size}"
        start = ideal.copy()
        if smaller is not None:
            a = self.crystal.bulk.a
            edge = round(float(smaller[0].cell.lengths()[0]) / a)
            start.positions = embed(*smaller, ideal, (defect_centre(a, edge), defect_centre(a, size)))
        start.positions = shaken(start, self.limits.noise, self.limits.seed)
        kept = self.report.keep(stage, lambda: self._find(stage, kind, size, start))
        cell = InterstitialInCell.model_validate(kept["cell"])
        if cell.usable() and not cell.unstable() and cell.ended_on is None:
            self._known.append(cell)
        atoms = ideal.copy()
        atoms.positions = np.asarray(kept["positions"], dtype=float)
        return cell, atoms

    def _find(self, stage: str, kind: Kind, size: int, start: Atoms) -> dict[str, Any]:
        """Relax, look for a soft mode, follow it, and so on."""
        atoms = start.copy()
        atoms.calc = self.calculator
        curvature: float | None = None
        steps, rounds, known = 0, 0, None
        while True:
            done, known = self._relax(f"{stage} round {rounds}", atoms, size)
            steps, rounds = steps + done.steps, rounds + 1
            if known is not None or not done.converged or not self.stability:
                curvature = None
                break
            curvature, vector = self._soft(f"{stage} mode {rounds}", atoms)
            if curvature > NEGATIVE or rounds == ROUNDS:
                break
            atoms.positions += PUSH * vector
        done = Relaxation(done.converged, steps, done.fmax, done.optimizer)
        cell = self._described(kind, size, atoms, done, {"curvature": curvature, "rounds": rounds}, known=known)
        return {"cell": cell, "positions": atoms.positions.tolist()}

    def _described(
        self,
        kind: Kind,
        size: int,
        atoms: Atoms,
        done: Relaxation,
        search: dict[str, Any],
        *,
        known: InterstitialInCell | None,
    ) -> dict[str, Any]:
        if known is not None:
            return known.model_dump() | search | {"requested": kind, "ended_on": known.requested, "steps": done.steps}
        identity = identify(atoms, self.structure, size)
        collapsed = identity.separation < COLLAPSE * self.crystal.neighbour
        numbers = in_cell(atoms, size, len(atoms) - 1, self.crystal, done).model_dump()
        return (
            numbers
            | search
            | {
                "requested": kind,
                "final": identity.kind,
                "axis": identity.axis,
                "angle": identity.angle,
                "separation": identity.separation,
                "vacant": identity.vacant,
                "ended_on": None,
                "collapsed": collapsed,
            }
        )

    def _relax(self, stage: str, atoms: Atoms, size: int) -> tuple[Relaxation, InterstitialInCell | None]:
        """Relax ``atoms`` in place, once for all jobs; return the known minimum onto which it fell, if any."""
        limit = COLLAPSE * self.crystal.neighbour

        def stop(moving: Atoms) -> bool:
            return closest_pair(moving, limit) < limit or self._on_known(moving, size) is not None

        def make() -> dict[str, Any]:
            done = relax(
                atoms,
                fmax=self.limits.fmax,
                max_steps=self.limits.max_steps,
                report=self.report,
                stage=stage,
                keep=f"{stage} so far",
                stop=stop,
            )
            on = self._on_known(atoms, size) if done.stopped else None
            return {
                "positions": atoms.positions.tolist(),
                "relaxation": [done.converged, done.steps, done.fmax, done.optimizer],
                "known": None if on is None else on.requested,
            }

        kept = self.report.keep(stage, make)
        atoms.positions = np.asarray(kept["positions"], dtype=float)
        known = [cell for cell in self._known if (cell.requested, cell.size) == (kept["known"], size)]
        return Relaxation(*kept["relaxation"]), known[0] if known else None

    def _on_known(self, atoms: Atoms, size: int) -> InterstitialInCell | None:
        """Return the known minimum that ``atoms`` is about to reach, or None.

        It is of the same kind, its axis has the same direction, and its energy is barely lower.
        """
        if not self.stop_at_known or largest_force(atoms) > KNOWN_FORCE:
            return None
        energy = formation_energy(atoms, self.crystal.bulk)
        near = [c for c in self._known if c.size == size and abs(energy - c.formation_energy) < KNOWN_ENERGY]
        if not near:
            return None
        found = identify(atoms, self.structure, size)
        for cell in near:
            if cell.final == found.kind and np.dot(cell.axis, found.axis) > np.cos(np.radians(KNOWN_ANGLE)):
                return cell
        return None

    def _soft(self, stage: str, atoms: Atoms) -> tuple[float, NDArray[np.float64]]:
        """Return the lowest curvature that was found, and its mode."""

        def make() -> dict[str, Any]:
            mode = softest_mode(
                atoms,
                self._direction(atoms),
                report=self.report,
                stage=stage,
                max_calls=MODE_CALLS,
                enough=3 * NEGATIVE,
            )
            return {"curvature": mode.curvature, "vector": mode.vector.tolist()}

        kept = self.report.keep(stage, make)
        return float(kept["curvature"]), np.asarray(kept["vector"], dtype=float)

    def _direction(self, atoms: Atoms) -> NDArray[np.float64]:
        """Return random displacements around the closest pair of atoms, where soft modes are."""
        distances = atoms.get_all_distances(mic=True) + 1e9 * np.eye(len(atoms))
        first = int(np.argmin(distances)) // len(atoms)
        _, away = find_mic(atoms.positions - atoms.positions[first], atoms.cell, atoms.pbc)
        random = np.random.default_rng(self.limits.seed).normal(size=atoms.positions.shape)
        return np.asarray(random * np.exp(-away / CORE)[:, None], dtype=float)
