"""Inputs of ``mlip.finetune``: defaults, validation before submission, and the builder made from a protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder
from pydantic import BaseModel, ValidationError

from aiida_mlip.calculations.checks.settings import check_properties
from aiida_mlip.calculations.checks.training import Training, check_training
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.finetuning import AcceptSettings, AuditOptions, CommitteeSettings, ReplaySettings, SplitSettings
from aiida_mlip.schema.tasks import PropertySettings
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.science.models import explain
from aiida_mlip.workchains.defects_inputs import with_protocol
from aiida_mlip.workchains.protocols import protocol_inputs

SET_NAMES = ("training", "validation", "test")

MODELS: Mapping[str, type[BaseModel]] = {
    "split": SplitSettings,
    "audit": AuditOptions,
    "replay": ReplaySettings,
    "committee": CommitteeSettings,
    "accept": AcceptSettings,
}
"""Input name -> the model of its settings."""


def complete(name: str, values: Any) -> orm.Dict:
    """Return the settings of one input as a node that holds every field; wrong settings are kept for the validator."""
    if isinstance(values, orm.Dict):
        return values
    given = values.model_dump() if isinstance(values, BaseModel) else dict(values)
    try:
        return orm.Dict(MODELS[name](**given).model_dump(mode="json"))
    except ValidationError:
        return orm.Dict(given)


def default_dict(name: str) -> dict[str, Any]:
    """Return the port's default, serializer, validator and help for settings with a model."""
    model = MODELS[name]

    def validate(value: orm.Dict | None, _port: Any) -> str | None:
        return _problem(name, value)

    def serialize(value: Any) -> orm.Dict:
        return complete(name, value)

    return {
        "default": lambda: complete(name, {}),
        "serializer": serialize,
        "validator": validate,
        "help": (model.__doc__ or "").strip().splitlines()[0],
    }


def _problem(name: str, value: orm.Dict | None) -> str | None:
    if value is None:
        return None
    try:
        MODELS[name](**value.get_dict())
    except ValidationError as error:
        return explain(error, what=name, model=MODELS[name])
    return None


def validate_finetune(inputs: Mapping[str, Any] | None, _port: Any) -> str | None:
    """Return what is wrong with the inputs as a whole, or None."""
    if not inputs:
        return None
    checks: tuple[Callable[[Mapping[str, Any]], list[str]], ...] = (
        _check_sets,
        _check_replay,
        _check_training,
        _check_properties,
    )
    messages = [message for check in checks for message in check(inputs)]
    return "; ".join(messages) or None


def _check_sets(inputs: Mapping[str, Any]) -> list[str]:
    sets = inputs.get("sets") or {}
    if "dataset" in inputs and sets:
        return ["dataset and sets were both given: give `dataset` to have it split, or your own `sets`, not both"]
    if "dataset" not in inputs:
        needed = set(SET_NAMES)
        if set(sets) != needed:
            return [
                f"sets = {sorted(sets)}: without `dataset`, give exactly {sorted(needed)}, "
                "or give `dataset` to have it split"
            ]
    return []


def _check_replay(inputs: Mapping[str, Any]) -> list[str]:
    strategy = (_training_settings(inputs) or {}).get("strategy", {})
    replays = isinstance(strategy, Mapping) and strategy.get("kind") == "replay"
    if "replay_pool" in inputs and not replays:
        return ["replay_pool was given, but settings.strategy is not 'replay': leave it out, or choose that strategy"]
    pool = inputs.get("replay_pool")
    size = int(inputs["replay"].get_dict().get("num_frames", 0)) if "replay" in inputs else 0
    if replays and pool is not None and len(pool) < size:
        return [f"replay.num_frames = {size}, but replay_pool has {len(pool)} frames: ask for fewer, or give more"]
    return []


def _check_training(inputs: Mapping[str, Any]) -> list[str]:
    """Check the settings against the potential and the data as far as they are known before the split."""
    settings = _training_settings(inputs)
    if settings is None:
        return []
    try:
        typed = TrainSettings(**settings)
    except ValidationError as error:
        return [explain(error, what="settings", model=TrainSettings)]
    forgets = "measure_forgetting" in inputs and inputs["measure_forgetting"].value
    if forgets and (typed.strategy.kind == "scratch" or typed.keep_elements == "training"):
        cause = "strategy = 'scratch'" if typed.strategy.kind == "scratch" else "keep_elements = 'training'"
        return [
            f"measure_forgetting = True with settings.{cause}: the trained potential will not know other elements. "
            "Set measure_forgetting to False, or keep all elements of a foundation model"
        ]
    sets = inputs.get("sets") or {}
    return _check(typed, inputs, {"training": inputs["dataset"]} if "dataset" in inputs else sets)


def set_problems(inputs: Mapping[str, Any], sets: Mapping[str, DatasetData]) -> list[str]:
    """Return why the sets of a split, or those given, cannot be trained on."""
    missing = [f"there is no {name} set: give it a share in `split`" for name in SET_NAMES if name not in sets]
    return missing or _check(TrainSettings(**_training_settings(inputs) or {}), inputs, sets)


def _check(settings: TrainSettings, inputs: Mapping[str, Any], sets: Mapping[str, DatasetData]) -> list[str]:
    scratch = settings.strategy.kind == "scratch"
    job = Training(
        settings=settings,
        potential=None if scratch or "potential" not in inputs else inputs["potential"].info,
        training=sets.get("training"),
        validation=sets.get("validation"),
        tests={"test": sets["test"]} if "test" in sets else {},
    )
    return check_training(job, complete=False)


def _check_properties(inputs: Mapping[str, Any]) -> list[str]:
    """Check the properties against the potential, which their own validation does not see yet."""
    node = (inputs.get("properties") or {}).get("settings")
    if node is None or "potential" not in inputs:
        return []
    try:
        settings = PropertySettings(**node.get_dict())
    except ValidationError as error:
        return [explain(error, what="properties.settings", model=PropertySettings)]
    return check_properties(settings, inputs["potential"].info)


def _training_settings(inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    node = inputs.get("training", {}).get("train", {}).get("settings")
    return None if node is None else dict(node.get_dict())


def finetune_builder(
    cls: Any,
    *,
    code: orm.PortableCode,
    potential: PotentialData,
    dataset: DatasetData | None = None,
    sets: Mapping[str, DatasetData] | None = None,
    options: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> ProcessBuilder:
    """Return a builder with the inputs of a protocol.

    :param code: the worker on the computer where all jobs run.
    :param potential: the foundation model.
    :param dataset: labelled configurations, to be split; or give ``sets``.
    :param sets: own split: ``training``, ``validation`` and ``test``.
    :param options: ``metadata.options`` of every job (resources, queue, walltime).
    :param protocol: ``fast``, ``balanced`` or ``stringent``.
    :param overrides: nested changes to the protocol's inputs, e.g.
        ``{"training": {"learning_rate": 1e-3, "strategy": {"kind": "lora", "rank": 8}}}``.
    :raises ValueError: for an unknown protocol or an unknown key in ``overrides``.
    """
    inputs = protocol_inputs("finetune", protocol, overrides)
    device = inputs["training"]["device"]
    builder = cls.get_builder()
    builder.potential = potential
    if dataset is not None:
        builder.dataset = dataset
    if sets is not None:
        builder.sets = dict(sets)
    for name in MODELS:
        builder[name] = complete(name, inputs[name])
    builder.measure_forgetting = orm.Bool(inputs["measure_forgetting"])
    job = {"options": dict(options or {})}
    builder.training.train.code = code
    builder.training.train.settings = inputs["training"]
    builder.training.train.metadata = job
    builder.evaluation.code = code
    builder.evaluation.settings = {"device": device, **inputs["evaluation"]}
    builder.evaluation.metadata = job
    if inputs["properties"]:
        builder.properties.code = code
        asked = with_protocol(inputs["properties"], protocol)
        builder.properties.settings = {"device": device, "properties": asked}
        builder.properties.metadata = job
    else:
        builder.pop("properties", None)
    return builder
