"""One core of a screw dislocation: built by elasticity, relaxed, and labelled before and after."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes
from ase.constraints import FixAtoms, FixCartesian
from ase.optimize import FIRE
from ase.optimize.precon import Exp, PreconLBFGS
from matscipy.neighbours import neighbour_list
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.sparse import diags

from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import PropertyError, Report
from aiida_mlip.science.properties._cores import Columns, CoreLabel, label_core
from aiida_mlip.science.properties._dislocations import Cylinder, Exchange, core_energy
from aiida_mlip.science.properties._relax import Relaxation, largest_force

SMALLEST_DISTANCE = 0.6
"""Distance of two atoms, in nearest-neighbour distances, below which the potential has collapsed."""


class RelaxedCore(StrictModel):
    """A relaxed configuration, as it is kept for a restart."""

    before: CoreLabel
    after: CoreLabel
    total: float = Field(description="energy of all atoms less that of the crystal [eV per b]")
    inner: float | None = Field(description="energy of the atoms around the core less that of the crystal [eV per b]")
    fmax: float = Field(description="largest force at the end [eV/Å]")
    steps: int = Field(description="steps of the relaxation")
    converged: bool = Field(description="whether the forces are below the limit")
    positions: list[list[float]] = Field(description="[Å], shape (n, 3)")

    @property
    def energy(self) -> float:
        """The inner energy, or the total one where there are no energies of atoms [eV per b]."""
        return self.total if self.inner is None else self.inner


class Symmetrised(Calculator):
    """Forces averaged over a symmetry that takes the configuration to itself, so that it stays symmetric.

    :param inner: the calculator that does the work.
    :param exchange: the symmetry.
    """

    def __init__(self, inner: BaseCalculator, exchange: Exchange) -> None:
        super().__init__()
        self.inner, self.exchange = inner, exchange
        self.implemented_properties = list(inner.implemented_properties)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] | None = None,
    ) -> None:
        """Compute with the inner calculator; average the forces."""
        super().calculate(atoms, properties, system_changes)
        self.inner.calculate(self.atoms, properties, all_changes)
        self.results = dict(self.inner.results)
        forces = self.results["forces"]
        self.results["forces"] = (forces + self.exchange.apply(forces)) / 2


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


@dataclass(frozen=True)
class Setting:
    """What the relaxations in one cylinder share.

    :param cylinder: the cylinder.
    :param columns: its columns.
    :param b: length of the Burgers vector [Å].
    :param bulk_energy: of the crystal [eV/atom].
    :param radius: of the region that relaxes [Å].
    :param fix_width: of the ring around it [Å].
    :param fmax: largest force that counts as relaxed [eV/Å].
    :param max_steps: of one relaxation.
    """

    cylinder: Cylinder
    columns: Columns
    b: float
    bulk_energy: float
    radius: float
    fix_width: float
    fmax: float
    max_steps: int

    def label(self, atoms: Atoms) -> CoreLabel:
        """Return the label of the core inside the region that relaxes."""
        cylinder = self.cylinder
        return label_core(atoms, cylinder.bulk, self.columns, cylinder.middle, self.radius)

    def columns_near(self, centre: ArrayLike, count: int) -> NDArray[np.intp]:
        """Return the atoms of the ``count`` columns nearest to ``centre``."""
        nearest = np.argsort(np.linalg.norm(self.columns.xy - np.asarray(centre, dtype=float), axis=1))[:count]
        return np.concatenate([self.columns.members[index] for index in nearest])

    def preconditioner(self, held: NDArray[np.intp] | None = None) -> Exp:
        """Return the preconditioner of D. Packwood et al., J. Chem. Phys. 144, 164109 (2016), for a bcc crystal.

        :param held: atoms whose height stays.
        """
        return HeldExp(held if held is not None else [], A=3.0, r_NN=self.b, r_cut=2.0 * self.b)

    def rebuilt(self, positions: Sequence[Sequence[float]]) -> Atoms:
        """Return kept positions as a configuration whose outer ring is fixed."""
        return self.cylinder.displaced(np.asarray(positions, dtype=float) - self.cylinder.bulk.positions)


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


def relax_core(
    atoms: Atoms, setting: Setting, calculator: BaseCalculator, watch: Watch, *, held: ArrayLike = ()
) -> RelaxedCore:
    """Relax ``atoms`` and say which core it had and has.

    :param held: atoms whose height along the line stays.
    :raises CollapsedCoreError: where atoms end on one another.
    """
    before = setting.label(atoms)
    ring = FixAtoms(mask=setting.cylinder.fixed)
    heights = np.asarray(held, dtype=int)
    atoms.set_constraint([ring, FixCartesian(heights, mask=(False, False, True))] if len(heights) else ring)
    atoms.calc = calculator
    relaxation = _relax(atoms, setting, watch, heights)
    after = setting.label(atoms)
    require_intact(atoms, setting, watch.stage)
    centre = after.centre or setting.cylinder.middle
    energy = core_energy(
        atoms,
        setting.cylinder,
        centre,
        setting.bulk_energy,
        radius=setting.radius,
        fix_width=setting.fix_width,
    )
    return RelaxedCore(
        before=before,
        after=after,
        total=energy.total,
        inner=energy.inner,
        fmax=relaxation.fmax,
        steps=relaxation.steps,
        converged=relaxation.converged,
        positions=atoms.positions.tolist(),
    )


def _relax(atoms: Atoms, setting: Setting, watch: Watch, held: NDArray[np.int_]) -> Relaxation:
    """Relax by preconditioned LBFGS; FIRE takes over where its line search fails."""
    optimizer: Any = PreconLBFGS(atoms, precon=setting.preconditioner(held), logfile=None)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Armijo linesearch failed")
            steps = _run(optimizer, atoms, setting, watch, setting.max_steps)
    except RuntimeError as error:
        if "linesearch" not in str(error):
            raise
        steps = optimizer.nsteps
        optimizer = FIRE(atoms, logfile=None)
        steps += _run(optimizer, atoms, setting, watch, max(setting.max_steps - steps, 0))
    force = largest_force(atoms)
    return Relaxation(force < setting.fmax, steps, force, type(optimizer).__name__)


def _run(optimizer: Any, atoms: Atoms, setting: Setting, watch: Watch, steps: int) -> int:
    for converged in optimizer.irun(fmax=setting.fmax, steps=steps):
        watch.report(watch.stage, optimizer.nsteps, setting.max_steps)
        if optimizer.nsteps % 10 == 9:
            require_intact(atoms, setting, watch.stage)
        if converged or (watch.stop is not None and watch.stop(atoms)):
            break
    return int(optimizer.nsteps)


def require_intact(atoms: Atoms, setting: Setting, stage: str) -> None:
    """Refuse a configuration in which atoms sit on one another.

    :raises CollapsedCoreError: with the distance.
    """
    nearest = nearest_distance(atoms)
    if nearest < SMALLEST_DISTANCE * setting.b:
        raise CollapsedCoreError(
            f"{stage}: two atoms are {nearest:.2f} Å apart, {100 * nearest / setting.b:.0f} % of the nearest-neighbour "
            "distance: the potential attracts atoms that are too close, and cannot describe this core"
        )


def nearest_distance(atoms: Atoms) -> float:
    """Return the smallest distance of two atoms [Å]."""
    distances = neighbour_list("d", atoms, 3.0)
    return float(np.min(distances, initial=3.0))
