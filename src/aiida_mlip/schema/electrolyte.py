"""Settings of ``mlip.electrolyte``: what is in the boxes, at which conditions, for how long, and what is asked."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from aiida_mlip.schema.boxes import BoxSettings
from aiida_mlip.schema.dynamics import NPT, Bussi, StopRules
from aiida_mlip.schema.potential import Device, Dtype
from aiida_mlip.science.models import StrictModel

Kelvin = Annotated[float, Field(gt=0)]


class VolumeScanSettings(StrictModel):
    """Energy against volume with rigid molecules."""

    densities: tuple[float, ...] = Field(
        default=(0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.25, 2.5),
        min_length=5,
        description="[g/cm^3], ascending",
    )
    configurations: int = Field(default=1, ge=1, description="boxes that are scanned")


class DimerSettings(StrictModel):
    """Energy of pairs of molecules against the distance that they are moved apart."""

    pairs: int = Field(
        default=2, ge=0, description="pairs of neighbours taken from the boxes, of different kinds first"
    )
    shifts: tuple[float, ...] = Field(
        default=(-1.5, -1.2, -0.9, -0.6, -0.4, -0.2, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
        description="[Å] along the line of centres",
    )
    min_contact: float = Field(
        default=1.2,
        gt=0,
        description="shifts that bring atoms of the two nearer than this multiple of their covalent radii are left out",
    )


class ForceTestSettings(StrictModel):
    """Tests of energies and forces that need no dynamics."""

    configurations: int = Field(default=10, ge=0, description="labelled configurations that are decomposed")
    volume_scan: VolumeScanSettings | None = Field(default_factory=VolumeScanSettings)
    dimers: DimerSettings | None = Field(default_factory=DimerSettings)
    max_inter_relative: float = Field(
        default=0.3, gt=0, description="limit of RMSE/std of intermolecular energies and forces; proposal"
    )
    max_depth_error: float = Field(default=0.15, gt=0, description="of the well of the volume scan, relative")
    max_position_error: float = Field(default=0.05, gt=0, description="of the well in density, relative")
    max_free_molecule_error: float = Field(
        default=0.010, gt=0, description="low-density limit of the volume scan [eV/molecule]"
    )
    wall_density: float = Field(
        default=1.5, gt=0, description="from here on the energy of the volume scan must rise [g/cm^3]"
    )
    max_stress_error: float = Field(
        default=0.1, gt=0, description="of the slope of the volume scan from stresses against that from energies"
    )
    max_net_force: float = Field(
        default=0.01, gt=0, description="on a molecule in vacuum [eV/Å], and net torque on it [eV]; both must vanish"
    )
    seed: int = Field(default=1, ge=0, description="of the choice of the configurations")


class DynamicsSettings(StrictModel):
    """Conditions and lengths of the molecular dynamics."""

    temperatures: tuple[Kelvin, ...] = Field(default=(300.0, 500.0), description="the first is the target [K]")
    pressures: tuple[float, ...] = Field(default=(1.0e-4,), description="the first is the target [GPa]; 1 bar is 1e-4")
    walkers: int = Field(default=1, ge=1, description="trajectories with different seeds for each condition")
    seed: int = Field(default=1, ge=0)
    timestep: float = Field(default=1.0, gt=0, le=2, description="[fs]")
    nvt_steps: int = Field(default=2000, ge=0, description="at constant volume, from the box")
    npt_steps: int = Field(default=150_000, ge=0, description="at constant pressure, from the end of the first part")
    nve_steps: int = Field(default=5000, ge=0, description="at constant energy, from the end of the first part")
    nvt: Bussi = Field(default_factory=Bussi)
    npt: NPT = Field(default_factory=NPT)
    stop: StopRules = Field(default_factory=StopRules)
    stride: int = Field(default=10, gt=0, description="steps between frames that are analysed")
    log_stride: int = Field(default=5, gt=0)
    keep_stride: int = Field(default=20, gt=0, description="every so many frames one is retrieved")
    checkpoint_stride: int = Field(default=200, gt=0)

    @model_validator(mode="after")
    def _something_runs(self) -> DynamicsSettings:
        if self.nvt_steps + self.npt_steps + self.nve_steps and not self.temperatures:
            raise ValueError("temperatures is empty: give at least one, or set all steps to 0 for force tests only")
        return self


class ElectrolyteSettings(StrictModel):
    """Everything that is asked of the potentials."""

    boxes: dict[str, BoxSettings] = Field(default_factory=dict, description="name -> box that is packed")
    dynamics: DynamicsSettings = Field(default_factory=DynamicsSettings)
    force_tests: ForceTestSettings | None = Field(default_factory=ForceTestSettings)
    checks: dict[str, dict[str, Any]] = Field(default_factory=dict, description="limits that differ from defaults")
    equilibration: float = Field(default=0.2, ge=0, lt=1)
    min_time_ps: float = Field(default=150.0, gt=0, description="length of a run that can pass (CAMMLS 2025) [ps]")
    min_molecules: int = Field(default=48, gt=0, description="molecules of a box that can pass; proposal")
    reference_densities: dict[str, float] = Field(
        default_factory=dict, description="box -> density to compare with [g/cm^3]; accuracy, never stability"
    )


class RuntimeSettings(StrictModel):
    """How the potentials are run; the conditions are in :class:`DynamicsSettings`."""

    device: Device = "cpu"
    dtype: Dtype = "float64"
    head: str | None = Field(default=None, description="of all potentials; None: each potential's own")
