"""The trained model: the checkpoint of the best epoch, put into the model that mace built."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.training import Lora, TrainSettings
from aiida_mlip.worker.backends.mace import read_model


def model_of_epoch(mace_model: Path, checkpoint: Path, settings: TrainSettings) -> Any:
    """Return the model with the weights of a checkpoint, on the CPU, LoRA updates merged.

    :param mace_model: the file that mace saved at its end, with the weights of its last epoch.
    :raises TaskError: of kind ``strategy`` where the checkpoint does not fit the model or holds NaN.
    """
    if not zipfile.is_zipfile(checkpoint):
        raise TaskError(ErrorKind.EXCEPTION, f"{checkpoint.name} is missing or cut short.", "Start again.")
    model = read_model(mace_model)
    weights = torch.load(checkpoint, map_location="cpu", weights_only=False)["model"]
    if broken := [name for name, value in weights.items() if not torch.isfinite(value).all()]:
        raise TaskError(
            ErrorKind.DIVERGED, f"{checkpoint.name}: {', '.join(broken[:3])} is not finite.", "Lower learning_rate."
        )
    if isinstance(settings.strategy, Lora):
        from mace.modules.lora import inject_LoRAs, merge_lora_weights

        model = inject_LoRAs(model, rank=settings.strategy.rank, alpha=settings.strategy.alpha)
        _load(model, weights)
        merge_lora_weights(model)
    else:
        _load(model, weights)
    return model.to("cpu")


def _load(model: Any, weights: dict[str, Any]) -> None:
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise TaskError(
            ErrorKind.STRATEGY,
            f"The checkpoint does not fit the model: {str(error)[:300]}",
            "Start from the beginning.",
        ) from error


def learning_rate_of(checkpoint: Path) -> float:
    """Return the learning rate of the readouts after the epoch of a checkpoint."""
    groups = torch.load(checkpoint, map_location="cpu", weights_only=False)["optimizer"]["param_groups"]
    return float(next((group["lr"] for group in groups if group.get("name") == "readouts"), groups[-1]["lr"]))
