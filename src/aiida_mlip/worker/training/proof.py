"""Proof that what was asked for is what happened: from the weights before and after, and from mace's log."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.training import Frozen, Lora, Scratch, TrainSettings
from aiida_mlip.worker.backends._torch import default_dtype
from aiida_mlip.worker.backends.mace import describe

GROUPS = {"embedding": "node_embedding", "interactions": "interactions", "products": "products", "readouts": "readouts"}
"""Group of parameters -> the part of the model that it is; mace's optimizer holds these and no others."""

LEVELS = ("embedding", "interactions", "products", "readouts")
E0_TOLERANCE = 1e-6
"""Relative; float32 keeps seven digits."""

LOSS_CLASSES = {
    "weighted": "WeightedEnergyForcesLoss",
    "stress": "WeightedEnergyForcesStressLoss",
    "huber": "WeightedHuberEnergyForcesStressLoss",
    "universal": "UniversalLoss",
}


@dataclass
class Proof:
    """Checks, each with what was asked, what was found and whether they agree."""

    checks: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, asked: Any, found: Any, *, holds: bool | None = None) -> None:
        """Add a check; without ``holds`` it is equality."""
        self.checks.append(
            {"check": name, "asked": asked, "found": found, "ok": asked == found if holds is None else holds}
        )

    def require(self) -> None:
        """Raise where a check failed.

        :raises TaskError: of kind ``strategy`` that names the first failed check.
        """
        failed = [check for check in self.checks if not check["ok"]]
        if failed:
            first = failed[0]
            raise TaskError(
                ErrorKind.STRATEGY,
                f"{first['check']}: asked for {first['asked']}, found {first['found']}.",
                "mace did not do what was asked; do not use this model.",
                details={"failed": failed},
            )


def initial_model(final: Any, foundation: Any, settings: TrainSettings) -> Any:
    """Return the model as it was before the first step, made by mace's own transfer of the foundation's weights.

    :param final: the trained model, whose shape (elements, heads) is taken.
    """
    from mace.tools.finetuning_utils import load_foundations_elements
    from mace.tools.scripts_utils import extract_config_mace_model
    from mace.tools.utils import AtomicNumberTable

    with default_dtype(settings.dtype):
        return load_foundations_elements(
            deepcopy(final),
            foundation,
            AtomicNumberTable([int(z) for z in final.atomic_numbers]),
            load_readout=True,
            max_L=extract_config_mace_model(foundation)["hidden_irreps"].lmax,
            default_dtype=next(final.parameters()).dtype,
        )


def trainable_names(model: Any, settings: TrainSettings) -> set[str]:
    """Return the names of the parameters that the strategy trains."""
    names = {name for name, _ in model.named_parameters() if name.split(".")[0] in GROUPS.values()}
    strategy = settings.strategy
    if isinstance(strategy, Frozen):
        kept = {GROUPS[level] for level in LEVELS[: LEVELS.index(strategy.level) + 1]}
        return {name for name in names if name.split(".")[0] not in kept}
    if isinstance(strategy, Lora):
        return set(_lora_shapes(model, strategy))
    return names


def parameter_counts(model: Any, settings: TrainSettings) -> dict[str, int]:
    """Return ``trainable`` and ``total`` numbers of scalars; for LoRA, of its low-rank factors."""
    total = sum(parameter.numel() for parameter in model.parameters())
    if isinstance(settings.strategy, Lora):
        return {"trainable": sum(_lora_shapes(model, settings.strategy).values()), "total": total}
    names = trainable_names(model, settings)
    trainable = sum(parameter.numel() for name, parameter in model.named_parameters() if name in names)
    return {"trainable": trainable, "total": total}


def _lora_shapes(model: Any, strategy: Lora) -> dict[str, int]:
    """Return name of a parameter that LoRA updates -> number of scalars in its two factors."""
    from mace.modules.lora import inject_LoRAs

    copy = inject_LoRAs(deepcopy(model), rank=strategy.rank, alpha=strategy.alpha)
    sizes: dict[str, int] = {}
    for name, parameter in copy.named_parameters():
        if match := re.match(r"(.*)\.lora_[AB](\..*)?$", name):
            key = f"{match.group(1)}.weight"
            sizes[key] = sizes.get(key, 0) + parameter.numel()
    return sizes


def changes(initial: Any, final: Any) -> dict[str, dict[str, float | int]]:
    """Return group -> number of scalars, of those that changed, and the largest change."""
    before = dict(initial.named_parameters())
    found: dict[str, dict[str, float | int]] = {}
    for name, parameter in final.named_parameters():
        group = next((group for group, part in GROUPS.items() if name.split(".")[0] == part), "other")
        difference = (parameter - before[name]).detach().abs()
        cell = found.setdefault(group, {"parameters": 0, "changed": 0, "largest_change": 0.0})
        cell["parameters"] += parameter.numel()
        cell["changed"] += int((difference > 0).sum())
        cell["largest_change"] = max(cell["largest_change"], float(difference.max()) if difference.numel() else 0.0)
    return found


def prove_weights(proof: Proof, initial: Any, final: Any, settings: TrainSettings) -> None:
    """Check that exactly the parameters of the strategy changed."""
    before, names = dict(initial.named_parameters()), trainable_names(final, settings)
    changed = {name for name, value in final.named_parameters() if not torch.equal(value, before[name])}
    proof.add("parameters outside the strategy that changed", [], sorted(changed - names))
    asked = {name.split(".")[0] for name in names}
    found = {name.split(".")[0] for name in changed}
    proof.add("parts of the model that were trained", sorted(asked), sorted(asked & found))
    if isinstance(settings.strategy, Lora):
        rounding = torch.finfo(getattr(torch, settings.dtype)).eps
        matrices = [name for name in names if before[name].dim() == 2]
        rank = max((update_rank(before[n], final.get_parameter(n), rounding) for n in matrices), default=0)
        proof.add("rank of the largest LoRA update", settings.strategy.rank, rank, holds=rank <= settings.strategy.rank)


def update_rank(before: Any, after: Any, rounding: float) -> int:
    """Return the rank of the change of a matrix, as far as it shows above the rounding of the merged weights.

    :param rounding: relative; an error of at most this on each element has no larger singular value than this times
        the Frobenius norm of the matrix. Updates of few steps in single precision are hardly larger.
    """
    values = torch.linalg.svdvals(after.detach().double() - before.detach().double())
    least = max(1e-4 * float(values.max()), rounding * float(before.detach().double().norm()))
    return int((values > least).sum())


def prove_model(
    proof: Proof,
    final: Any,
    settings: TrainSettings,
    *,
    elements: Sequence[str],
    heads: Sequence[str],
    e0s: Mapping[str, Mapping[str, float]],
) -> None:
    """Check elements, heads, E0s and type of the saved model, that it is finite, and for scratch its architecture."""
    info = describe(final)
    proof.add("elements", list(elements), list(info.elements))
    proof.add("heads", list(heads), list(info.heads))
    proof.add("dtype", settings.dtype, info.dtype)
    finite = all(bool(torch.isfinite(value).all()) for value in final.state_dict().values())
    proof.add("all weights are finite", True, finite)
    for head, asked in e0s.items():
        found = info.e0s.get(head, {})
        wrong = {
            symbol: found.get(symbol)
            for symbol, value in asked.items()
            if not math.isclose(found.get(symbol, math.nan), value, rel_tol=E0_TOLERANCE, abs_tol=E0_TOLERANCE)
        }
        right = f"those of {len(asked)} elements"
        proof.add(
            f"E0s of head {head} in the model",
            {symbol: asked[symbol] for symbol in wrong} or right,
            wrong or right,
            holds=not wrong,
        )
    if isinstance(settings.strategy, Scratch):
        proof.add("r_max", settings.strategy.r_max, info.r_max, holds=math.isclose(settings.strategy.r_max, info.r_max))
        proof.add("num_interactions", settings.strategy.num_interactions, info.num_interactions)


def prove_log(proof: Proof, log: str, settings: TrainSettings, sizes: Mapping[str, int]) -> None:
    """Check what mace says of its own settings.

    :param sizes: head -> number of training configurations that mace was given.
    """
    for head, size in sizes.items():
        found = re.search(rf"Head '{re.escape(head)}' training dataset size: (\d+)", log)
        proof.add(f"training configurations of head {head}", size, int(found.group(1)) if found else None)
    rate = re.search(r"Learning rate: ([0-9.eE+-]+)", log)
    value = float(rate.group(1)) if rate else math.nan
    proof.add("learning rate", settings.learning_rate, value, holds=math.isclose(settings.learning_rate, value))
    loss = re.search(r"^.*?(\w+Loss)\(", log, re.MULTILINE)
    proof.add("loss", LOSS_CLASSES[settings.loss.kind], loss.group(1) if loss else None)
    decay = re.search(r"Exponential Moving Average with decay: ([0-9.eE+-]+)", log)
    proof.add("ema decay", settings.ema.decay if settings.ema else None, float(decay.group(1)) if decay else None)


def prove_epochs(proof: Proof, epochs: Sequence[int], settings: TrainSettings) -> None:
    """Check that each epoch was trained once, in order, up to the last one asked for."""
    proof.add(
        "epochs", f"0..{settings.max_epochs - 1}", _span(epochs), holds=list(epochs) == list(range(settings.max_epochs))
    )


def _span(epochs: Sequence[int]) -> str:
    if not epochs:
        return "none"
    gaps = "" if list(epochs) == list(range(epochs[0], epochs[-1] + 1)) else " with gaps or repeats"
    return f"{epochs[0]}..{epochs[-1]}{gaps}"


def energy_rounding(energies: Sequence[float], sizes: Sequence[int], settings: TrainSettings) -> float:
    """Return how far an energy per atom [eV] may be off because mace adds the E0s in the type of the training.

    A sum of n numbers is off by about sqrt(n) of its last digits; twice that is allowed. E0s of pseudopotentials are
    thousands of eV, so that the last digit of the energy of a cell is a few meV in single precision.

    :param energies: total energies of the cells [eV].
    :param sizes: numbers of atoms.
    """
    kind = np.float32 if settings.dtype == "float32" else np.float64
    digits = [np.spacing(kind(abs(energy))) for energy in energies]
    return max((2.0 * float(digit) / np.sqrt(n) for digit, n in zip(digits, sizes, strict=True)), default=0.0)


def prove_start(
    proof: Proof, initial: Mapping[str, float], ours: Mapping[str, float], rounding: Mapping[str, float] | None = None
) -> None:
    """Check that mace's errors before the first epoch are those of the foundation model with the new E0s.

    :param initial: mace's metrics of the head of the new data before the first epoch.
    :param ours: the same metrics, computed here.
    :param rounding: metric -> difference that the arithmetic explains, where it is more than 0.0001.
    """
    for name, value in ours.items():
        found = initial.get(name, math.nan)
        agree = bool(np.isclose(found, value, rtol=0.02, atol=max(1e-4, (rounding or {}).get(name, 0.0))))
        proof.add(f"validation {name} before the first epoch", value, found, holds=agree)


def untouched_elements(initial: Any, final: Any, trained: Sequence[str]) -> float:
    """Return the largest change of a weight in the products that belongs to an element without data."""
    absent = [i for i, z in enumerate(final.atomic_numbers) if chemical_symbols[int(z)] not in set(trained)]
    before = dict(initial.named_parameters())
    largest = 0.0
    for name, value in final.named_parameters():
        if "symmetric_contractions" in name and absent and value.shape[0] == len(final.atomic_numbers):
            largest = max(largest, float((value[absent] - before[name][absent]).detach().abs().max()))
    return largest
