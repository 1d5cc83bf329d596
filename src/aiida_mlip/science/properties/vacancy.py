"""Formation energy of a vacancy at constant volume, with its dependence on the size of the cell."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from pydantic import Field, field_validator

from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.properties._base import Flag, Outcome, Property, Quantity, Report
from aiida_mlip.science.properties._bulk import CrystalInputs
from aiida_mlip.science.properties._crystals import Structure, cubic_cell
from aiida_mlip.science.properties._point_defects import (
    DefectInCell,
    DefectResult,
    Host,
    convergence_flags,
    displacements,
    embed,
    extrapolate,
    formation_energy,
    host,
    in_cell,
    shaken,
)
from aiida_mlip.science.properties._relax import relax

MAX_DISPLACEMENT = 0.25
"""Displacement, as a fraction of the nearest-neighbour distance, from which an atom may have left its site."""


class VacancyInputs(CrystalInputs):
    """Inputs of ``vacancy``."""

    sizes: tuple[int, ...] = Field(
        default=(3, 4), min_length=1, description="cubic cells along each edge; with two or more it is extrapolated"
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


class VacancyInCell(DefectInCell):
    """A vacancy in one size of the cell."""

    unrelaxed: float = Field(description="formation energy with the atoms where the relaxation started [eV]")
    max_displacement: float = Field(description="largest displacement from a bulk site [Å]")


class VacancyResult(DefectResult):
    """Result of ``vacancy``."""

    formation_energy: float = Field(description="of the largest cell, constant volume, relaxed [eV]")
    corrected: float = Field(description="of the largest cell, at zero pressure in linear elasticity [eV]")
    extrapolated: float | None = Field(
        description="of an infinite cell [eV], linear in 1 / volume through the two largest; None for one size"
    )
    relaxation_volume: float = Field(
        description="of the largest cell, in atomic volumes; negative: the crystal shrinks"
    )
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
        atoms.positions = shaken(atoms, noise, seed)
    return atoms


def run(inputs: VacancyInputs, calculator: BaseCalculator, report: Report) -> Outcome[VacancyResult]:
    """Relax a vacancy in each size of the cell; a larger cell starts from the displacements of the smaller one."""
    crystal = host(inputs, calculator, report)
    cells: list[VacancyInCell] = []
    structures: list[Atoms] = []
    for size in inputs.sizes:
        start = _start(inputs, size, crystal.bulk.a, structures[-1] if structures else None)
        cell, atoms = _in_cell(inputs, start, crystal, calculator, report)
        cells.append(cell)
        structures.append(atoms)
    result = VacancyResult(
        formation_energy=cells[-1].formation_energy,
        corrected=cells[-1].corrected,
        extrapolated=extrapolate(cells[-2], cells[-1]) if len(cells) > 1 else None,
        relaxation_volume=cells[-1].relaxation_volume,
        cells=tuple(cells),
        flags=tuple(_flags(crystal, cells)),
        **crystal.summary(),
    )
    return Outcome(result, _quantities(result), tuple(structures))


def _start(inputs: VacancyInputs, size: int, a: float, smaller: Atoms | None) -> Atoms:
    """Return the vacancy before its relaxation; ``smaller`` is a relaxed one in a smaller cell, or None."""
    start = vacancy_cell(inputs.element, inputs.structure, a, size)
    if smaller is not None:
        edge = round(smaller.cell.lengths()[0] / a)
        ideal = vacancy_cell(inputs.element, inputs.structure, a, edge)
        start.positions = embed(ideal, smaller, start, (np.zeros(3), np.zeros(3)))
    start.positions = shaken(start, inputs.noise, inputs.seed)
    return start


def _in_cell(
    inputs: VacancyInputs, start: Atoms, crystal: Host, calculator: BaseCalculator, report: Report
) -> tuple[VacancyInCell, Atoms]:
    """Return the relaxed vacancy in the cell of ``start``; what it gives is kept, with its positions."""
    size = round(start.cell.lengths()[0] / crystal.bulk.a)
    stage = f"{size}x{size}x{size}"
    sites = vacancy_cell(inputs.element, inputs.structure, crystal.bulk.a, size)

    def make() -> dict[str, object]:
        atoms = start.copy()
        atoms.calc = calculator
        unrelaxed = formation_energy(atoms, crystal.bulk)
        relaxation = relax(
            atoms, fmax=inputs.fmax, max_steps=inputs.max_steps, report=report, stage=stage, keep=f"{stage} so far"
        )
        numbers = in_cell(atoms, size, len(atoms) + 1, crystal, relaxation).model_dump()
        moved = float(np.linalg.norm(displacements(sites, atoms), axis=1).max())
        return {
            "cell": {**numbers, "unrelaxed": unrelaxed, "max_displacement": moved},
            "positions": atoms.positions.tolist(),
        }

    kept = report.keep(stage, make)
    atoms = sites.copy()
    atoms.positions = kept["positions"]
    atoms.info = {CONFIG_TYPE: f"vacancy_{stage}"}
    return VacancyInCell.model_validate(kept["cell"]), atoms


def _flags(crystal: Host, cells: list[VacancyInCell]) -> list[Flag]:
    flags = convergence_flags(cells)
    for cell in cells:
        if cell.max_displacement > MAX_DISPLACEMENT * crystal.neighbour:
            message = (
                f"in {cell.size}x{cell.size}x{cell.size} cells: an atom moved by {cell.max_displacement:.2f} Å: this "
                "is no longer a plain vacancy"
            )
            flags.append(Flag(name="left_sites", message=message))
    last = cells[-1].formation_energy
    if last < 0:
        flags.append(Flag(name="negative_energy", message=f"E_f = {last:.3f} eV: vacancies form by themselves"))
    return flags


def _quantities(result: VacancyResult) -> tuple[Quantity, ...]:
    """Name the numbers; ``vacancy_formation`` is the one at constant volume, as in the reference data."""
    rows = [
        ("vacancy_formation", result.formation_energy, "eV", "E_f (vacancy)"),
        ("vacancy_formation_corrected", result.corrected, "eV", "E_f (vacancy, zero pressure)"),
        ("vacancy_relaxation_volume", result.relaxation_volume, "atomic volumes", "ΔV (vacancy)"),
    ]
    if result.extrapolated is not None:
        rows.append(("vacancy_formation_extrapolated", result.extrapolated, "eV", "E_f (vacancy, extrapolated)"))
    return tuple(Quantity(key=key, value=value, unit=unit, label=label) for key, value, unit, label in rows)


PROPERTY = Property(
    name="vacancy",
    summary="Formation energy of a vacancy at constant volume, in one or more sizes of the cell.",
    inputs=VacancyInputs,
    result=VacancyResult,
    run=run,
    conformance={"element": "Cu", "structure": "fcc", "sizes": [2]},
)
