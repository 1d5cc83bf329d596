"""Settings and results of molecular dynamics."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from ase.data import atomic_numbers
from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from aiida_mlip.schema.potential import Device, Dtype
from aiida_mlip.science.models import StrictModel

WALKERS_FOLDER = "walkers"
"""Folder of the job: for each walker a folder of its name with its trajectory, time series and checkpoint."""

WALKERS_FILE = "walkers.json"
"""How far each walker of the job is: name -> :class:`WalkerProgress`; written with every checkpoint."""

WALKER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
"""Names of walkers become names of outputs, in which AiiDA allows no two underscores in a row."""


def _around_one(window: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 <= window[0] < 1.0 < window[1]:
        raise ValueError("needs a lower limit from 0 to below 1 and an upper one above 1, e.g. (0.5, 2.0)")
    return window


DensityWindow = Annotated[tuple[float, float], AfterValidator(_around_one)]
"""Lower and upper limit in multiples of the first density, which itself is 1."""


class NVE(StrictModel):
    """Constant energy: velocity Verlet. Conditions give the temperature of the first velocities only."""

    kind: Literal["nve"] = "nve"


class Langevin(StrictModel):
    """Constant temperature by friction and noise; the centre of mass is held by a constraint."""

    kind: Literal["nvt_langevin"] = "nvt_langevin"
    friction: float = Field(default=0.01, gt=0, description="[1/fs]")


class Bussi(StrictModel):
    """Constant temperature by stochastic velocity rescaling."""

    kind: Literal["nvt_bussi"] = "nvt_bussi"
    time_constant: float = Field(default=100.0, gt=0, description="[fs]")


class NoseHoover(StrictModel):
    """Constant temperature by a Nosé-Hoover chain; deterministic."""

    kind: Literal["nvt_nose_hoover"] = "nvt_nose_hoover"
    time_constant: float = Field(default=100.0, gt=0, description="[fs]")
    chain_length: int = Field(default=3, ge=1)


class NPT(StrictModel):
    """Constant temperature and pressure by Martyna-Tobias-Klein chains."""

    kind: Literal["npt"] = "npt"
    temperature_time: float = Field(default=100.0, gt=0, description="time constant of the thermostat [fs]")
    pressure_time: float = Field(default=1000.0, gt=0, description="time constant of the barostat [fs]")
    isotropic: bool = Field(default=True, description="the cell keeps its shape, as for liquids")


Ensemble = Annotated[NVE | Langevin | Bussi | NoseHoover | NPT, Field(discriminator="kind")]


class Stage(StrictModel):
    """A part of a run; temperature and pressure go linearly from their start to their end."""

    steps: int = Field(gt=0)
    temperature: float = Field(gt=0, description="[K]")
    temperature_end: float | None = Field(default=None, gt=0, description="[K]; None: constant")
    pressure: float | None = Field(default=None, description="[GPa]; for constant pressure only")
    pressure_end: float | None = Field(default=None, description="[GPa]; None: constant")

    @model_validator(mode="after")
    def _pressure_has_a_start(self) -> Stage:
        if self.pressure_end is not None and self.pressure is None:
            raise ValueError(f"pressure_end = {self.pressure_end} without pressure: give the pressure at the start too")
        return self


class Walker(StrictModel):
    """One trajectory: where it starts, what it goes through, and its random numbers."""

    structure: int = Field(default=0, ge=0, description="index of its first configuration in `structures`")
    stages: tuple[Stage, ...] = Field(min_length=1)
    seed: int = Field(ge=0, description="of the first velocities and of the noise")


class StopRules(StrictModel):
    """What ends a walker; its frames before are kept. None: the rule is off. NaN and infinities always end it."""

    uncertainty: float | None = Field(default=None, gt=0, description="largest force uncertainty of an atom [eV/Å]")
    relative_uncertainty: float | None = Field(
        default=None, gt=0, description="largest force uncertainty over (force + relative_floor) of an atom"
    )
    relative_floor: float = Field(default=0.2, gt=0, description="[eV/Å]")
    temperature: float | None = Field(default=3.0, gt=1, description="multiple of the target temperature")
    distance: float | None = Field(default=0.5, gt=0, description="closest pair of atoms [Å]")
    bonds: float | None = Field(
        default=None, gt=1, description="a bond of the start is longer than this multiple of the sum of covalent radii"
    )
    ions: tuple[str, ...] = Field(
        default=("Li", "Na", "K", "Rb", "Cs"), description="elements whose contacts at the start are not bonds"
    )
    density: DensityWindow | None = Field(default=(0.5, 2.0), description="multiples of the first density")
    force: float | None = Field(default=None, gt=0, description="largest force on an atom [eV/Å]")

    @field_validator("ions")
    @classmethod
    def _ions_are_elements(cls, ions: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [symbol for symbol in ions if not atomic_numbers.get(symbol)]:
            raise ValueError(f"{', '.join(unknown)}: no chemical symbol; write e.g. 'Li'")
        return ions


StopRule = Literal[
    "uncertainty",
    "relative_uncertainty",
    "temperature",
    "distance",
    "bonds",
    "density",
    "force",
    "not_finite",
    "calculator_error",
]
"""What ended a walker; ``calculator_error``: the potential raised an exception."""


class Hal(StrictModel):
    """Hyperactive learning: the dynamics runs on E - tau sigma, so that it goes where the model is unsure.

    ``tau = tau_rel <|F|> / <|dsigma/dx|>``, averages over the last ``window`` steps; 0 during the first window.
    Source: van der Oord et al., npj Comput. Mater. 9, 168 (2023).
    """

    tau_rel: float = Field(default=0.2, gt=0, description="strength of the bias relative to the mean force")
    window: int = Field(default=100, ge=1, description="steps of the running averages, and of the delay")


class MDSettings(StrictModel):
    """What the dynamics of all walkers of a job has in common, and the walkers."""

    walkers: dict[str, Walker] = Field(min_length=1, description="name -> walker; names are identifiers")
    ensemble: Ensemble = Field(default_factory=Langevin)
    timestep: float = Field(default=1.0, gt=0, le=10, description="[fs]")
    stride: int = Field(default=10, gt=0, description="steps between two frames of the trajectory")
    log_stride: int = Field(default=10, gt=0, description="steps between two rows of the time series")
    keep_stride: int = Field(
        default=1,
        ge=1,
        description="every so many frames of the trajectory one is retrieved, besides first and last; all stay remote",
    )
    uncertainty_stride: int = Field(default=10, gt=0, description="steps between two force uncertainties")
    checkpoint_stride: int = Field(default=100, gt=0, description="steps between two states to restart from")
    velocities: bool = Field(default=False, description="keep velocities in the trajectory")
    stop: StopRules = Field(default_factory=StopRules)
    hal: Hal | None = None
    device: Device = "cpu"
    dtype: Dtype = "float64"
    head: str | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is younger than the model, where it changes nothing: such settings hash as they did."""
        values: dict[str, Any] = serialize(self)
        if self.keep_stride == 1:
            values.pop("keep_stride", None)
        return values

    @model_validator(mode="after")
    def _names_are_identifiers(self) -> MDSettings:
        for name in self.walkers:
            if not WALKER_NAME.fullmatch(name):
                raise ValueError(
                    f"walkers: {name!r} is no name of an output; use letters, digits and single underscores, "
                    "with a letter first, e.g. 't300_s0_w1'"
                )
        return self

    @model_validator(mode="after")
    def _walkers_differ(self) -> MDSettings:
        seen: dict[str, str] = {}
        for name, walker in self.walkers.items():
            first = seen.setdefault(walker.model_dump_json(), name)
            if first != name:
                raise ValueError(
                    f"walkers.{name} is the same run as walkers.{first}: give it another seed, or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _bias_has_a_thermostat(self) -> MDSettings:
        if self.hal is not None and self.ensemble.kind == "nve":
            raise ValueError(
                "hal with ensemble 'nve': the bias does work that nothing takes away, and the walker heats up without "
                "end; use an ensemble with a thermostat, e.g. 'nvt_langevin'"
            )
        return self

    @model_validator(mode="after")
    def _pressure_fits(self) -> MDSettings:
        constant_pressure = self.ensemble.kind == "npt"
        for name, walker in self.walkers.items():
            given = [stage.pressure is not None for stage in walker.stages]
            if constant_pressure and not all(given):
                raise ValueError(f"walkers.{name}: ensemble 'npt' needs a pressure [GPa] in every stage, e.g. 0.0001")
            if not constant_pressure and any(given):
                raise ValueError(f"walkers.{name}: a pressure has no effect with ensemble {self.ensemble.kind!r}")
        return self


class WalkerProgress(StrictModel):
    """How far a walker is, in all jobs so far."""

    steps: int = Field(ge=0)
    asked_steps: int = Field(gt=0)
    done: bool = False


class WalkerResult(StrictModel):
    """How one walker ended. ``stable_steps`` counts the steps before the rule that stopped it was broken."""

    structure: int
    formula: str
    steps: int = Field(ge=0, description="steps done, those of earlier jobs included")
    asked_steps: int = Field(gt=0)
    stable_steps: int = Field(ge=0)
    stopped_by: StopRule | None = Field(default=None, description="None: it ran to its end")
    message: str = Field(default="", description="the rule with its limit and the value that broke it")
    temperature: float = Field(description="target temperature where it ended [K]")
    pressure: float | None = Field(default=None, description="target pressure where it ended [GPa]")
    frames: int = Field(ge=0, description="frames in its trajectory")
    max_forces_sigma: float | None = Field(default=None, description="largest force uncertainty seen [eV/Å]")
    force_calls: int = Field(ge=0)
    seconds: float = Field(ge=0, description="wall time of its steps [s]")
