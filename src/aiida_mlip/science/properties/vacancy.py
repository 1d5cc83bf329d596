"""Formation energy of a vacancy at constant volume, with its dependence on the size of the cell."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.geometry import find_mic
from pydantic import Field, field_validator

from aiida_mlip.science.keys import CONFIG_TYPE, EV_PER_ANGSTROM3_IN_GPA
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import Flag, Outcome, Property, PropertyResult, Quantity, Report
from aiida_mlip.science.properties._bulk import BulkState, CrystalInputs, bulk_state, pressure
from aiida_mlip.science.properties._crystals import Structure, cubic_cell
from aiida_mlip.science.properties._relax import relax

MAX_SIZE_CHANGE = 0.02
"""Change of the formation energy between the two largest cells [eV] that is flagged."""

MAX_DISPLACEMENT = 0.25
"""Displacement, as a fraction of the nearest-neighbour distance, from which an atom may have left its site."""


class VacancyInputs(CrystalInputs):
    """Inputs of ``vacancy``."""

    sizes: tuple[int, ...] = Field(
        default=(3,), min_length=1, description="cubic cells along each edge; with two or more it is extrapolated"
    )
    fmax: float = Field(default=0.01, gt=0, description="largest force on an atom that counts as relaxed [eV/Å]")
    max_steps: int = Field(default=200, gt=0, description="steps of the relaxation")
    noise: float = Field(
        default=0.005, ge=0, description="standard deviation of the initial displacements [Å]; breaks the symmetry"
    )
    seed: int = Field(default=1, ge=0, description="of the initial displacements")

    @field_validator("sizes")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(size < 2 for size in value) or len(set(value)) != len(value):
            raise ValueError("need different sizes of at least 2: a vacancy must not be its own neighbour")
        return tuple(sorted(value))


class VacancyInCell(StrictModel):
    """A vacancy in one size of the cell."""

    size: int = Field(description="cubic cells along each edge")
    atoms: int = Field(description="atoms in the cell with the vacancy")
    formation_energy: float = Field(description="at constant volume, relaxed [eV]")
    unrelaxed: float = Field(description="the same with the atoms on their (slightly displaced) bulk sites [eV]")
    corrected: float = Field(description="at zero pressure in linear elasticity: minus P^2 V / 2B [eV]")
    pressure: float = Field(description="of the relaxed cell at constant volume [GPa]")
    relaxation_volume: float = Field(description="P V / B, in atomic volumes")
    max_displacement: float = Field(description="largest displacement from a bulk site [Å]")
    fmax: float = Field(description="largest force at the end [eV/Å]")
    steps: int = Field(description="steps of the relaxation")
    converged: bool = Field(description="whether the forces are below the limit")


class VacancyResult(PropertyResult):
    """Result of ``vacancy``."""

    formation_energy: float = Field(description="of the largest cell, constant volume, relaxed [eV]")
    corrected: float = Field(description="of the largest cell, at zero pressure in linear elasticity [eV]")
    extrapolated: float | None = Field(
        description="of an infinite cell [eV], linear in 1 / volume through the two largest; None for one size"
    )
    bulk_energy: float = Field(description="per atom of the crystal [eV]")
    bulk_modulus: float = Field(description="used in the correction, from the pressure at +-1 % in a [GPa]")
    lattice_constant: float = Field(description="of the cubic cell [Å]")
    cells: tuple[VacancyInCell, ...] = Field(description="ascending size")


def vacancy_cell(
    element: str, structure: Structure, a: float, size: int, *, noise: float = 0.0, seed: int = 1
) -> Atoms:
    """Return a cube of ``size`` cubic cells along each edge with its first atom removed.

    :param noise: standard deviation of the displacements of all atoms [Å].
    """
    atoms = cubic_cell(element, structure, a) * (size, size, size)
    del atoms[0]
    if noise > 0:
        atoms.positions += np.random.default_rng(seed).normal(scale=noise, size=atoms.positions.shape)
    return atoms


def run(inputs: VacancyInputs, calculator: BaseCalculator, report: Report) -> Outcome[VacancyResult]:
    """Relax a vacancy in each size of the cell."""
    bulk = bulk_state(inputs, calculator)
    relaxed = [_in_cell(inputs, size, bulk, calculator, report) for size in inputs.sizes]
    cells = [cell for cell, _ in relaxed]
    result = VacancyResult(
        formation_energy=cells[-1].formation_energy,
        corrected=cells[-1].corrected,
        extrapolated=extrapolate(cells[-2], cells[-1]) if len(cells) > 1 else None,
        bulk_energy=bulk.energy,
        bulk_modulus=bulk.modulus * EV_PER_ANGSTROM3_IN_GPA,
        lattice_constant=bulk.a,
        cells=tuple(cells),
        flags=tuple(_flags(inputs, bulk.a, cells)),
    )
    quantity = Quantity(key="vacancy_formation", value=result.formation_energy, unit="eV", label="E_f (vacancy)")
    return Outcome(result, (quantity,), tuple(atoms for _, atoms in relaxed))


def extrapolate(small: VacancyInCell, large: VacancyInCell) -> float:
    """Return the formation energy of an infinite cell [eV]: the elastic energy of the images falls as 1 / volume."""
    ratio = (small.size / large.size) ** 3
    return (large.formation_energy - ratio * small.formation_energy) / (1 - ratio)


def _in_cell(
    inputs: VacancyInputs, size: int, bulk: BulkState, calculator: BaseCalculator, report: Report
) -> tuple[VacancyInCell, Atoms]:
    sites = vacancy_cell(inputs.element, inputs.structure, bulk.a, size)
    atoms = vacancy_cell(inputs.element, inputs.structure, bulk.a, size, noise=inputs.noise, seed=inputs.seed)
    atoms.calc = calculator
    unrelaxed = _formation_energy(atoms, bulk)
    stage = f"{size}x{size}x{size}"
    relaxation = relax(atoms, fmax=inputs.fmax, max_steps=inputs.max_steps, report=report, stage=stage)
    energy, volume, p = _formation_energy(atoms, bulk), float(atoms.get_volume()), pressure(atoms)
    cell = VacancyInCell(
        size=size,
        atoms=len(atoms),
        formation_energy=energy,
        unrelaxed=unrelaxed,
        corrected=energy - p**2 * volume / (2 * bulk.modulus),
        pressure=p * EV_PER_ANGSTROM3_IN_GPA,
        relaxation_volume=p / bulk.modulus * (len(atoms) + 1),
        max_displacement=_largest_displacement(sites, atoms),
        fmax=relaxation.fmax,
        steps=relaxation.steps,
        converged=relaxation.converged,
    )
    atoms.calc = None
    atoms.info = {CONFIG_TYPE: f"vacancy_{stage}"}
    return cell, atoms


def _formation_energy(atoms: Atoms, bulk: BulkState) -> float:
    return float(atoms.get_potential_energy(force_consistent=True)) - len(atoms) * bulk.energy


def _largest_displacement(before: Atoms, after: Atoms) -> float:
    """Return the largest displacement [Å], not counting a shift of the whole cell."""
    shift, _ = find_mic(after.positions - before.positions, after.cell, after.pbc)
    return float(np.linalg.norm(shift - shift.mean(axis=0), axis=1).max())


def _flags(inputs: VacancyInputs, a: float, cells: list[VacancyInCell]) -> list[Flag]:
    bulk = cubic_cell(inputs.element, inputs.structure, a) * (2, 2, 2)
    neighbour = float(np.min(bulk.get_distances(0, range(1, len(bulk)), mic=True)))
    flags = []
    for cell in cells:
        where = f"{cell.size}x{cell.size}x{cell.size}"
        if not cell.converged:
            message = f"{where}: the largest force is {cell.fmax:.3f} eV/Å after {cell.steps} steps"
            flags.append(Flag(name="not_converged", message=message, unusable=True))
        if cell.max_displacement > MAX_DISPLACEMENT * neighbour:
            message = f"{where}: an atom moved by {cell.max_displacement:.2f} Å: this is no longer a plain vacancy"
            flags.append(Flag(name="left_sites", message=message))
    last = cells[-1].formation_energy
    if last < 0:
        flags.append(Flag(name="negative_energy", message=f"E_f = {last:.3f} eV: vacancies form by themselves"))
    if len(cells) > 1 and abs(last - cells[-2].formation_energy) > MAX_SIZE_CHANGE:
        change = 1e3 * (last - cells[-2].formation_energy)
        flags.append(
            Flag(name="size_dependent", message=f"E_f changes by {change:+.0f} meV between the two largest cells")
        )
    return flags


PROPERTY = Property(
    name="vacancy",
    summary="Formation energy of a vacancy at constant volume, in one or more sizes of the cell.",
    inputs=VacancyInputs,
    result=VacancyResult,
    run=run,
    conformance={"element": "Cu", "structure": "fcc", "sizes": [2]},
)
