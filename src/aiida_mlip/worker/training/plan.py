"""Everything that is decided before mace starts: data, foundation model, reference energies, checkpoints."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.schema.training import NEW_HEAD, REPLAY_HEAD, Replay, Scratch, TrainSettings
from aiida_mlip.worker.backends import refuse_unknown_elements
from aiida_mlip.worker.backends._torch import require_device
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.settings import parse_settings
from aiida_mlip.worker.training.checkpoints import TrainingState, load_restart
from aiida_mlip.worker.training.data import TrainingData, load, write_for_mace
from aiida_mlip.worker.training.foundation import FoundationModel, prepare_foundation
from aiida_mlip.worker.training.options import (
    MaceFiles,
    heads,
    mace_options,
    refuse_extra,
    write_config,
)
from aiida_mlip.worker.training.reference_energies import Foundation, reference_energies

MACE_FOLDER = "mace"
CHECKPOINT_FOLDER = "checkpoints"
CONFIG_FILE = "config.yaml"
NEIGHBOUR_CUTOFF = 6.0
"""Å; used to tell isolated atoms where the cut-off of the model is not known yet."""


@dataclass
class Plan:
    """What a training consists of.

    :param elements: symbols of the model that will be trained, by atomic number.
    :param e0s: head -> symbol -> E0 [eV], for every head and element.
    :param state: what is known of the training so far; it grows while mace runs.
    :param is_restart: an earlier job has finished epochs.
    """

    settings: TrainSettings
    folder: Path
    checkpoints: Path
    data: TrainingData
    foundation: FoundationModel | None
    elements: list[str]
    e0s: dict[str, dict[str, float]]
    state: TrainingState
    is_restart: bool
    warnings: list[str] = field(default_factory=list)

    def sizes(self) -> dict[str, int]:
        """Return head -> number of configurations that mace trains on."""
        sizes = {NEW_HEAD: len(self.data.train)}
        return {REPLAY_HEAD: len(self.data.replay_train), **sizes} if self.data.replay_train else sizes


def make_plan(context: Context) -> Plan:
    """Check the job, compute the reference energies, and write what mace reads.

    :raises TaskError: of kind ``input`` for whatever cannot be trained as asked.
    """
    settings = checked_settings(context)
    info = PotentialInfo.model_validate(context.job.potential) if context.job.potential else None
    folder, checkpoints = context.directory / MACE_FOLDER, context.directory / CHECKPOINT_FOLDER
    folder.mkdir(exist_ok=True)
    data = load(context, settings, _cutoff(settings, info))
    foundation = None
    if settings.strategy.kind != "scratch":
        foundation = prepare_foundation(
            context.path("potential"), info, settings, folder / "base.model", data.train[:4]
        )
    elements = _elements(data, foundation, settings)
    state = _restart(context, settings, checkpoints, elements)
    is_restart = state is not None
    warnings = list(data.warnings)
    if state is None:
        values, more = reference_energies(settings.e0_policy, data, elements, _foundation_energies(foundation))
        warnings += more
        state = TrainingState(
            strategy=settings.strategy.model_dump(),
            dtype=settings.dtype,
            heads=list(heads(settings)),
            elements=elements,
            e0s=values,
            learning_rate=settings.learning_rate,
        )
    e0s = {NEW_HEAD: state.e0s}
    if settings.strategy.kind == "replay" and foundation:
        e0s[REPLAY_HEAD] = {
            symbol: foundation.potential.info.e0s[_only_head(foundation)][symbol] for symbol in elements
        }
    plan = Plan(settings, folder, checkpoints, data, foundation, elements, e0s, state, is_restart, warnings)
    warnings += [f"extra.{name} = {value!r} goes to mace as it is" for name, value in settings.extra.items()]
    return plan


def checked_settings(context: Context) -> TrainSettings:
    """Return the settings of the job.

    :raises TaskError: of kind ``input``; of kind ``backend_import`` where the launcher needs a missing package.
    """
    settings = parse_settings(TrainSettings, context.job.settings)
    refuse_extra(settings.extra)
    require_device(settings.device)
    slurm = settings.distributed is not None and settings.distributed.launcher == "slurm"
    if slurm and importlib.util.find_spec("hostlist") is None:
        raise TaskError(
            ErrorKind.BACKEND_IMPORT,
            "distributed.launcher = 'slurm' needs the package python-hostlist, which is not there.",
            "Install python-hostlist on the compute node, or use launcher = 'torchrun'.",
        )
    return settings


def write_inputs(plan: Plan) -> str:
    """Write data and options for mace and return the name of its configuration file."""
    settings, folder, loss = plan.settings, plan.folder, plan.settings.loss
    write_for_mace(folder / "train.xyz", plan.data.train, loss)
    write_for_mace(folder / "valid.xyz", plan.data.valid, loss)
    files = MaceFiles("train.xyz", "valid.xyz", foundation=plan.foundation.path.name if plan.foundation else None)
    if isinstance(settings.strategy, Replay):
        weight = settings.strategy.weight
        write_for_mace(folder / "replay_train.xyz", plan.data.replay_train, loss, factor=weight)
        write_for_mace(folder / "replay_valid.xyz", plan.data.replay_valid, loss, factor=weight)
        files = MaceFiles(files.train, files.valid, files.foundation, "replay_train.xyz", "replay_valid.xyz")
    options = mace_options(settings, files, plan.e0s[NEW_HEAD], restart=plan.is_restart)
    write_config(folder / CONFIG_FILE, options)
    return CONFIG_FILE


def _cutoff(settings: TrainSettings, info: PotentialInfo | None) -> float:
    if isinstance(settings.strategy, Scratch):
        return settings.strategy.r_max
    return info.r_max if info else NEIGHBOUR_CUTOFF


def _only_head(foundation: FoundationModel) -> str:
    return foundation.potential.info.head


def _foundation_energies(foundation: FoundationModel | None) -> Foundation | None:
    if foundation is None:
        return None
    return Foundation(foundation.potential.info.e0s[_only_head(foundation)], foundation.potential.energies)


def _elements(data: TrainingData, foundation: FoundationModel | None, settings: TrainSettings) -> list[str]:
    """Return the elements of the model, after a check that no set has others."""
    everything = [*data.train, *data.valid, *data.replay_train, *data.replay_valid]
    tests = [atoms for frames in data.tests.values() for atoms in frames]
    if foundation:
        known = foundation.potential.info.elements
        refuse_unknown_elements([*everything, *tests], known, what="the foundation model")
        if settings.keep_elements == "all":
            return list(known)
    kept = data.elements()
    refuse_unknown_elements(tests, kept, what="the trained model (keep_elements = 'training', or 'scratch')")
    return kept


def _restart(
    context: Context, settings: TrainSettings, checkpoints: Path, elements: Sequence[str]
) -> TrainingState | None:
    """Return the state to go on from, after a check that it is of the same training."""
    if "restart" not in context.job.files:
        return None
    state = load_restart(context.path("restart"), checkpoints)
    if state is None:
        return None
    asked: Mapping[str, object] = {
        "strategy": settings.strategy.model_dump(),
        "dtype": settings.dtype,
        "heads": list(heads(settings)),
        "elements": list(elements),
    }
    for name, value in asked.items():
        if getattr(state, name) != value:
            raise TaskError(
                ErrorKind.INPUT,
                f"restart: {name} was {getattr(state, name)} and is now {value}.",
                "A restart goes on with the same model; start from the beginning to change it.",
            )
    if state.last is not None and state.last + 1 > settings.max_epochs:
        raise TaskError(
            ErrorKind.INPUT,
            f"restart: {state.last + 1} epochs are done, max_epochs = {settings.max_epochs}.",
            "max_epochs counts from the first job of the training: make it larger.",
        )
    return state
