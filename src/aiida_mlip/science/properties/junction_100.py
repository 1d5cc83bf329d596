"""Glide of the <100> edge dislocation, the junction of two 1/2<111> dislocations, in a bcc metal. Expensive."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from matscipy.dislocation import BCCEdge100Dislocation, BCCEdge100110Dislocation, CubicCrystalDislocation
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy.spatial import cKDTree

from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import Flag, Outcome, Property, PropertyResult, Quantity, Report, Series
from aiida_mlip.science.properties._bulk import CrystalInputs
from aiida_mlip.science.properties._cores import burgers_vector
from aiida_mlip.science.properties._dislocations import Array, Cylinder, build_cylinder, core_energy
from aiida_mlip.science.properties._images import HUMP, count_humps
from aiida_mlip.science.properties._paths import Path, highest_energy, path_length, relax_band, straight_line
from aiida_mlip.science.properties._precon import Limits, Watch, crystal_preconditioner, relax_preconditioned
from aiida_mlip.science.properties._stiffness import CubicStiffness, DislocationCrystal, crystal_for_dislocations

Plane = Literal["001", "011"]

CLASSES: dict[Plane, type[CubicCrystalDislocation]] = {
    "001": BCCEdge100Dislocation,
    "011": BCCEdge100110Dislocation,
}
"""Glide plane -> class, by the axes of the class: the ``name`` texts of the two are swapped in matscipy."""

UNEQUAL_ENDS = 0.01
"""Difference of the energies of the two ends [eV per period] that is flagged."""

UNITS: dict[Plane, str] = {"001": "eV per a", "011": "eV per a*sqrt2"}
"""Energies are per period of the line, as in the reference data."""


class JunctionInputs(CrystalInputs):
    """Inputs of ``junction_100``."""

    structure: Literal["bcc"] = Field(default="bcc", description="crystal structure: bcc only")
    elastic_constants: CubicStiffness | None = Field(
        default=None, description="of the potential, to build the dislocation with [GPa]; None: computed here"
    )
    plane: Plane = Field(default="001", description="glide plane; the Burgers vector is a [100]")
    radius: float = Field(default=10.0, ge=6.0, description="of the region that relaxes about the glide path [Å]")
    fix_width: float = Field(
        default=12.0, ge=4.0, description="of the ring that does not move [Å]; twice the cut-off of the potential"
    )
    images: int = Field(default=9, ge=5, description="of the path, both ends included")
    fmax: float = Field(
        default=0.01, gt=0, description="largest force on an atom of an end that counts as relaxed [eV/Å]"
    )
    fmax_path: float = Field(default=0.05, gt=0, description="largest force perpendicular to the path [eV/Å]")
    max_steps: int = Field(default=200, gt=0, description="steps of each relaxation, and iterations of the path")
    noise: float = Field(
        default=0.005, ge=0, description="standard deviation of the initial displacements [Å]; breaks the symmetry"
    )
    seed: int = Field(default=1, ge=0, description="of the initial displacements")

    @field_validator("images")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("need an odd number of images, so that one is half way")
        return value


class JunctionResult(PropertyResult):
    """Result of ``junction_100``; energies per period of the line: a, or a sqrt(2) for the (011) plane."""

    lattice_constant: float = Field(description="of the cubic cell [Å]")
    elastic_constants: CubicStiffness = Field(description="the dislocation was built with [GPa]")
    plane: Plane = Field(description="glide plane")
    atoms: int = Field(description="in the cylinder")
    barrier: float = Field(
        description="highest energy of the path, between images as well, less that of the first [eV per period]"
    )
    barrier_by_total_energy: float = Field(description="highest image less the first, from total energies")
    burgers: tuple[tuple[float, float, float], tuple[float, float, float]] = Field(
        description="Burgers vector of the two ends from a circuit, in lattice constants, glide direction first"
    )
    length: tuple[float, ...] = Field(description="along the path, from 0 to 1")
    energy: tuple[float, ...] = Field(description="of the images, less the first [eV per period]")
    by_total_energy: tuple[float, ...] = Field(description="the same from total energies [eV per period]")
    perpendicular: float = Field(description="largest force on an atom perpendicular to the path [eV/Å]")
    iterations: int = Field(description="of the nudged elastic band")
    converged: bool = Field(description="whether both ends and the path are below their limits")


class _End(StrictModel):
    """A relaxed end of the path, as it is kept for a restart."""

    positions: list[list[float]]
    fmax: float
    steps: int
    converged: bool


class _KeptPath(StrictModel):
    """The finished path, as it is kept for a restart."""

    positions: list[list[list[float]]]
    length: list[float]
    best: list[float]
    total: list[float]
    barrier: float
    perpendicular: float
    iterations: int
    converged: bool


def junction_cylinder(
    element: str, a: float, stiffness: CubicStiffness, *, plane: Plane, radius: float, fix_width: float
) -> Cylinder:
    """Return a cylinder for the glide of an a<100> edge dislocation on ``plane``; one period along the line."""
    return build_cylinder(CLASSES[plane], element, a, stiffness, radius=radius, fix_width=fix_width)


def translated(atoms: Atoms, cylinder: Cylinder) -> Atoms:
    """Return the configuration after one glide: each atom is displaced as the one a lattice vector before it.

    Atoms without one before them keep the positions of elasticity.
    """
    bulk = cylinder.bulk
    moved = cylinder.field(cylinder.start + cylinder.glide)
    index, known = _before(cylinder)
    displacements = atoms.positions - bulk.positions
    moved[known & ~cylinder.fixed] = displacements[index][known & ~cylinder.fixed]
    return cylinder.displaced(moved)


def _before(cylinder: Cylinder) -> tuple[Any, NDArray[np.bool_]]:
    """Return for each atom which one is a glide before it, and whether there is one that relaxes; both shape (n,)."""
    bulk = cylinder.bulk
    box = np.diag(bulk.cell.array)
    tree = cKDTree(bulk.positions % box, boxsize=box)
    best: tuple[Array, Array] | None = None
    for height in (
        0.0,
        cylinder.period / 2,
    ):  # the lattice vector along the glide may lead half a period along the line
        distance, index = tree.query((bulk.positions - [*cylinder.glide, height]) % box)
        if best is None or (distance < 0.1).sum() > (best[0] < 0.1).sum():
            best = distance, index
    assert best is not None
    distance, index = best
    return index, (distance < 0.1) & ~cylinder.fixed[index]


def run(inputs: JunctionInputs, calculator: BaseCalculator, report: Report) -> Outcome[JunctionResult]:
    """Relax both ends, and find the path between them.

    :raises UnstableConstants: where no elastic solution of a dislocation exists.
    """
    crystal = crystal_for_dislocations(inputs, inputs.elastic_constants, calculator, report)
    cylinder = junction_cylinder(
        inputs.element,
        crystal.a,
        crystal.stiffness,
        plane=inputs.plane,
        radius=inputs.radius,
        fix_width=inputs.fix_width,
    )
    setting = (inputs, crystal, cylinder, calculator)
    first = _relaxed_end(setting, cylinder.with_core(cylinder.start), Watch(report, "first end"))
    start = cylinder.displaced(np.array(first.positions) - cylinder.bulk.positions)
    last = _relaxed_end(setting, translated(start, cylinder), Watch(report, "last end"))

    def search() -> dict[str, object]:
        ends = [cylinder.displaced(np.array(end.positions) - cylinder.bulk.positions) for end in (first, last)]
        images = straight_line(ends[0], ends[1], inputs.images - 2)
        images[0].calc = calculator
        return _search(inputs, crystal, cylinder, images, Watch(report, "path")).model_dump(mode="json")

    kept = _KeptPath.model_validate(report.keep("path", search))
    return _outcome(inputs, crystal, cylinder, (first, last), kept)


def _relaxed_end(
    setting: tuple[JunctionInputs, DislocationCrystal, Cylinder, BaseCalculator], atoms: Atoms, watch: Watch
) -> _End:
    inputs, crystal, cylinder, calculator = setting

    def make() -> dict[str, object]:
        if watch.stage == "first end":
            atoms.positions += cylinder.noise(inputs.noise, inputs.seed)
        atoms.calc = calculator
        limits = Limits(inputs.fmax, inputs.max_steps, crystal.a * np.sqrt(3) / 2)
        preconditioner = crystal_preconditioner(crystal.a, crystal.stiffness)
        found = relax_preconditioned(atoms, preconditioner, limits, watch)
        positions = atoms.positions.tolist()
        return _End(positions=positions, fmax=found.fmax, steps=found.steps, converged=found.converged).model_dump(
            mode="json"
        )

    return _End.model_validate(watch.report.keep(watch.stage, make))


def _search(
    inputs: JunctionInputs, crystal: DislocationCrystal, cylinder: Cylinder, images: list[Atoms], watch: Watch
) -> _KeptPath:
    """Relax the ``images``, the first of which has a calculator, and take their energies."""
    found: Path = relax_band(
        images,
        images[0].calc,
        crystal_preconditioner(crystal.a, crystal.stiffness),
        fmax=inputs.fmax_path,
        max_iterations=inputs.max_steps,
        report=watch.report,
        stage=watch.stage,
    )
    length, energies = path_length(images), []
    for image, fraction in zip(images, length, strict=True):
        image.get_forces()  # also where an end has not been asked for them
        energies.append(
            core_energy(
                image,
                cylinder,
                cylinder.start + fraction * cylinder.glide,
                crystal.energy,
                radius=inputs.radius,
                fix_width=inputs.fix_width,
                periods=1.0,
            )
        )
    best, total = np.array([energy.best for energy in energies]), np.array([energy.total for energy in energies])
    barrier, _ = highest_energy(images, best - total, 1.0)
    return _KeptPath(
        positions=[image.positions.tolist() for image in images],
        length=length.tolist(),
        best=best.tolist(),
        total=total.tolist(),
        barrier=barrier,
        perpendicular=found.perpendicular,
        iterations=found.iterations,
        converged=found.converged,
    )


def _outcome(
    inputs: JunctionInputs,
    crystal: DislocationCrystal,
    cylinder: Cylinder,
    ends: tuple[_End, _End],
    kept: _KeptPath,
) -> Outcome[JunctionResult]:
    best, total = np.array(kept.best) - kept.best[0], np.array(kept.total) - kept.total[0]
    structures = []
    for index, positions in enumerate(kept.positions):
        atoms = cylinder.displaced(np.array(positions) - cylinder.bulk.positions)
        atoms.info[CONFIG_TYPE] = f"junction_100_{inputs.plane}_{index}"
        structures.append(atoms)
    circuits = tuple(
        _circuit(atoms, cylinder, crystal.a, cylinder.start + fraction * cylinder.glide, inputs.radius)
        for atoms, fraction in ((structures[0], 0), (structures[-1], 1))
    )
    result = JunctionResult(
        lattice_constant=crystal.a,
        elastic_constants=crystal.stiffness,
        plane=inputs.plane,
        atoms=len(cylinder.bulk),
        barrier=kept.barrier,
        barrier_by_total_energy=float(total.max()),
        burgers=(circuits[0], circuits[1]),
        length=tuple(kept.length),
        energy=tuple(best.tolist()),
        by_total_energy=tuple(total.tolist()),
        perpendicular=kept.perpendicular,
        iterations=kept.iterations,
        converged=kept.converged and all(end.converged for end in ends),
        flags=tuple(_flags(circuits, best, ends, kept)),
    )
    key, unit = f"junction_100_{inputs.plane}", UNITS[inputs.plane]
    label = f"glide of the <100>({inputs.plane}) edge dislocation"
    quantity = Quantity(key=f"{key}_barrier", value=result.barrier, unit=unit, label=f"barrier, {label}")
    series = Series(
        key=f"{key}_glide",
        label=label,
        x=result.length,
        y=result.energy,
        x_label="path length",
        x_unit="path length",
        y_label="energy",
        y_unit=unit,
    )
    return Outcome(result, (quantity,), tuple(structures), (series,))


def _circuit(atoms: Atoms, cylinder: Cylinder, a: float, centre: Array, radius: float) -> tuple[float, float, float]:
    axes = cylinder.solver.axes / np.linalg.norm(cylinder.solver.axes, axis=1)[:, None]
    lattice = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) * a / 2 @ axes.T
    x, y, z = (burgers_vector(atoms, lattice, centre, radius) / a).tolist()
    return x, y, z


def _flags(
    circuits: tuple[tuple[float, float, float], ...],
    best: Array,
    ends: tuple[_End, _End],
    kept: _KeptPath,
) -> list[Flag]:
    flags = []
    for name, end in zip(("first", "last"), ends, strict=True):
        if not end.converged:
            message = f"{name} end: the largest force is {end.fmax:.3f} eV/Å after {end.steps} steps"
            flags.append(Flag(name="not_converged", message=message, unusable=True))
    for name, circuit in zip(("first", "last"), circuits, strict=True):
        if np.abs(np.abs(circuit) - [1, 0, 0]).max() > 0.01:
            message = f"{name} end: a Burgers circuit gives ({', '.join(f'{part:.2f}' for part in circuit)}) a"
            flags.append(Flag(name="core_left", message=f"{message}: the core left the cylinder", unusable=True))
    if not kept.converged:
        message = (
            f"the force perpendicular to the path is {kept.perpendicular:.3f} eV/Å after {kept.iterations} iterations"
        )
        flags.append(Flag(name="path_not_converged", message=message, unusable=True))
    if abs(best[-1]) > UNEQUAL_ENDS:
        message = f"the ends differ by {1e3 * best[-1]:+.1f} meV per period, although a lattice vector parts them"
        flags.append(Flag(name="unequal_ends", message=f"{message}: use a larger radius"))
    middle = len(best) // 2
    if best.max() > best[middle] + HUMP:
        message = f"{best[middle]:.4f} eV per period half way, up to {best.max():.4f} elsewhere"
        flags.append(Flag(name="midpoint_no_maximum", message=message))
    count = count_humps(best.tolist())
    if count > 2:
        message = f"the path has {count} maxima: use more images"
        flags.append(Flag(name="several_humps", message=message))
    return flags


PROPERTY = Property(
    name="junction_100",
    summary="Expensive: the barrier to glide of an a<100> edge dislocation, a junction of screws, in a bcc metal.",
    inputs=JunctionInputs,
    result=JunctionResult,
    run=run,
    conformance={"element": "Ta", "radius": 7.0, "fix_width": 6.0, "images": 5},
    expensive=True,
)
