"""What tests of energies and forces without dynamics say: errors by part, volume scans, dimers, and checks of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiida_mlip.science.liquids.findings import CheckResult
from aiida_mlip.science.models import StrictModel

Part = Literal["total", "intra", "inter", "trans", "rot", "vib"]
PARTS: tuple[Part, ...] = ("total", "intra", "inter", "trans", "rot", "vib")
"""Intra and inter add up to the total, and so do translation, rotation and vibration of the molecules."""


class PartError(StrictModel):
    """Error of one part of energies, forces or virials against the reference."""

    part: Part
    quantity: Literal["energy", "forces", "virial"]
    rmse: float = Field(ge=0, description="of energies and virials in meV/atom, of force components in eV/Å")
    std: float = Field(ge=0, description="standard deviation of the reference, same unit")
    relative: float | None = Field(default=None, ge=0, description="rmse/std; None where the reference is constant")
    unit: Literal["meV/atom", "eV/angstrom"]
    count: int = Field(gt=0, description="numbers that were compared")


class Well(StrictModel):
    """Minimum of energy against density, interpolated."""

    density: float = Field(description="[g/cm^3]")
    depth: float = Field(description="below the isolated molecules, positive where bound [eV/molecule]")


class ScanResult(StrictModel):
    """Energy of one box against density, molecules rigid, zero at the isolated molecules."""

    name: str = Field(description="of the box; its curves are `scan_<name>_density|predicted|true`")
    molecules: int = Field(gt=0)
    predicted: Well | None = Field(default=None, description="None: there is no well")
    true: Well | None = None
    low_density: float | None = Field(default=None, description="predicted energy at the lowest density [eV/molecule]")
    low_density_true: float | None = None
    missing_predicted: int = Field(default=0, ge=0, description="densities without a predicted label")
    missing_true: int | None = Field(default=None, ge=0, description="None: there is no reference")


class DimerResult(StrictModel):
    """Energy of two molecules against the distance they are moved apart, zero at the molecules alone."""

    number: int = Field(ge=0, description="its curves are `dimer_<number>_shift|distance|contact|predicted|true`")
    kinds: tuple[str, str]
    formulas: tuple[str, str]
    hole: str = Field(default="", description="where molecules attract that should repel, in words; empty: nowhere")
    depth: float | None = Field(default=None, description="of the lowest point, positive where bound [eV]")
    depth_true: float | None = None
    rmse: float | None = Field(default=None, ge=0, description="against the reference, where that is below 0.5 eV [eV]")


class ForceTestResult(StrictModel):
    """All that the force tests say of one potential."""

    checks: tuple[CheckResult, ...] = ()
    errors: tuple[PartError, ...] = ()
    scans: tuple[ScanResult, ...] = ()
    dimers: tuple[DimerResult, ...] = ()
    level_of_theory: str = Field(default="none", description="of the reference; 'none': there is none")
    probes: int = Field(ge=0, description="configurations that were to be labelled")
    failed_predicted: int = Field(default=0, ge=0)
    failed_true: int | None = Field(default=None, ge=0, description="None: the reference labelled no probes")
    configurations: int = Field(default=0, ge=0, description="that were decomposed")
    with_ions: int = Field(default=0, ge=0, description="of these, with ions or radicals: alone they were neutral")
    sigma_correlation: float | None = Field(
        default=None, ge=-1, le=1, description="Spearman: largest force uncertainty of a frame, largest force error"
    )
    notes: tuple[str, ...] = Field(default=(), description="what could not be tested and why, in sentences")
