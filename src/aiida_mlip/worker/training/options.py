"""From typed settings to the options of ``mace_run_train``: every one that matters is given, none left to a default."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.mace_options import MANAGED, OPTIONS, TYPED, UNSUPPORTED
from aiida_mlip.schema.training import NEW_HEAD, REPLAY_HEAD, Frozen, Lora, Scratch, TrainSettings
from aiida_mlip.science.keys import ENERGY, FORCES, STRESS

NAME = "mlip"

FREEZE = {"embedding": 1, "interactions": 5, "products": 6}
"""Level that is kept -> mace's number; negative numbers freeze nothing, and 7 trains nothing."""

NEVER = 10**9


@dataclass(frozen=True)
class MaceFiles:
    """The files of one run of mace, relative to its folder."""

    train: str
    valid: str
    foundation: str | None = None
    replay_train: str | None = None
    replay_valid: str | None = None


def tag(settings: TrainSettings) -> str:
    """Return the prefix that mace gives to the files of this run."""
    return f"{NAME}_run-{settings.seed}"


def heads(settings: TrainSettings) -> tuple[str, ...]:
    """Return the heads of the trained model in mace's order; the last one, of the new data, decides on epochs."""
    return (REPLAY_HEAD, NEW_HEAD) if settings.strategy.kind == "replay" else (NEW_HEAD,)


def mace_options(
    settings: TrainSettings, files: MaceFiles, e0s: Mapping[str, float], *, restart: bool
) -> dict[str, Any]:
    """Return option -> value for ``mace_run_train``.

    :param e0s: symbol -> E0 [eV] of the head of the new data, for every element of the model.
    :param restart: a checkpoint lies in the folder and is gone on from.
    """
    options: dict[str, Any] = {
        **_fixed(settings),
        "train_file": files.train,
        "valid_file": files.valid,
        "E0s": repr({atomic_numbers[symbol]: value for symbol, value in e0s.items()}),
        "restart_latest": restart,
        **_typed(settings),
        **_strategy(settings, files),
    }
    if settings.distributed:
        options.update(distributed=True, launcher=settings.distributed.launcher)
    refuse_extra(settings.extra)
    options.update({name: _text(value) for name, value in settings.extra.items()})
    return options


def _fixed(settings: TrainSettings) -> dict[str, Any]:
    return {
        "name": NAME,
        "energy_key": ENERGY,
        "forces_key": FORCES,
        "stress_key": STRESS,
        "plot": False,
        "pin_memory": settings.device == "cuda",
        "save_cpu": True,
        # all checkpoints, so that a restart goes on from the last epoch; they are pruned while mace runs
        "save_all_checkpoints": True,
        "patience": NEVER,
        "eval_interval": 1,
        # the errors of the chosen epoch are computed later, those of mace would be of the last one
        "skip_evaluate_heads": ",".join(heads(settings)),
        # with adam, the decay of weights that have no gradient (other elements') is as large as the learning rate
        "optimizer": "adamw",
        "scheduler": "ReduceLROnPlateau",
        "scaling": "rms_forces_scaling",
    }


def _typed(settings: TrainSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "seed": settings.seed,
        "device": settings.device,
        "default_dtype": settings.dtype,
        "lr": settings.learning_rate,
        "max_num_epochs": settings.max_epochs,
        "batch_size": settings.batch_size,
        "valid_batch_size": settings.valid_batch_size,
        "weight_decay": settings.weight_decay,
        "clip_grad": settings.clip_grad,
        "scheduler_patience": settings.scheduler_patience,
        "lr_factor": settings.lr_factor,
        "loss": settings.loss.kind,
        "energy_weight": settings.loss.energy_weight,
        "forces_weight": settings.loss.forces_weight,
        "stress_weight": settings.loss.stress_weight,
        "error_table": "PerAtomRMSE" if settings.loss.kind == "weighted" else "PerAtomRMSEstressvirials",
    }
    if settings.ema:
        options.update(ema=True, ema_decay=settings.ema.decay)
    return options


def _strategy(settings: TrainSettings, files: MaceFiles) -> dict[str, Any]:
    strategy = settings.strategy
    if isinstance(strategy, Scratch):
        return {
            "model": "MACE",
            "multiheads_finetuning": False,
            "num_channels": strategy.num_channels,
            "max_L": strategy.max_L,
            "correlation": strategy.correlation,
            "num_interactions": strategy.num_interactions,
            "num_radial_basis": strategy.num_radial_basis,
            "r_max": strategy.r_max,
        }
    options: dict[str, Any] = {
        "foundation_model": files.foundation,
        "foundation_model_elements": settings.keep_elements == "all",
        "foundation_filter_elements": True,
        "multiheads_finetuning": strategy.kind == "replay",
    }
    if isinstance(strategy, Frozen):
        options["freeze"] = FREEZE[strategy.level]
    elif isinstance(strategy, Lora):
        options.update(lora=True, lora_rank=strategy.rank, lora_alpha=strategy.alpha)
    elif strategy.kind == "replay":
        options.update(
            pt_train_file=files.replay_train,
            pt_valid_file=files.replay_valid,
            force_mh_ft_lr=True,  # else mace replaces learning rate and ema by its own
            real_pt_data_ratio_threshold=0.0,  # else mace multiplies the new data where replay data prevail
        )
    return options


def refuse_extra(extra: Mapping[str, Any]) -> None:
    """Raise where an option in ``extra`` is unknown, contradicts a typed field, or would break what is proven later.

    :raises TaskError: of kind ``input``.
    """
    for name in extra:
        if name in TYPED:
            reason, remedy = f"contradicts the typed field {TYPED[name]}", f"Set {TYPED[name]} instead."
        elif name in UNSUPPORTED:
            reason, remedy = f"is not supported here: {UNSUPPORTED[name]}", "Leave it out."
        elif name in MANAGED:
            reason, remedy = "is set by the worker itself", "Leave it out."
        elif name not in OPTIONS:
            reason, remedy = "is not an option of mace_run_train", "Check its spelling."
        else:
            continue
        raise TaskError(ErrorKind.INPUT, f"extra.{name} = {extra[name]!r} {reason}.", remedy)


def _text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def write_config(path: Path, options: Mapping[str, Any]) -> Path:
    """Write the options as the configuration file of mace, and let mace's own parser check it.

    :raises TaskError: of kind ``input`` with the parser's message.
    """
    lines = [f"{name}: {json.dumps(value)}" for name, value in options.items() if value is not None]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    from mace.tools import build_default_arg_parser

    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            build_default_arg_parser().parse_args(["--config", str(path)])
    except SystemExit as error:
        told = message.getvalue().strip().splitlines()
        raise TaskError(
            ErrorKind.INPUT, f"mace refuses its options: {told[-1] if told else error}.", "Correct extra."
        ) from error
    return path


def command(python: str, settings: TrainSettings, config: str) -> Sequence[str]:
    """Return the command that starts mace, through a launcher where the training is distributed."""
    module = ["-m", "mace.cli.run_train", "--config", config]
    if settings.distributed is None:
        return [python, *module]
    processes = settings.distributed.num_processes
    if settings.distributed.launcher == "slurm":
        return ["srun", f"--ntasks={processes}", python, *module]
    return [python, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *module]
