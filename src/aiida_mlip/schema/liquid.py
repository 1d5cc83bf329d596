"""Settings and results of the checks of a liquid's trajectories."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from aiida_mlip.schema.dynamics import WALKER_NAME
from aiida_mlip.science.liquids import checks
from aiida_mlip.science.liquids.findings import CheckResult, Event, Species
from aiida_mlip.science.models import StrictModel, explain

FINDINGS_FOLDER = "findings"
"""Folder of the job: for each trajectory `<name>.json` (findings), `<name>.npz` (curves) and `<name>.xyz` (frames)."""

EnsembleName = Literal["nve", "nvt", "npt"]


class WalkerFacts(StrictModel):
    """What is to be known of one trajectory; the rest is in its frames."""

    structure: int = Field(default=0, ge=0, description="index in `structures` of its first configuration")
    ensemble: EnsembleName = "npt"
    temperature: float = Field(gt=0, description="target [K]; with constant energy that of the first velocities")
    pressure: float | None = Field(default=None, description="target [GPa]")
    timestep: float = Field(default=1.0, gt=0, description="[fs]")
    stopped_by: str | None = Field(default=None, description="stop rule that ended it")


class LiquidSettings(StrictModel):
    """Which checks are made of which trajectories."""

    walkers: dict[str, WalkerFacts] = Field(min_length=1, description="name of the trajectory -> what is known of it")
    checks: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="name of a check -> limits that differ from their defaults"
    )
    only: tuple[str, ...] | None = Field(default=None, description="names of the checks to make; None: all")
    equilibration: float = Field(default=0.2, ge=0, lt=1, description="share of a run left out of averages")
    keep_frames: int = Field(default=20, ge=2, description="evenly spaced frames that are returned")
    keep_events: int = Field(default=20, ge=0, description="frames of events that are returned, the earliest ones")

    @field_validator("walkers")
    @classmethod
    def _names_are_identifiers(cls, given: dict[str, WalkerFacts]) -> dict[str, WalkerFacts]:
        for name in given:
            if not WALKER_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is no name of an output; use letters, digits and single underscores, with a letter "
                    "first, e.g. 't300_p0_w1'"
                )
        return given

    @field_validator("checks")
    @classmethod
    def _limits_are_known(cls, given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, limits in given.items():
            check = checks.get(name)
            try:
                check.parse(limits)
            except ValidationError as error:
                raise ValueError(explain(error, what=name, model=check.limits)) from error
        return given

    @field_validator("only")
    @classmethod
    def _names_are_known(cls, given: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in given or ():
            checks.get(name)
        return given


class WalkerFindings(StrictModel):
    """What the checks say of one trajectory."""

    facts: WalkerFacts
    formula: str
    frames: int = Field(ge=0)
    time_ps: float = Field(ge=0)
    molecules: dict[str, int] = Field(default_factory=dict, description="key of a species -> molecules at the start")
    checks: tuple[CheckResult, ...] = ()
    events: tuple[Event, ...] = ()
    species: tuple[Species, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict, description="check -> CPU time [s]")
