"""One core of a screw dislocation: built by elasticity, relaxed, and labelled before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes
from ase.constraints import FixAtoms, FixCartesian
from ase.optimize.precon import Exp
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._cores import Columns, CoreLabel, label_core
from aiida_mlip.science.properties._dislocations import Cylinder, Exchange, core_energy
from aiida_mlip.science.properties._precon import Limits, Watch, crystal_preconditioner, relax_preconditioned
from aiida_mlip.science.properties._stiffness import CubicStiffness


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
    field_centre: tuple[float, float] | None = Field(
        default=None, description="of the elastic field of the fixed ring, where it is not the site of the core [Å]"
    )

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


@dataclass(frozen=True)
class Setting:
    """What the relaxations in one cylinder share.

    :param cylinder: the cylinder.
    :param columns: its columns.
    :param b: length of the Burgers vector [Å].
    :param stiffness: elastic constants of the crystal.
    :param bulk_energy: of the crystal [eV/atom].
    :param radius: of the region that relaxes [Å].
    :param fix_width: of the ring around it [Å].
    :param fmax: largest force that counts as relaxed [eV/Å].
    :param max_steps: of one relaxation.
    """

    cylinder: Cylinder
    columns: Columns
    b: float
    stiffness: CubicStiffness
    bulk_energy: float
    radius: float
    fix_width: float
    fmax: float
    max_steps: int

    @property
    def periods(self) -> float:
        """Burgers vectors along the line."""
        return self.cylinder.period / self.b

    def label(self, atoms: Atoms) -> CoreLabel:
        """Return the label of the core inside the region that relaxes."""
        cylinder = self.cylinder
        return label_core(atoms, cylinder.bulk, self.columns, cylinder.middle, self.radius)

    def columns_near(self, centre: ArrayLike, count: int) -> NDArray[np.intp]:
        """Return the atoms of the ``count`` columns nearest to ``centre``."""
        nearest = np.argsort(np.linalg.norm(self.columns.xy - np.asarray(centre, dtype=float), axis=1))[:count]
        return np.concatenate([self.columns.members[index] for index in nearest])

    def preconditioner(self, held: NDArray[np.intp] | None = None) -> Exp:
        """Return the preconditioner of the crystal; atoms ``held`` keep their height."""
        return crystal_preconditioner(2 * self.b / np.sqrt(3), self.stiffness, held if held is not None else ())

    def rebuilt(self, positions: Sequence[Sequence[float]]) -> Atoms:
        """Return kept positions as a configuration whose outer ring is fixed."""
        return self.cylinder.displaced(np.asarray(positions, dtype=float) - self.cylinder.bulk.positions)


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
    limits = Limits(setting.fmax, setting.max_steps, setting.b)
    relaxation = relax_preconditioned(atoms, setting.preconditioner(heights), limits, watch)
    after = setting.label(atoms)
    centre = after.centre or setting.cylinder.middle
    energy = core_energy(
        atoms,
        setting.cylinder,
        centre,
        setting.bulk_energy,
        radius=setting.radius,
        fix_width=setting.fix_width,
        periods=setting.periods,
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
