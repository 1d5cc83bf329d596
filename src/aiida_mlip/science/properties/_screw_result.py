"""What is known of a screw dislocation: its cores, and the path between two easy ones."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import PropertyResult
from aiida_mlip.science.properties._cores import CoreLabel
from aiida_mlip.science.properties._stiffness import CubicStiffness

RequestedCore = Literal["easy", "hard", "split", "midpoint"]


class CoreInCylinder(StrictModel):
    """A core in a cylinder of one size."""

    requested: RequestedCore = Field(
        description="core that was built; midpoint: the configuration half way between two easy cores, kept symmetric"
    )
    radius: float = Field(description="of the region that relaxes [Å]")
    atoms: int = Field(description="in the cylinder")
    held: bool = Field(description="whether the heights of three columns, or the symmetry, were kept")
    before: CoreLabel = Field(description="what the core was before the relaxation")
    after: CoreLabel = Field(description="what it is after")
    energy: float = Field(
        description="less that of the easy core, from energies of atoms where there are any [eV per b]"
    )
    by_total_energy: float = Field(description="the same from total energies, free surface included [eV per b]")
    lag: float = Field(description="distance of the core from the centre of the field at the boundary [Å]")
    fmax: float = Field(description="largest force at the end, less what holds the core [eV/Å]")
    steps: int = Field(description="steps of the relaxation")
    converged: bool = Field(description="whether the forces are below the limit")


class GlidePath(StrictModel):
    """The path of lowest energy from an easy core to the next; one entry per image, both ends included."""

    radius: float = Field(description="of the region that relaxes [Å]")
    length: tuple[float, ...] = Field(description="along the path in the space of all coordinates, from 0 to 1")
    position: tuple[float, ...] = Field(description="of the core along the glide direction, 0 and 1 at the easy sites")
    offset: tuple[float, ...] = Field(
        description="of the core across the glide direction [Å]; positive to the hard core"
    )
    energy: tuple[float, ...] = Field(description="less that of the easy core [eV per b]")
    by_total_energy: tuple[float, ...] = Field(description="the same from total energies [eV per b]")
    barrier: float = Field(
        description="highest energy, between images as well, from their energies and forces [eV per b]"
    )
    barrier_at: float = Field(description="where on the path, from 0 to 1")
    symmetric: bool = Field(description="whether half of it was computed, and the rest follows by the two-fold axis")
    end_mismatch: float = Field(description="difference of the total energies of the two ends [eV per b]")
    perpendicular: float = Field(description="largest force on an atom perpendicular to the path [eV/Å]")
    iterations: int = Field(description="of the nudged elastic band")
    converged: bool = Field(description="whether the perpendicular force is below the limit")


class ScrewResult(PropertyResult):
    """Result of ``screw_dislocation``; the energies are those of the largest radius."""

    lattice_constant: float = Field(description="of the cubic cell [Å]")
    elastic_constants: CubicStiffness = Field(description="the dislocation was built with [GPa]")
    hard_minus_easy: float | None = Field(description="[eV per b], the hard core held; None where not computed")
    split_minus_easy: float | None = Field(description="[eV per b], the split core held; None where not computed")
    hard_collapses: bool | None = Field(
        description="whether the hard core leaves for another one when it is let go and pushed; None: not tried"
    )
    glide_barrier: float | None = Field(description="highest energy of the path [eV per b]; None where not computed")
    polarity: float | None = Field(description="of the easy core: 0 symmetric, 1 shifted by b/6")
    atomic_energies: bool = Field(description="whether the energies of atoms were used; else total energies")
    cores: tuple[CoreInCylinder, ...] = Field(description="ascending radius")
    glide: GlidePath | None = Field(description="in the largest cylinder; None where not computed")
