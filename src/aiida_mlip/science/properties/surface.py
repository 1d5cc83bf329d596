"""Surface energies of a cubic metal, relaxed and unrelaxed, in two thicknesses, and whether a surface reconstructs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.geometry import find_mic
from numpy.typing import NDArray
from pydantic import Field, field_validator

from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import Flag, Outcome, Property, PropertyResult, Quantity, Report
from aiida_mlip.science.properties._bulk import CrystalInputs, crystal_energy, lattice_constant_of
from aiida_mlip.science.properties._crystals import Structure, nearest_neighbour
from aiida_mlip.science.properties._relax import largest_force, relax
from aiida_mlip.science.properties._slabs import (
    BRAVAIS,
    EV_PER_ANGSTROM2_IN_J_PER_M2,
    Layers,
    layers_of,
    miller_indices,
    miller_text,
    slab,
)

SURFACES = ("001", "110", "111", "112", "114", "115", "710")
"""Those of the reference data."""

MAX_THICKNESS_CHANGE = 0.01
"""Relative change of the energy between the two thicknesses that is flagged."""

MIN_RECONSTRUCTION = 0.005
"""Energy that a reconstruction must gain to be one, relative to the energy of the surface."""

MAX_DISPLACEMENT = 0.6
"""Displacement of an atom, as a fraction of the nearest-neighbour distance, from which it has left its site."""


class SurfaceInputs(CrystalInputs):
    """Inputs of ``surface``."""

    surfaces: tuple[str, ...] = Field(
        default=SURFACES, min_length=1, description="Miller indices as texts, '110' or '1 -1 0', or as three integers"
    )
    reconstructions: tuple[str, ...] = Field(
        default=("001",), description="those of the surfaces that are also relaxed in a c(2x2) cell, without symmetry"
    )
    thicknesses: tuple[float, float] = Field(
        default=(15.0, 20.0), description="least thicknesses of the two slabs [Å], ascending"
    )
    vacuum: float = Field(default=10.0, gt=0, description="gap between the slab and its image along the normal [Å]")
    fmax: float = Field(default=0.01, gt=0, description="largest force on an atom that counts as relaxed [eV/Å]")
    max_steps: int = Field(default=300, gt=0, description="steps of each relaxation")
    zigzag: float = Field(
        default=0.2, gt=0, description="displacement of the surface atoms [Å] with which the c(2x2) cell starts"
    )
    noise: float = Field(
        default=0.02, gt=0, description="largest random displacement of the surface atoms [Å] in addition"
    )
    seed: int = Field(default=1, ge=0, description="of the random displacements")

    @field_validator("structure")
    @classmethod
    def _bravais(cls, value: Structure) -> Structure:
        if value not in BRAVAIS:
            raise ValueError(f"slabs are made of {', '.join(BRAVAIS)}, which have one atom per primitive cell")
        return value

    @field_validator("surfaces", "reconstructions", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        texts = tuple(item if isinstance(item, str) else " ".join(str(index) for index in item) for item in value)
        texts = tuple(miller_text(miller_indices(text)) for text in texts)
        if len(set(texts)) != len(texts):
            raise ValueError("a surface is named twice: name each once")
        return texts

    @field_validator("thicknesses")
    @classmethod
    def _ascending(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] < value[1]:
            raise ValueError("need two ascending thicknesses in Å, e.g. (15.0, 20.0)")
        return value


class SlabEnergy(StrictModel):
    """A slab, relaxed in a fixed cell."""

    layers: int = Field(description="atomic layers")
    atoms: int = Field(description="atoms in the cell")
    unrelaxed: float = Field(description="energy of the cell with the atoms on the sites of the crystal [eV]")
    energy: float = Field(description="relaxed energy of the cell [eV]")
    positions: tuple[tuple[float, float, float], ...] = Field(description="relaxed [Å]")
    max_displacement: float = Field(description="largest displacement from a site of the crystal [Å]")
    lateral: float = Field(description="largest displacement along the surface, without a shift of the slab [Å]")
    fmax: float = Field(description="largest force at the end [eV/Å]")
    steps: int = Field(description="steps of the relaxation")
    converged: bool = Field(description="whether the forces are below the limit")


class Reconstruction(StrictModel):
    """A surface in the c(2x2) cell, relaxed from a start without symmetry."""

    atoms: int = Field(description="atoms in the cell")
    energy: float = Field(description="relaxed surface energy [J/m^2]")
    gain: float = Field(description="energy gained against the primitive cell of the same thickness [J/m^2]")
    lateral: float = Field(description="largest displacement along the surface [Å]")
    reconstructs: bool = Field(description="whether the gain is more than 0.5 % of the surface energy")
    converged: bool = Field(description="whether the forces are below the limit")


class Surface(StrictModel):
    """The energies of one surface, each of the thicker slab unless it says otherwise."""

    energy: float = Field(description="relaxed, in the primitive cell of the surface [J/m^2]")
    unrelaxed: float = Field(description="with the atoms on the sites of the crystal [J/m^2]")
    thin: float = Field(description="relaxed energy of the thinner slab [J/m^2]")
    layers: tuple[int, int] = Field(description="of the two slabs, one atom each")
    area: float = Field(description="of the cell of a layer [Å^2]")
    spacing: float = Field(description="of the layers in the crystal [Å]")
    slope: float = Field(description="energy per layer between the two slabs minus the bulk energy [eV]")
    first_spacing: float = Field(description="relative change of the distance of the two outermost layers")
    max_displacement: float = Field(description="largest displacement from a site of the crystal [Å]")
    fmax: float = Field(description="largest force at the end, of both slabs [eV/Å]")
    converged: bool = Field(description="whether the forces of both slabs are below the limit")
    reconstruction: Reconstruction | None = Field(description="in the c(2x2) cell; None: not asked for")


class SurfaceResult(PropertyResult):
    """Result of ``surface``."""

    lattice_constant: float = Field(description="of the cubic cell [Å]")
    bulk_energy: float = Field(description="per atom of the crystal [eV]")
    surfaces: dict[str, Surface] = Field(description="by Miller indices")


def surface_slab(
    element: str, structure: Structure, a: float, miller: str, count: int, *, vacuum: float = 10.0
) -> Atoms:
    """Return a slab of ``count`` layers in the primitive cell of the surface, one atom per layer, unrelaxed.

    Both surfaces are equivalent: the slab has a centre of inversion. The normal is along z.

    :param a: lattice constant of the cubic cell [Å].
    :param miller: indices of the surface, e.g. ``110``.
    :param vacuum: gap between the slab and its image along the normal [Å].
    """
    atoms = slab(element, layers_of(structure, miller_indices(miller)), a, count, vacuum)
    atoms.info[CONFIG_TYPE] = f"surface_{miller}"
    return atoms


def c2x2(atoms: Atoms, *, zigzag: float = 0.0, noise: float = 0.0, seed: int = 1) -> Atoms:
    """Return the slab in the cell of the sum and the difference of its two vectors, with two atoms per layer.

    On (001) this is c(2x2) = (sqrt(2) x sqrt(2))R45, in which tungsten has its zigzag chains.

    :param zigzag: the two atoms of each outermost layer are displaced by this [Å], in opposite directions along the
        first vector of the doubled cell; on (001) this is a <110> direction, that of the chains of tungsten.
    :param noise: they are also displaced in random directions along the surface, by up to this [Å].
    """
    cell, count = atoms.cell.array, len(atoms)
    double = atoms.copy()
    double.extend(atoms)
    double.positions[count:] += cell[0]
    double.set_cell([cell[0] + cell[1], cell[1] - cell[0], cell[2]])
    outermost, senses = [0, count, count - 1, 2 * count - 1], np.array([1.0, -1.0, 1.0, -1.0])
    double.positions[outermost] += zigzag * senses[:, None] * double.cell.array[0] / double.cell.lengths()[0]
    if noise > 0:
        kicks = np.random.default_rng(seed).uniform(-1, 1, size=(len(outermost), 2))
        double.positions[outermost, :2] += noise * kicks / np.linalg.norm(kicks, axis=1).max()
    double.wrap(eps=1e-6)
    return double


def run(inputs: SurfaceInputs, calculator: BaseCalculator, report: Report) -> Outcome[SurfaceResult]:
    """Relax two slabs of each surface, and the c(2x2) cells."""
    a = lattice_constant_of(inputs, calculator)
    bulk = crystal_energy(inputs, a, calculator)
    surfaces, structures = {}, []
    for index, miller in enumerate(inputs.surfaces):
        report("surfaces", index, len(inputs.surfaces))
        job = _SurfaceJob(inputs, miller, a, bulk, calculator, report)
        surfaces[miller] = job.surface()
        structures += job.structures
    neighbour = nearest_neighbour(inputs.element, inputs.structure, a)
    result = SurfaceResult(
        lattice_constant=a,
        bulk_energy=bulk,
        surfaces=surfaces,
        flags=tuple(flag for name, surface in surfaces.items() for flag in _flags(name, surface, neighbour)),
    )
    return Outcome(result, _quantities(surfaces), tuple(structures))


@dataclass
class _SurfaceJob:
    """The slabs of one surface."""

    inputs: SurfaceInputs
    miller: str
    a: float
    bulk: float
    calculator: BaseCalculator
    report: Report
    structures: list[Atoms] = field(default_factory=list)

    @property
    def layers(self) -> Layers:
        """How the crystal is stacked."""
        return layers_of(self.inputs.structure, miller_indices(self.miller))

    @property
    def area(self) -> float:
        """Area of the cell of a layer [Å^2]."""
        return self.layers.area * self.a**2

    def surface(self) -> Surface:
        thin_count, thick_count = (self.layers.count(self.a, t) for t in self.inputs.thicknesses)
        thick_count = max(thick_count, thin_count + 1)
        thin_start, thick_start = self._slab(thin_count), self._slab(thick_count)
        thin = self._relaxed("thin", thin_start, thin_start)
        guess = thick_start.copy()
        guess.positions += _carried(_displacements(thin_start, thin), thick_count)
        thick = self._relaxed("thick", thick_start, guess)
        self._keep_structure(thick_start, thick, "")
        gap = abs(thick.positions[-1][2] - thick.positions[-2][2])
        spacing = self.layers.spacing * self.a
        return Surface(
            energy=self._energy(thick.energy, thick_count),
            unrelaxed=self._energy(thick.unrelaxed, thick_count),
            thin=self._energy(thin.energy, thin_count),
            layers=(thin_count, thick_count),
            area=self.area,
            spacing=spacing,
            slope=(thick.energy - thin.energy) / (thick_count - thin_count) - self.bulk,
            first_spacing=gap / spacing - 1,
            max_displacement=max(thin.max_displacement, thick.max_displacement),
            fmax=max(thin.fmax, thick.fmax),
            converged=thin.converged and thick.converged,
            reconstruction=self._reconstruction(thin) if self.miller in self.inputs.reconstructions else None,
        )

    def _reconstruction(self, thin: SlabEnergy) -> Reconstruction:
        sites = self._slab(thin.layers)
        start = sites.copy()
        start.positions += _displacements(sites, thin)
        inputs = self.inputs
        begin = c2x2(start, zigzag=inputs.zigzag, noise=inputs.noise, seed=inputs.seed)
        relaxed = self._relaxed("c2x2", c2x2(sites), begin)
        self._keep_structure(c2x2(sites), relaxed, "_c2x2")
        plain, energy = self._energy(thin.energy, thin.layers), self._energy(relaxed.energy / 2, thin.layers)
        return Reconstruction(
            atoms=relaxed.atoms,
            energy=energy,
            gain=plain - energy,
            lateral=relaxed.lateral,
            reconstructs=plain - energy > MIN_RECONSTRUCTION * abs(plain),
            converged=relaxed.converged,
        )

    def _slab(self, count: int) -> Atoms:
        inputs = self.inputs
        return surface_slab(inputs.element, inputs.structure, self.a, self.miller, count, vacuum=inputs.vacuum)

    def _relaxed(self, name: str, sites: Atoms, start: Atoms) -> SlabEnergy:
        stage = f"{self.miller} {name}"
        kept: Mapping[str, Any] = self.report.keep(stage, lambda: self._relax(stage, sites, start))
        return SlabEnergy.model_validate(kept)

    def _relax(self, stage: str, sites: Atoms, start: Atoms) -> dict[str, Any]:
        atoms = sites.copy()
        atoms.calc = self.calculator
        unrelaxed = float(atoms.get_potential_energy(force_consistent=True))
        atoms.positions = start.positions
        watch, inputs = _Watch(sites, self.a), self.inputs
        relaxation = relax(
            atoms,
            fmax=inputs.fmax,
            max_steps=inputs.max_steps,
            report=self.report,
            stage=stage,
            keep=f"{stage} positions",
            stop=watch,
        )
        if relaxation.stopped and watch.positions is not None:
            atoms.positions = watch.positions
        moved = _moved(sites, atoms.positions)
        return SlabEnergy(
            layers=len(np.unique(np.round(sites.positions[:, 2], 6))),
            atoms=len(atoms),
            unrelaxed=unrelaxed,
            energy=float(atoms.get_potential_energy(force_consistent=True)),
            positions=tuple((float(x), float(y), float(z)) for x, y, z in atoms.positions),
            max_displacement=float(np.linalg.norm(moved, axis=1).max()),
            lateral=float(np.linalg.norm(moved[:, :2], axis=1).max()),
            fmax=largest_force(atoms),
            steps=relaxation.steps,
            converged=relaxation.converged,
        ).model_dump(mode="json")

    def _energy(self, energy: float, count: int) -> float:
        """Return the surface energy [J/m^2] of a slab of ``count`` atoms in the primitive cell of the surface."""
        return (energy - count * self.bulk) / (2 * self.area) * EV_PER_ANGSTROM2_IN_J_PER_M2

    def _keep_structure(self, sites: Atoms, relaxed: SlabEnergy, suffix: str) -> None:
        atoms = sites.copy()
        atoms.positions = np.array(relaxed.positions)
        atoms.info[CONFIG_TYPE] = f"surface_{self.miller.replace(' ', '_')}{suffix}"
        self.structures.append(atoms)


class _Watch:
    """Tells a relaxation to stop where atoms leave their sites for good; keeps the last sound positions."""

    def __init__(self, sites: Atoms, limit: float) -> None:
        self._sites, self._limit = sites, limit
        self.positions: NDArray[np.float64] | None = None

    def __call__(self, atoms: Atoms) -> bool:
        """Return whether to stop."""
        if not np.isfinite(atoms.get_forces()).all():
            return True
        self.positions = atoms.positions.copy()
        return bool(np.linalg.norm(_moved(self._sites, self.positions), axis=1).max() > self._limit)


def _moved(sites: Atoms, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the displacements from the sites [Å], without a shift of the whole slab; shape (n, 3)."""
    moved, _ = find_mic(positions - sites.positions, sites.cell, sites.pbc)
    return np.asarray(moved - moved.mean(axis=0))


def _displacements(sites: Atoms, relaxed: SlabEnergy) -> NDArray[np.float64]:
    return np.asarray(np.array(relaxed.positions) - sites.positions)


def _carried(moved: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the displacements of a thin slab as those of one of ``count`` layers: near both surfaces the same."""
    half = len(moved) // 2
    carried = np.zeros((count, 3))
    carried[:half], carried[count - half :] = moved[:half], moved[len(moved) - half :]
    return carried


def _flags(name: str, surface: Surface, neighbour: float) -> list[Flag]:
    found, change = surface.reconstruction, abs(surface.energy - surface.thin)
    checks: Sequence[tuple[str, bool, bool, str]] = (
        ("not_converged", not surface.converged or (found is not None and not found.converged), True,
         f"the largest force is {surface.fmax:.3f} eV/Å in the primitive cell"
         + ("" if found is None or found.converged else ", and the c(2x2) cell is not relaxed")),
        ("atoms_lost", surface.max_displacement > MAX_DISPLACEMENT * neighbour, True,
         f"an atom moved by {surface.max_displacement:.2f} Å: this is no longer the surface that was asked for"),
        ("negative_energy", surface.energy <= 0, True,
         f"the surface energy is {surface.energy:.3f} J/m^2: the crystal falls apart by itself"),
        ("thickness_dependent", change > MAX_THICKNESS_CHANGE * abs(surface.energy), False,
         f"{surface.thin:.4f} J/m^2 with {surface.layers[0]} layers and {surface.energy:.4f} with "
         f"{surface.layers[1]}; an additional layer costs {1e3 * surface.slope:+.1f} meV more than the crystal"),
        ("reconstructs", found is not None and found.reconstructs, False,
         "the surface gains " + (f"{1e3 * found.gain:.0f} mJ/m^2 in a c(2x2) cell, where atoms move by "
         f"{found.lateral:.2f} Å along it" if found else "")),
    )  # fmt: skip
    return [
        Flag(name=flag, message=f"({name}): {message}", unusable=unusable)
        for flag, raised, unusable, message in checks
        if raised
    ]


def _quantities(surfaces: Mapping[str, Surface]) -> tuple[Quantity, ...]:
    return tuple(
        Quantity(key=f"surface_{name.replace(' ', '_')}", value=surface.energy, unit="J/m^2", label=f"γ ({name})")
        for name, surface in surfaces.items()
    )


PROPERTY = Property(
    name="surface",
    summary="Relaxed and unrelaxed surface energies of a cubic metal in two thicknesses, and their reconstruction.",
    inputs=SurfaceInputs,
    result=SurfaceResult,
    run=run,
    conformance={"element": "W", "surfaces": ["110", "001"], "reconstructions": [], "thicknesses": [10.0, 14.0]},
)
