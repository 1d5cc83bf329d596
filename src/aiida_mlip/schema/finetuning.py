"""Settings of a fine-tuning beyond the training itself: committee, replay, and what is accepted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from aiida_mlip.science.datasets.audit import AuditSettings
from aiida_mlip.science.datasets.splitting import Split
from aiida_mlip.science.models import StrictModel


class SplitSettings(Split):
    """Fractions of each configuration type for training, validation and test, and the seed of the draw."""

    seed: int = Field(default=1, ge=0)
    by_group: bool = Field(default=True, description="frames of one group stay together; near-duplicates always do")


class AuditOptions(StrictModel):
    """What the audit looks for, and whether errors end the work."""

    strict: bool = Field(default=True, description="end with an error where the audit finds errors")
    settings: AuditSettings = Field(default_factory=AuditSettings)


class CommitteeSettings(StrictModel):
    """How many potentials are trained and how they differ.

    Every member has its own seed. ``bootstrap`` draws the member's training set with replacement; ``hyperparameters``
    multiplies the learning rate by ``learning_rate_factors``, one after the other.
    """

    size: int = Field(default=1, ge=1, le=64)
    vary: tuple[Literal["seed", "bootstrap", "hyperparameters"], ...] = ("seed",)
    seed: int = Field(default=1, ge=0, description="seed of the bootstrap; members add their number")
    learning_rate_factors: tuple[float, ...] = Field(default=(1.0, 0.5, 2.0), min_length=1)

    @model_validator(mode="after")
    def _positive(self) -> CommitteeSettings:
        bad = [factor for factor in self.learning_rate_factors if factor <= 0]
        if bad:
            raise ValueError(f"learning_rate_factors = {bad} must be positive: they multiply the learning rate")
        return self


class ReplaySettings(StrictModel):
    """Which configurations stand for what the foundation model knows."""

    num_frames: int = Field(default=100, gt=0)
    seed: int = Field(default=1, ge=0)


class Limits(StrictModel):
    """One number for each kind of label."""

    energy: float = Field(ge=0)
    forces: float = Field(ge=0)
    stress: float = Field(ge=0)


class AcceptSettings(StrictModel):
    """When a fine-tuned potential is worse than the foundation model it came from.

    On ``on_set``, for each configuration type, the root-mean-square error after may be at most ``max_ratio`` times the
    one before; errors below ``floor`` are never called worse.
    """

    on_set: Literal["training", "validation", "test"] = "test"
    max_ratio: Limits = Field(
        default=Limits(energy=1.02, forces=1.02, stress=1.02),
        description="a change of 2 % is within what another seed gives",
    )
    floor: Limits = Field(
        default=Limits(energy=0.005, forces=0.02, stress=0.003),
        description="energy [eV/atom], forces [eV/Å], stress [eV/Å^3]",
    )
    max_forgotten_forces: float | None = Field(
        default=None,
        gt=0,
        description="largest root-mean-square change of forces on other elements [eV/Å]; None: report only",
    )
