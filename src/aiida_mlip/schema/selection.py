"""Settings and results of the selection of configurations to label."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aiida_mlip.schema.dynamics import DensityWindow
from aiida_mlip.schema.potential import Device, Dtype
from aiida_mlip.science.models import StrictModel


class AbsoluteLevels(StrictModel):
    """Trust levels in eV/Å of the largest calibrated force uncertainty of a frame."""

    kind: Literal["absolute"] = "absolute"
    lower: float = Field(gt=0)
    upper: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> AbsoluteLevels:
        if self.lower >= self.upper:
            raise ValueError(f"lower = {self.lower} must be less than upper = {self.upper}")
        return self


class CalibratedLevels(StrictModel):
    """Trust levels in multiples of the median of the largest calibrated force uncertainty on the calibration set."""

    kind: Literal["calibrated"] = "calibrated"
    lower: float = Field(default=2.0, gt=0)
    upper: float = Field(default=10.0, gt=0)
    floor: float = Field(default=0.05, ge=0, description="the lower level is never below this [eV/Å]")
    ceiling: float = Field(
        default=0.5, gt=0, description="the lower level is never above this [eV/Å]: a poor model is sure of nothing"
    )

    @model_validator(mode="after")
    def _ordered(self) -> CalibratedLevels:
        for lower, upper in (("lower", "upper"), ("floor", "ceiling")):
            if getattr(self, lower) >= getattr(self, upper):
                raise ValueError(f"{lower} = {getattr(self, lower)} must be less than {upper} = {getattr(self, upper)}")
        return self


TrustLevels = Annotated[AbsoluteLevels | CalibratedLevels, Field(discriminator="kind")]


class GeometryFilters(StrictModel):
    """What is no configuration worth a label; None: the filter is off."""

    min_distance: float | None = Field(default=0.6, gt=0, description="closest pair, times the sum of covalent radii")
    max_force: float | None = Field(default=50.0, gt=0, description="largest predicted force on an atom [eV/Å]")
    density: DensityWindow | None = Field(default=(0.6, 1.6), description="multiples of the start's density")


class SelectionSettings(StrictModel):
    """How frames are chosen from trajectories."""

    levels: AbsoluteLevels = Field(description="trust levels [eV/Å]; a workflow fills in calibrated ones")
    filters: GeometryFilters = Field(default_factory=GeometryFilters)
    budget: int = Field(default=20, gt=0, description="largest number of frames chosen")
    budget_per_temperature: int | None = Field(
        default=None, gt=0, description="largest number of frames chosen within one bin of the target temperature"
    )
    temperature_bin: float = Field(default=50.0, gt=0, description="width of these bins, centred on its multiples [K]")
    include_failed: bool = Field(
        default=True, description="frames above the upper level may be chosen too, where they pass the filters"
    )
    min_novelty: float = Field(
        default=0.0,
        ge=0,
        description="smallest descriptor distance to what is known and to what is chosen before, in units of the known "
        "set's own; frames that are the same as a known one are never chosen",
    )
    max_candidates: int = Field(
        default=500, gt=0, description="frames of a level whose descriptors are computed; of more, every n-th"
    )
    max_label_atoms: int = Field(default=200, gt=0, description="a larger cell is too large for the labeller: refused")
    generation: int = Field(default=0, ge=0, description="written into the origin of each frame")
    seed: int = Field(default=1, ge=0)
    batch_size: int = Field(default=8, gt=0)
    device: Device = "cpu"
    dtype: Dtype = "float64"
    head: str | None = None


class SelectionCounts(StrictModel):
    """What became of the frames that were looked at; the first three add up to ``frames`` - ``filtered``."""

    frames: int = Field(ge=0)
    filtered: int = Field(ge=0, description="refused by a geometry filter")
    accurate: int = Field(ge=0, description="below the lower level")
    candidate: int = Field(ge=0, description="between the levels")
    failed: int = Field(ge=0, description="above the upper level")
    known: int = Field(ge=0, description="candidates and failed left out since they are as what is known")
    selected: int = Field(ge=0)


class SelectionResult(StrictModel):
    """What ``mlip.select`` found; frames and their origins are in the data set it returns."""

    counts: SelectionCounts
    by_walker: dict[str, SelectionCounts]
    filtered_by: dict[str, int] = Field(default_factory=dict, description="filter -> frames it refused")
    candidate_fraction: float = Field(ge=0, le=1, description="(candidate + failed) / (frames - filtered)")
    message: str = Field(default="", description="what was selected, or why nothing was, in words")
    descriptors: Literal["potential", "geometry", "none"] = Field(
        default="none", description="whose descriptors measured novelty; geometry: the potential has none"
    )
    novelty_unit: float | None = Field(
        default=None, description="median novelty of known frames against each other, in scaled descriptors"
    )
    warnings: tuple[str, ...] = ()
