"""Barrier of the hop of a nearest neighbour into a vacancy: the symmetric midpoint first, a band where it is needed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.geometry import find_mic
from pydantic import Field, field_validator

from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.properties._base import Flag, Outcome, Property, Quantity, Report, Series
from aiida_mlip.science.properties._bulk import CrystalInputs
from aiida_mlip.science.properties._curvature import softest_mode
from aiida_mlip.science.properties._hop import nearest_hop
from aiida_mlip.science.properties._hop_path import Limits, Path, Setting, State, band_path, direct_path
from aiida_mlip.science.properties._images import count_humps
from aiida_mlip.science.properties._neb import interpolate
from aiida_mlip.science.properties._point_defects import DefectResult, formation_energy, host, shaken

MAX_END_DIFFERENCE = 1e-3
"""Difference of the energies before and after the hop [eV] that is flagged; symmetry makes it zero."""

MAX_PERPENDICULAR = 0.05
"""Force perpendicular to the path on an atom [eV/Å] that is flagged."""


class VacancyMigrationInputs(CrystalInputs):
    """Inputs of ``vacancy_migration``."""

    size: int = Field(default=4, ge=2, description="cubic cells along each edge")
    neb: Literal["never", "if_needed", "always"] = Field(
        default="if_needed",
        description="whether a band is computed; if_needed: unless the midpoint is a saddle, and the line to it lower",
    )
    images: int = Field(
        default=3, ge=1, description="inner images of the band between vacancy and midpoint; symmetry gives the rest"
    )
    fmax: float = Field(default=0.01, gt=0, description="largest force on an atom of a relaxed state [eV/Å]")
    neb_fmax: float = Field(default=0.04, gt=0, description="largest force on an atom of a converged band [eV/Å]")
    max_steps: int = Field(default=200, gt=0, description="steps of each relaxation, and iterations of the band")
    noise: float = Field(
        default=0.005, ge=0, description="standard deviation of the initial displacements [Å]; breaks the symmetry"
    )
    seed: int = Field(default=1, ge=0, description="of the initial displacements")

    @field_validator("structure")
    @classmethod
    def _lattice(cls, value: str) -> str:
        if value not in {"bcc", "fcc"}:
            raise ValueError("has no hop with a symmetric midpoint: choose bcc or fcc")
        return value


class VacancyMigrationResult(DefectResult):
    """Result of ``vacancy_migration``."""

    barrier: float = Field(description="highest energy of the path minus that of the vacancy, constant volume [eV]")
    barrier_corrected: float = Field(description="the same, each state at zero pressure in linear elasticity [eV]")
    barrier_midpoint: float = Field(description="energy of the relaxed symmetric midpoint minus the vacancy's [eV]")
    barrier_neb: float | None = Field(description="highest energy of the band minus the vacancy's [eV]; None: no band")
    curvature: float = Field(description="of the energy along the softest mode of the midpoint [eV/Å^2]")
    curvature_along_hop: float = Field(description="the same along the line from the beginning to the end [eV/Å^2]")
    midpoint: Literal["saddle", "minimum"] = Field(description="what the midpoint is along the hop")
    line_below: bool | None = Field(
        description="whether the straight line to the midpoint stays below it, so that no saddle is higher; "
        "None: not looked at"
    )
    humps: int = Field(description="maxima of the path")
    end_difference: float = Field(description="energy after the hop minus the energy before [eV]")
    perpendicular_force: float | None = Field(description="largest one on an atom of the band [eV/Å]; None: no band")
    size: int = Field(description="cubic cells along each edge")
    atoms: int = Field(description="atoms in the cell")
    hop_length: float = Field(description="between the two lattice sites [Å]")
    path: tuple[float, ...] = Field(description="from 0 to 1, in the space of all coordinates")
    energies: tuple[float, ...] = Field(description="along the path, relative to the vacancy [eV]")
    converged: bool = Field(description="whether all forces are below their limits")


def run(inputs: VacancyMigrationInputs, calculator: BaseCalculator, report: Report) -> Outcome[VacancyMigrationResult]:
    """Relax the vacancy and the symmetric midpoint, look at the midpoint's softest mode, and relax a band if needed."""
    crystal = host(inputs, calculator, report)
    hop = nearest_hop(inputs.element, inputs.structure, crystal.bulk.a, inputs.size)
    setting = Setting(calculator, report, crystal, hop, Limits(inputs.fmax, inputs.neb_fmax, inputs.max_steps))
    start = hop.sites.copy()
    start.positions = shaken(start, inputs.noise, inputs.seed)
    initial = setting.state("vacancy", start)
    final = setting.measured("after the hop", hop.final(initial.atoms), converged=initial.converged)
    middle = _midpoint(setting, initial.atoms, inputs)
    mode = report.keep("softest mode", lambda: _mode(setting, middle.atoms, initial.atoms, final.atoms))
    saddle = mode["curvature"] < 0
    below = None
    if saddle and inputs.neb == "if_needed":
        below = max(_line(setting, initial, middle, inputs.images)) < middle.energy
    if inputs.neb == "always" or (inputs.neb == "if_needed" and not below):
        path = band_path(setting, initial, middle, inputs.images, minimum=not saddle)
    else:
        path = direct_path(initial, middle)
    result = _assemble(setting, (initial, middle, final), path, mode, below)
    result = result.model_copy(update={"flags": tuple(_flags(result))})
    return Outcome(result, _quantities(result), _structures(initial, middle, path), (_series(result),))


def _midpoint(setting: Setting, initial: Atoms, inputs: VacancyMigrationInputs) -> State:
    """Relax the midpoint under the inversion, with noise that leaves the inversion as it is."""
    start = setting.hop.midpoint(initial)
    start.positions += setting.hop.even(shaken(start, inputs.noise, inputs.seed) - start.positions)
    return setting.state("midpoint", start, symmetric=True)


def _mode(setting: Setting, middle: Atoms, initial: Atoms, final: Atoms) -> dict[str, Any]:
    """Search the softest mode that the inversion reverses, from the line between beginning and end."""
    atoms = middle.copy()
    atoms.calc = setting.calculator
    line, _ = find_mic(final.positions - initial.positions, initial.cell, initial.pbc)
    mode = softest_mode(atoms, line, project=setting.hop.odd, report=setting.report, stage="softest mode")
    return {"curvature": mode.curvature, "along": mode.first}


def _line(setting: Setting, initial: State, middle: State, inner: int) -> list[float]:
    """Return the energies [eV] of unrelaxed points on the straight line from the vacancy to the midpoint."""

    def make() -> list[float]:
        energies = []
        for index, image in enumerate(interpolate(initial.atoms, middle.atoms, inner)[1:-1]):
            setting.report("line", index, inner)
            image.calc = setting.calculator
            energies.append(formation_energy(image, setting.crystal.bulk))
        return energies

    return [float(energy) for energy in setting.report.keep("line", make)]


def _assemble(
    setting: Setting,
    states: tuple[State, State, State],
    path: Path,
    mode: dict[str, Any],
    below: bool | None,
) -> VacancyMigrationResult:
    initial, middle, final = states
    mirrored = [1 - fraction for fraction in path.fractions[-2::-1]]
    energies = (*path.energies, *path.energies[-2::-1])
    band = path.perpendicular is not None
    values: dict[str, Any] = {
        "barrier": path.top.energy - initial.energy,
        "barrier_corrected": path.top.corrected - initial.corrected,
        "barrier_midpoint": middle.energy - initial.energy,
        "barrier_neb": max(path.energies) if band else None,
        "curvature": mode["curvature"],
        "curvature_along_hop": mode["along"],
        "midpoint": "saddle" if mode["curvature"] < 0 else "minimum",
        "line_below": below,
        "humps": count_humps(energies),
        "end_difference": final.energy - initial.energy,
        "perpendicular_force": path.perpendicular,
        "size": round(float(initial.atoms.cell.lengths()[0]) / setting.crystal.bulk.a),
        "atoms": len(initial.atoms),
        "hop_length": float(np.linalg.norm(setting.hop.vector)),
        "path": (*path.fractions, *mirrored),
        "energies": energies,
        "converged": initial.converged and middle.converged and path.converged,
    }
    return VacancyMigrationResult(**values, **setting.crystal.summary())


def _flags(result: VacancyMigrationResult) -> list[Flag]:
    flags = []
    if not result.converged:
        message = "the vacancy, the midpoint or the band is not relaxed: give more max_steps"
        flags.append(Flag(name="not_converged", message=message, unusable=True))
    if result.midpoint == "minimum":
        message = (
            f"the midpoint of the hop is a minimum: the curvature along its softest mode is {result.curvature:+.2f} "
            f"eV/Å^2, and it lies {1e3 * (result.barrier - result.barrier_midpoint):.1f} meV below the top of the path"
        )
        flags.append(Flag(name="midpoint_minimum", message=message, unusable=result.barrier_neb is None))
    if result.humps > 1:
        flags.append(Flag(name="several_humps", message=f"the path has {result.humps} maxima"))
    if abs(result.end_difference) > MAX_END_DIFFERENCE:
        message = (
            f"the energy after the hop differs from the one before by {1e3 * result.end_difference:+.1f} meV, though "
            "an inversion maps one on the other: the potential is not invariant"
        )
        flags.append(Flag(name="unequal_ends", message=message))
    if result.perpendicular_force is not None and result.perpendicular_force > MAX_PERPENDICULAR:
        message = f"the force perpendicular to the path is {result.perpendicular_force:.3f} eV/Å"
        flags.append(Flag(name="perpendicular_force", message=message))
    if result.barrier <= 0:
        message = f"the barrier is {result.barrier:.3f} eV: the vacancy is not where the path is lowest"
        flags.append(Flag(name="no_barrier", message=message, unusable=True))
    return flags


def _quantities(result: VacancyMigrationResult) -> tuple[Quantity, ...]:
    rows = (
        ("vacancy_migration", result.barrier, "E_m (vacancy)"),
        ("vacancy_migration_corrected", result.barrier_corrected, "E_m (vacancy, zero pressure)"),
    )
    return tuple(Quantity(key=key, value=value, unit="eV", label=label) for key, value, label in rows)


def _series(result: VacancyMigrationResult) -> Series:
    return Series(
        key="vacancy_migration_path",
        label="vacancy hop",
        x=result.path,
        y=result.energies,
        x_label="path length",
        x_unit="1",
        y_label="energy",
        y_unit="eV",
    )


def _structures(initial: State, middle: State, path: Path) -> tuple[Atoms, ...]:
    """Return vacancy, midpoint, and the highest state where it is another one."""
    named = [("vacancy", initial), ("vacancy_hop_midpoint", middle)]
    if path.top is not middle:
        named.append(("vacancy_hop_saddle", path.top))
    structures = []
    for name, state in named:
        atoms = state.atoms.copy()
        atoms.info = {CONFIG_TYPE: name}
        structures.append(atoms)
    return tuple(structures)


PROPERTY = Property(
    name="vacancy_migration",
    summary="Barrier of the hop of a nearest neighbour into a vacancy, from its symmetric midpoint and a band.",
    inputs=VacancyMigrationInputs,
    result=VacancyMigrationResult,
    run=run,
    conformance={"element": "Mo", "size": 3, "neb": "always"},
)
