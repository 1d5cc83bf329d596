"""Settings of a training: what the user asks for, typed and complete, before anything is submitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aiida_mlip.schema.potential import DEFAULT_HEAD, Device, Dtype
from aiida_mlip.science.models import StrictModel

NEW_HEAD = DEFAULT_HEAD
"""The head of the new data."""
REPLAY_HEAD = "pt_head"
"""The head of the replay data; mace names it so."""


class Scratch(StrictModel):
    """Random initial weights; there is no foundation model."""

    kind: Literal["scratch"] = "scratch"
    num_channels: int = Field(default=64, gt=0)
    max_L: int = Field(default=0, ge=0, le=3)  # noqa: N815 - mace's name
    correlation: int = Field(default=3, ge=1, le=4)
    num_interactions: int = Field(default=2, ge=1)
    num_radial_basis: int = Field(default=8, gt=0)
    r_max: float = Field(default=5.0, gt=0, description="cut-off radius [Å]")


class Naive(StrictModel):
    """Every weight of the foundation model goes on being trained."""

    kind: Literal["naive"] = "naive"


class Frozen(StrictModel):
    """The foundation model's weights are kept up to and including one level; the rest is trained."""

    kind: Literal["frozen"] = "frozen"
    level: Literal["embedding", "interactions", "products"] = Field(description="the last level that is kept")


class Lora(StrictModel):
    """Low-rank updates of the linear layers; merged into the weights when the model is saved."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=4, gt=0)
    alpha: float = Field(default=1.0, gt=0, description="the update is scaled by alpha / rank")


class Replay(StrictModel):
    """Multihead training: the new data on one head, data labelled by the foundation model on another."""

    kind: Literal["replay"] = "replay"
    weight: float = Field(default=1.0, gt=0, description="weight of the replay head in the loss")


Strategy = Annotated[Scratch | Naive | Frozen | Lora | Replay, Field(discriminator="kind")]


class Estimated(StrictModel):
    """Foundation E0s plus the least-squares correction of its energy error on the training set, per element."""

    kind: Literal["estimated"] = "estimated"


class FoundationE0s(StrictModel):
    """The foundation model's own E0s: right only where the new labels are of its level of theory."""

    kind: Literal["foundation"] = "foundation"


class IsolatedAtoms(StrictModel):
    """The energies of the isolated atoms in the training set, one configuration for each element."""

    kind: Literal["isolated_atoms"] = "isolated_atoms"


class Explicit(StrictModel):
    """E0s given by hand."""

    kind: Literal["explicit"] = "explicit"
    values: dict[str, float] = Field(description="chemical symbol -> E0 [eV]", min_length=1)


class Average(StrictModel):
    """Least squares of the total energies on the composition; for training from scratch."""

    kind: Literal["average"] = "average"


E0Policy = Annotated[Estimated | FoundationE0s | IsolatedAtoms | Explicit | Average, Field(discriminator="kind")]


class Loss(StrictModel):
    """Weights of the terms of the loss; energies enter per atom."""

    kind: Literal["weighted", "universal", "huber", "stress"] = "weighted"
    energy_weight: float = Field(default=1.0, ge=0)
    forces_weight: float = Field(default=100.0, ge=0)
    stress_weight: float = Field(default=0.0, ge=0)
    config_type_weights: dict[str, float] = Field(default_factory=dict)


class Ema(StrictModel):
    """Exponential moving average of the weights, used for validation and for the saved model."""

    decay: float = Field(default=0.99, gt=0, lt=1)


class Distributed(StrictModel):
    """Data-parallel training over several GPUs; one process each."""

    launcher: Literal["torchrun", "slurm"] = "torchrun"
    num_processes: int = Field(gt=1)


class EarlyStopping(StrictModel):
    """Stop where the validation loss has not improved; decided by the work chain between slices of epochs."""

    slice_epochs: int = Field(gt=0, description="epochs trained between two decisions")
    patience: int = Field(gt=0, description="slices without improvement that end the training")
    min_delta: float = Field(default=0.0, ge=0, description="relative improvement that counts")


class TrainSettings(StrictModel):
    """All that a training is asked to do. ``strategy``, ``learning_rate`` and ``e0_policy`` have no default.

    The learning rate and the E0s decide a fine-tuning more than the strategy does (arXiv:2606.12704), so the user
    states both.
    """

    strategy: Strategy
    learning_rate: float = Field(gt=0, lt=1)
    e0_policy: E0Policy
    max_epochs: int = Field(gt=0)
    batch_size: int = Field(default=4, gt=0)
    valid_batch_size: int = Field(default=8, gt=0)
    seed: int = Field(default=1, ge=0)
    dtype: Dtype = "float64"
    device: Device = "cpu"
    loss: Loss = Field(default_factory=Loss)
    ema: Ema | None = Field(default_factory=Ema)
    weight_decay: float = Field(default=5e-7, ge=0)
    clip_grad: float = Field(default=10.0, gt=0)
    scheduler_patience: int = Field(default=50, gt=0, description="epochs before the learning rate is lowered")
    lr_factor: float = Field(default=0.8, gt=0, lt=1, description="factor by which the learning rate is lowered")
    keep_elements: Literal["all", "training"] = Field(
        default="all", description="elements the fine-tuned model keeps: all of the foundation's, or the data's"
    )
    foundation_head: str | None = Field(default=None, description="head to start from; None: the potential's own")
    divergence_factor: float = Field(
        default=1e3, gt=1, description="validation loss above this multiple of its first value counts as diverged"
    )
    distributed: Distributed | None = None
    early_stopping: EarlyStopping | None = None
    extra: dict[str, Any] = Field(default_factory=dict, description="further options of mace_run_train, by name")

    @model_validator(mode="after")
    def _consistent(self) -> TrainSettings:
        if problems := list(_problems(self)):
            raise ValueError("; ".join(problems))
        return self


def _problems(s: TrainSettings) -> Iterator[str]:
    """Yield what contradicts itself in the settings: field, value, remedy."""
    scratch, e0s = s.strategy.kind == "scratch", s.e0_policy.kind
    if scratch and e0s in ("estimated", "foundation"):
        yield (
            f"e0_policy = {e0s!r} needs a foundation model and strategy 'scratch' has none: "
            "use 'isolated_atoms', 'average' or 'explicit'"
        )
    if not scratch and e0s == "average":
        yield "e0_policy = 'average' discards the foundation model's E0s: use 'estimated'"
    if s.distributed and s.device == "cpu":
        yield "distributed training needs device = 'cuda': mace cannot run data-parallel on CPUs"
    if s.loss.energy_weight == s.loss.forces_weight == s.loss.stress_weight == 0:
        yield "loss: all weights are 0, nothing would be trained: give at least one a positive weight"
    if s.loss.kind == "weighted" and s.loss.stress_weight > 0:
        yield (
            f"loss.stress_weight = {s.loss.stress_weight} has no effect with loss.kind = 'weighted', which has no "
            "stress term: use 'stress', 'universal' or 'huber', or set the weight to 0"
        )
    if s.strategy.kind == "replay" and s.loss.kind != "universal":
        yield f"loss.kind = {s.loss.kind!r}: mace trains replay with the 'universal' loss only: set loss.kind to it"
