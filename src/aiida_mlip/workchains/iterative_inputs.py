"""Inputs of ``mlip.iterative_training``: completed settings, and checks before anything is submitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiida import orm
from pydantic import ValidationError

from aiida_mlip.calculations import checks
from aiida_mlip.calculations.checks.sets import check_finite
from aiida_mlip.calculations.checks.training import Training, check_training
from aiida_mlip.calculations.iterative import elements_to_isolate, walkers
from aiida_mlip.schema.dynamics import MDSettings
from aiida_mlip.schema.iterative import IterativeSettings
from aiida_mlip.schema.labelling import LabelSettings
from aiida_mlip.schema.selection import SelectionSettings
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.schema.uncertainty import UncertaintySettings
from aiida_mlip.science.keys import ENERGY, FORCES
from aiida_mlip.science.models import StrictModel, explain
from aiida_mlip.workchains.label_inputs import validate_label

MODELS: Mapping[str, tuple[type[StrictModel], Mapping[str, Any]]] = {
    "settings": (IterativeSettings, {}),
    "md.settings": (
        MDSettings,
        {"walkers": {"w": {"stages": [{"steps": 1, "temperature": 300.0}], "seed": 0}}},
    ),
    "selection.settings": (SelectionSettings, {"levels": {"lower": 1.0, "upper": 2.0}, "generation": 0}),
}
"""Input -> the model of its settings, and what the loop itself fills in, with something that is valid."""

_HELP = {
    "settings": "The loop itself: generations, ladder, committee, trust levels, budget, convergence.",
    "md.settings": "Settings of the dynamics without walkers, which come from the ladder.",
    "selection.settings": "Settings of the selection without trust levels and generation.",
}


def complete(name: str, values: Any) -> orm.Dict:
    """Return the settings of one input as a node that holds every field; wrong settings are kept for the validator."""
    if isinstance(values, orm.Dict):
        return values
    model, filled = MODELS[name]
    given = dict(values)
    try:
        full = model(**{**_with_pressure(name, given, filled), **given}).model_dump(mode="json")
    except ValidationError:
        return orm.Dict(given)
    return orm.Dict({key: value for key, value in full.items() if key not in filled})


def _with_pressure(name: str, given: Mapping[str, Any], filled: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is filled in; walkers of constant pressure need one."""
    ensemble = given.get("ensemble")
    if name != "md.settings" or not isinstance(ensemble, Mapping) or ensemble.get("kind") != "npt":
        return filled
    return {"walkers": {"w": {"stages": [{"steps": 1, "temperature": 300.0, "pressure": 0.0}], "seed": 0}}}


def settings_port(name: str) -> dict[str, Any]:
    """Return serializer, validator and help of a port for settings with a model."""

    def validate(value: orm.Dict | None, _port: Any) -> str | None:
        return None if value is None else _problem(name, value)

    def serialize(value: Any) -> orm.Dict:
        return complete(name, value)

    return {"serializer": serialize, "validator": validate, "help": _HELP[name]}


def _problem(name: str, node: orm.Dict) -> str | None:
    model, filled = MODELS[name]
    given = node.get_dict()
    if own := sorted(set(given) & set(filled)):
        return f"{name}.{own[0]} is filled in by the loop: leave it out"
    try:
        model(**{**_with_pressure(name, given, filled), **given})
    except ValidationError as error:
        return explain(error, what=name, model=model)
    return None


def validate_iterative(inputs: Mapping[str, Any] | None, _port: Any) -> str | None:
    """Return what is wrong with the inputs as a whole, or None."""
    if not inputs or "settings" not in inputs:
        return None
    try:
        settings = IterativeSettings(**inputs["settings"].get_dict())
    except ValidationError as error:
        return explain(error, what="settings", model=IterativeSettings)
    return "; ".join(message for check in _CHECKS for message in check(inputs, settings)) or None


def _check_source(inputs: Mapping[str, Any], settings: IterativeSettings) -> Iterator[str]:
    previous = inputs.get("previous") or {}
    if "history" not in previous:
        if any(previous.get(name) for name in ("training_set", "holdout", "selected", "potentials")):
            yield "previous: it has no history: use get_builder_from_protocol(..., previous=NODE), which fills it in"
        elif "training_set" not in inputs and settings.augmentation is None:
            yield "training_set was not given and settings.augmentation is None: give one of them to begin with"
        return
    if "training_set" not in previous:
        yield "previous: it has a history and no training_set: use get_builder_from_protocol(..., previous=NODE)"
    for name in ("training_set", "holdout"):
        if name in inputs:
            yield f"{name} was given together with previous, which has its own: leave {name} out"
    done, used = len(previous["history"]["generations"]), int(previous["history"]["labels_used"])
    if settings.max_generations <= done:
        yield checks.refusal(
            "settings.max_generations",
            settings.max_generations,
            f"the earlier run has {done} generations, and they count",
            f"Set it to at least {done + 1}",
        )
    if settings.label_budget is not None and used >= settings.label_budget:
        yield checks.refusal(
            "settings.label_budget",
            settings.label_budget,
            f"the earlier run has asked for {used} labels, and they count",
            f"Set it to more than {used}",
        )


def _check_committee(inputs: Mapping[str, Any], settings: IterativeSettings) -> Iterator[str]:
    node = (inputs.get("uncertainty") or {}).get("settings")
    if node is None:
        return
    try:
        kind = UncertaintySettings(**node.get_dict()).method.kind
    except ValidationError:
        return  # the calculation's own validation explains it
    size = settings.committee.size
    if kind == "deep" and size < 2:
        yield checks.refusal(
            "settings.committee.size",
            size,
            "the uncertainty 'deep' is the disagreement of independent potentials",
            "Train at least 2, or use uncertainty.settings.method 'shallow' or 'last_layer_bayes' with one",
        )
    if kind != "deep" and size > 1:
        yield checks.refusal(
            "settings.committee.size",
            size,
            f"the uncertainty {kind!r} belongs to one potential, and the others would be trained for nothing",
            "Set it to 1, or use uncertainty.settings.method 'deep'",
        )


def _check_training(inputs: Mapping[str, Any], settings: IterativeSettings) -> Iterator[str]:  # noqa: ARG001
    typed = _training(inputs)
    if typed is None:
        return
    scratch = typed.strategy.kind == "scratch"
    if typed.strategy.kind == "replay":
        yield "training.train.settings.strategy = 'replay' is not offered in the loop: use naive, frozen or lora"
    if not scratch and "potential" not in inputs:
        yield checks.refusal(
            "potential",
            None,
            f"training.train.settings.strategy = {typed.strategy.kind!r} starts from one",
            "Give a foundation model, or use strategy 'scratch'",
        )
    known = None if scratch or "potential" not in inputs else inputs["potential"].info
    if known is not None:
        yield from checks.check_potential(known, {name: inputs.get(name) for name in ("structures", *_LABELLED)})
    job = Training(settings=typed, potential=known)
    yield from check_training(job, complete=False)


def _check_given_sets(inputs: Mapping[str, Any], settings: IterativeSettings) -> Iterator[str]:  # noqa: ARG001
    """Refuse sets without labels: they would be found out once the first set was labelled."""
    given = {name: inputs.get(name) for name in _LABELLED}
    yield from check_finite(given)
    for name, data in given.items():
        if data is not None and not any(data.labels.get(key, 0) for key in (ENERGY, FORCES)):
            yield checks.refusal(
                name,
                f"<data set of {len(data)} configurations>",
                f"it has neither {ENERGY} nor {FORCES}",
                "Label it with mlip.label, or give it as structures",
            )


def _check_labeller(inputs: Mapping[str, Any], settings: IterativeSettings) -> Iterator[str]:  # noqa: ARG001
    """Refuse what labels, where the labelling of the start structures would refuse it."""
    label, structures = inputs.get("label"), inputs.get("structures")
    if label and structures is not None and (problem := validate_label({**label, "configurations": structures}, None)):
        yield f"label: {problem}"


def _check_dynamics(inputs: Mapping[str, Any], settings: IterativeSettings) -> Iterator[str]:
    node, structures = (inputs.get("md") or {}).get("settings"), inputs.get("structures")
    if node is None or structures is None or _problem("md.settings", node):
        return
    made = walkers(settings, len(structures), 1, len(settings.conditions))
    try:
        MDSettings(**{**node.get_dict(), "walkers": made})
    except ValidationError as error:
        yield explain(error, what="md.settings", model=MDSettings)


def _check_labels(inputs: Mapping[str, Any], settings: IterativeSettings) -> Iterator[str]:
    node, structures = (inputs.get("selection") or {}).get("settings"), inputs.get("structures")
    if structures is None:
        return
    if node is not None:
        largest, limit = max(len(atoms) for atoms in structures.frames()), int(node.get("max_label_atoms", 200))
        if largest > limit:
            yield checks.refusal(
                "structures",
                f"<{largest} atoms>",
                f"selection.settings.max_label_atoms = {limit}: no frame of it could be labelled",
                "Use smaller cells, or raise the limit where the labels can be afforded",
            )
    typed = _training(inputs)
    budget = settings.label_budget
    if typed is not None and budget is not None and "history" not in (inputs.get("previous") or {}):
        isolated = elements_to_isolate(typed, _labels(inputs), structures, inputs.get("training_set"))
        if len(isolated) >= budget:
            yield checks.refusal(
                "settings.label_budget",
                budget,
                f"the isolated atoms of {len(isolated)} elements use it up",
                f"Set it to more than {len(isolated)}",
            )


def _training(inputs: Mapping[str, Any]) -> TrainSettings | None:
    """Return the settings of the training; None where there are none, or wrong ones that the training explains."""
    node = (inputs.get("training") or {}).get("train", {}).get("settings")
    try:
        return None if node is None else TrainSettings(**node.get_dict())
    except ValidationError:
        return None


def _labels(inputs: Mapping[str, Any]) -> LabelSettings:
    """Return the settings of the labels; wrong ones are explained by the labelling itself."""
    node = (inputs.get("label") or {}).get("settings")
    try:
        return LabelSettings() if node is None else LabelSettings(**node.get_dict())
    except ValidationError:
        return LabelSettings()


_LABELLED = ("training_set", "holdout")
"""Inputs that carry labels."""

_CHECKS: tuple[Callable[[Mapping[str, Any], IterativeSettings], Iterator[str]], ...] = (
    _check_source,
    _check_given_sets,
    _check_labeller,
    _check_committee,
    _check_training,
    _check_dynamics,
    _check_labels,
)
