"""Settings of iterative training, and the record of each generation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aiida_mlip.schema.dynamics import Stage
from aiida_mlip.schema.finetuning import CommitteeSettings
from aiida_mlip.schema.selection import CalibratedLevels, SelectionCounts, TrustLevels
from aiida_mlip.science.iterative.convergence import Limits
from aiida_mlip.science.iterative.ladder import NAME
from aiida_mlip.science.models import StrictModel


class Condition(StrictModel):
    """One rung of the ladder: the stages that a walker goes through."""

    name: str = Field(pattern=f"^{NAME}$", description="letters, digits and single underscores, e.g. 't600'")
    stages: tuple[Stage, ...] = Field(min_length=1)


class AugmentationSettings(StrictModel):
    """What the first set is made of, besides the given frames: changed copies of the start structures."""

    rattles: int = Field(default=4, ge=0, description="copies of each structure with displaced atoms")
    rattle_amplitudes: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(0.05, 0.15), min_length=1, description="standard deviations [Å], in turn"
    )
    strains: int = Field(default=2, ge=0, description="copies with a random strain (and the smallest rattle)")
    max_strain: float = Field(default=0.04, gt=0, lt=0.5, description="largest principal strain")
    volumes: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(0.95, 1.0, 1.05), description="volume factors; 1 is the structure itself; molecules stay rigid"
    )
    molecules: bool = Field(default=True, description="single molecules and dimers, where there are molecules")
    dimers: int = Field(default=2, ge=0, description="dimers for each two kinds of molecules, closest contacts first")
    dimer_shifts: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(0.0, 1.0), description="distances by which the two molecules of each dimer are moved apart [Å]"
    )
    vacuum: float = Field(
        default=10.0, gt=0, description="between images of molecules cut out of periodic structures [Å]"
    )
    min_distance: float = Field(
        default=0.6, ge=0, description="closest pair of atoms in a copy, times the sum of covalent radii"
    )
    seed: int = Field(default=1, ge=0)


class ConvergenceSettings(StrictModel):
    """When the loop ends well: all that is given holds for ``generations`` in a row."""

    candidate_fraction: float = Field(default=0.05, ge=0, le=1, description="candidates and failed among the frames")
    generations: int = Field(default=1, ge=1)
    forces_improvement: float | None = Field(
        default=None, description="the held-out force error fell by less than this fraction in one generation"
    )
    stable: bool = Field(default=True, description="no walker was stopped by a rule")

    def limits(self, rungs: int) -> Limits:
        """Return what is asked of a generation, of a ladder with ``rungs`` conditions."""
        return Limits(**self.model_dump(), rungs=rungs)


class IterativeSettings(StrictModel):
    """The loop itself; what its parts do is in their own settings."""

    max_generations: int = Field(default=5, ge=1, description="a hard limit, earlier runs included when resumed")
    conditions: tuple[Condition, ...] = Field(min_length=1, description="the ladder, gentle conditions first")
    ladder: Literal["all", "rising"] = Field(
        default="all",
        description="rising: up to and including the first rung that was not converged the generation before",
    )
    walkers: int = Field(default=1, ge=1, description="walkers for each structure and condition, of different seeds")
    start_from: Literal["foundation", "previous"] = Field(default="foundation", description="what is fine-tuned")
    committee: CommitteeSettings = Field(default_factory=lambda: CommitteeSettings(size=3))
    levels: TrustLevels = Field(default_factory=CalibratedLevels)
    label_budget: int | None = Field(default=None, gt=0, description="labels in all, never exceeded")
    holdout_fraction: float = Field(
        default=0.15, ge=0, lt=1, description="of the first labels, where no holdout is given"
    )
    validation_fraction: float = Field(default=0.15, gt=0, lt=1, description="of each generation's set")
    augmentation: AugmentationSettings | None = Field(default_factory=AugmentationSettings)
    convergence: ConvergenceSettings = Field(default_factory=ConvergenceSettings)
    seed: int = Field(default=1, ge=0, description="of the splits and of the walkers")

    @model_validator(mode="after")
    def _names_differ(self) -> IterativeSettings:
        names = [condition.name for condition in self.conditions]
        if len(set(names)) != len(names):
            raise ValueError(f"conditions = {names}: each needs a name of its own")
        return self


class Survival(StrictModel):
    """How long one walker lived."""

    walker: str
    condition: str
    structure: int
    temperature: float = Field(description="target where it ended [K]")
    asked_ps: float
    survived_ps: float
    stopped_by: str | None = None


class GenerationRecord(StrictModel):
    """One generation: train, estimate, explore, select, label."""

    generation: int = Field(ge=1)
    potentials: dict[str, str] = Field(description="member -> uuid")
    training_set: str = Field(description="uuid")
    frames: dict[str, int] = Field(description="training, validation, holdout -> frames")
    errors: dict[str, Any] = Field(description="member, and 'committee' -> error table on the hold-out set")
    uncertainty: dict[str, Any] = Field(default_factory=dict, description="UncertaintyResult")
    levels: dict[str, float] = Field(default_factory=dict, description="lower and upper [eV/Å]")
    survival: tuple[Survival, ...] = ()
    selection: SelectionCounts | None = None
    candidate_fraction: float | None = None
    by_condition: dict[str, SelectionCounts] = Field(
        default_factory=dict, description="condition that was run -> what became of its frames"
    )
    labels: dict[str, Any] = Field(default_factory=dict, description="LabelReport")
    cost: dict[str, float] = Field(
        default_factory=dict,
        description="wall seconds of training, uncertainty, md, selection, labelling; force_calls; label_core_seconds",
    )
    processes: dict[str, str] = Field(default_factory=dict, description="step -> uuid of its process")
    converged: bool = False
    reasons: tuple[str, ...] = Field(default=(), description="what is not yet converged, or why it ended")
    warnings: tuple[str, ...] = ()


Ended = Literal["", "converged", "max_generations", "label_budget", "no_candidates", "failed"]
"""Why a loop ended; empty: it goes on."""


class History(StrictModel):
    """All generations, those of earlier runs first."""

    generations: tuple[GenerationRecord, ...] = ()
    start: dict[str, Any] = Field(default_factory=dict, description="LabelReport of the first set, if it was labelled")
    labels_used: int = Field(default=0, ge=0)
    ended: Ended = ""
