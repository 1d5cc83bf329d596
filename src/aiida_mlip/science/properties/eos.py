"""Equation of state: lattice constant and bulk modulus of one or more phases, and their energy differences."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.calculators.calculator import BaseCalculator
from pydantic import Field, field_validator, model_validator
from scipy.signal import find_peaks

from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import (
    Flag,
    Outcome,
    Property,
    PropertyError,
    PropertyResult,
    Quantity,
    Report,
    Series,
)
from aiida_mlip.science.properties._bulk import (
    CrystalInputs,
    energies_per_atom,
    equation_of_state,
    relaxed_lattice_constant,
    volume_of,
)
from aiida_mlip.science.properties._crystals import Structure, lattice_constant_from_volume, primitive_cell

MAX_RESIDUAL = 2e-3
"""Deviation of the fit [eV/atom] above which it is flagged."""

MAX_VOLUME_MISMATCH = 0.005
"""Relative difference of the volumes at zero pressure and at the minimum of the energy that is flagged."""

MIN_DEPTH = 0.005
"""Depth of a further minimum of a curve [eV/atom] that is flagged."""

PUBLISHED_VOLUMES = tuple(round(12.0 + 0.3 * index, 1) for index in range(34))
"""12.0 to 21.9 Å^3/atom: the range in which the reference data compares the phases of W, Mo and Nb."""


class EosInputs(CrystalInputs):
    """Inputs of ``eos``; ``structure`` is the phase to which the energies of the others are referred."""

    phases: tuple[Structure, ...] = Field(default=(), description="further phases, e.g. ('fcc', 'A15')")
    span: float = Field(default=0.06, gt=0, le=0.3, description="the fit covers volumes within 1 +- span")
    points: int = Field(default=7, ge=5, description="volumes in the fit")
    volumes: tuple[float, ...] = Field(
        default=(), description="further volumes [Å^3/atom] of every phase, for a curve; they do not enter the fit"
    )

    @field_validator("volumes")
    @classmethod
    def _positive(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(volume <= 0 for volume in value):
            raise ValueError("a volume is not positive: give volumes per atom in Å^3")
        return value

    @model_validator(mode="after")
    def _distinct(self) -> EosInputs:
        if len({self.structure, *self.phases}) != 1 + len(self.phases):
            raise ValueError("phases: a phase is named twice, or is the structure itself: name each once")
        return self


class Phase(StrictModel):
    """The equation of state of one phase."""

    lattice_constant: float = Field(description="of the cubic cell at zero pressure [Å]")
    volume: float = Field(description="at the minimum of the fitted energy [Å^3/atom]")
    energy: float = Field(description="at the minimum of the fitted energy [eV/atom]")
    bulk_modulus: float = Field(description="at the minimum of the fitted energy [GPa]")
    bulk_modulus_derivative: float = Field(description="pressure derivative of the bulk modulus")
    residual: float = Field(description="root mean square deviation of the fit [eV/atom]")
    volumes: tuple[float, ...] = Field(description="where the energy was computed, ascending [Å^3/atom]")
    energies: tuple[float, ...] = Field(description="energies there [eV/atom]")


class EosResult(PropertyResult):
    """Result of ``eos``."""

    lattice_constant: float = Field(description="of the cubic cell of the first phase at zero pressure [Å]")
    bulk_modulus: float = Field(description="of the first phase [GPa]")
    phases: dict[str, Phase] = Field(description="the phases, by structure; without those that have no minimum")
    differences: dict[str, float] = Field(
        description="phase -> its energy minus the one of the first phase [eV/atom], each at its minimum"
    )


def run(inputs: EosInputs, calculator: BaseCalculator, report: Report) -> Outcome[EosResult]:
    """Compute the equation of state of each phase."""
    structures = (inputs.structure, *inputs.phases)
    phases: dict[str, Phase] = {}
    missing: list[Flag] = []
    for index, structure in enumerate(structures):
        report("phases", index, len(structures))
        try:
            phases[structure] = _kept(inputs, structure, calculator, report)
        except PropertyError as error:
            if structure == inputs.structure:
                raise
            missing.append(Flag(name="missing_phase", message=f"{structure}: {error}"))
    first = phases[inputs.structure]
    differences: dict[str, float] = {
        name: phases[name].energy - first.energy for name in inputs.phases if name in phases
    }
    result = EosResult(
        lattice_constant=first.lattice_constant,
        bulk_modulus=first.bulk_modulus,
        phases=phases,
        differences=differences,
        flags=(
            *(flag for name, phase in phases.items() for flag in _flags(name, phase)),
            *_order_flags(inputs.structure, differences),
            *missing,
        ),
    )
    cells = [primitive_cell(inputs.element, s, phases[s].lattice_constant) for s in structures if s in phases]
    series = tuple(_series(name, phase, first.energy) for name, phase in phases.items())
    return Outcome(result, _quantities(inputs.structure, result), tuple(cells), series)


def _kept(inputs: EosInputs, structure: Structure, calculator: BaseCalculator, report: Report) -> Phase:
    """Return the equation of state of one phase; one that an earlier job has finished is not computed again."""

    def compute() -> dict[str, Any]:
        return _phase(inputs, structure, calculator).model_dump(mode="json")

    return Phase.model_validate(report.keep(structure, compute))


def _series(name: str, phase: Phase, zero: float) -> Series:
    """Return the curve of a phase; its energies are relative to the minimum of the first phase."""
    return Series(
        key=f"eos_{name.upper()}",
        label=name,
        x=phase.volumes,
        y=tuple(energy - zero for energy in phase.energies),
        x_label="volume",
        x_unit="angstrom^3/atom",
        y_label="energy",
        y_unit="eV/atom",
    )


def _phase(inputs: EosInputs, structure: Structure, calculator: BaseCalculator) -> Phase:
    given = inputs.lattice_constant if structure == inputs.structure else None
    a = given or relaxed_lattice_constant(inputs.element, structure, calculator)
    fit = equation_of_state(inputs.element, structure, a, calculator, span=inputs.span, points=inputs.points)
    further = [
        primitive_cell(inputs.element, structure, lattice_constant_from_volume(structure, volume))
        for volume in inputs.volumes
    ]
    volumes = np.array([*fit.volumes, *inputs.volumes])
    energies = np.array([*fit.energies, *energies_per_atom(further, calculator)])
    order = np.argsort(volumes)
    return Phase(
        lattice_constant=a,
        volume=fit.volume,
        energy=fit.energy,
        bulk_modulus=fit.bulk_modulus,
        bulk_modulus_derivative=fit.derivative,
        residual=fit.residual,
        volumes=tuple(volumes[order].tolist()),
        energies=tuple(energies[order].tolist()),
    )


def _flags(name: str, phase: Phase) -> list[Flag]:
    flags = []
    if phase.residual > MAX_RESIDUAL:
        flags.append(
            Flag(name="poor_fit", message=f"{name}: the fit deviates by {1e3 * phase.residual:.1f} meV/atom (r.m.s.)")
        )
    volume = volume_of(name, phase.lattice_constant)  # type: ignore[arg-type]
    mismatch = abs(phase.volume / volume - 1)
    if mismatch > MAX_VOLUME_MISMATCH:
        flags.append(
            Flag(
                name="volume_mismatch",
                message=f"{name}: the energy is lowest at {phase.volume:.3f} Å^3/atom, but the lattice constant in use "
                f"means {volume:.3f}: stress and energy of the potential disagree, or it is not the potential's own",
            )
        )
    y = np.array(phase.energies)
    further = [k for k in find_peaks(-y, prominence=MIN_DEPTH)[0] if abs(phase.volumes[k] / phase.volume - 1) > 0.1]
    if further:
        where = ", ".join(f"{phase.volumes[k]:.1f}" for k in further)
        flags.append(
            Flag(
                name="further_minimum",
                message=f"{name}: the energy has a further minimum near {where} Å^3/atom, where the crystal would stay",
            )
        )
    return flags


def _order_flags(first: str, differences: dict[str, float]) -> tuple[Flag, ...]:
    return tuple(
        Flag(name="lower_phase", message=f"{name} is {-1e3 * value:.1f} meV/atom below {first}")
        for name, value in differences.items()
        if value < 0
    )


def _quantities(first: str, result: EosResult) -> tuple[Quantity, ...]:
    """Name the numbers; keys follow the reference data, where the phases are written in capitals."""
    base = (
        Quantity(key="lattice_constant", value=result.lattice_constant, unit="angstrom", label="a"),
        Quantity(key="bulk_modulus", value=result.bulk_modulus, unit="GPa", label="B"),
    )
    volumes = tuple(
        Quantity(key=f"volume_{name.upper()}", value=phase.volume, unit="angstrom^3/atom", label=f"V({name})")
        for name, phase in result.phases.items()
    )
    differences = tuple(
        Quantity(
            key=f"E_{name.upper()}_minus_{first.upper()}", value=value, unit="eV/atom", label=f"E({name}) - E({first})"
        )
        for name, value in result.differences.items()
    )
    return (*base, *volumes, *differences)


PROPERTY = Property(
    name="eos",
    summary="Birch-Murnaghan equation of state of cubic phases: lattice constant, bulk modulus, phase differences.",
    inputs=EosInputs,
    result=EosResult,
    run=run,
    conformance={"element": "Cu", "structure": "fcc", "phases": ["bcc"], "volumes": [10.0, 15.0]},
)
