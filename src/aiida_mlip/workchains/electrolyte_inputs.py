"""Inputs of ``mlip.electrolyte``: completed settings, and checks before anything is submitted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiida import orm
from ase.formula import Formula
from pydantic import ValidationError

from aiida_mlip.calculations import checks
from aiida_mlip.calculations.boxes import check_box, check_box_settings
from aiida_mlip.calculations.checks.dispersion import check_no_dispersion
from aiida_mlip.calculations.checks.sets import check_finite
from aiida_mlip.calculations.checks.wording import listed
from aiida_mlip.calculations.dispersion import STATEMENTS
from aiida_mlip.calculations.electrolyte import STAGES, dynamics_settings, steps_of
from aiida_mlip.schema.dispersion import Dispersion
from aiida_mlip.schema.electrolyte import ElectrolyteSettings, RuntimeSettings
from aiida_mlip.schema.liquid import LiquidSettings
from aiida_mlip.science.iterative.ladder import NAME
from aiida_mlip.science.liquids.compositions import components_of
from aiida_mlip.science.models import StrictModel, explain
from aiida_mlip.workchains.label_inputs import validate_label

MODELS: Mapping[str, type[StrictModel]] = {"settings": ElectrolyteSettings, "md.settings": RuntimeSettings}
"""Input -> the model of its settings."""

_HELP = {
    "settings": "Boxes, conditions and lengths of the dynamics, tests of forces, limits of the checks.",
    "md.settings": "Device, floating-point type and head with which the potentials run.",
}

RESERVED = ("reference", "box", "boxes", "verdict")
"""No names of potentials: the calls of the work chain have labels that begin with them."""

RESERVED_FOR_BOXES = ("configurations", "settings")
"""No names of boxes: inputs of a calculation that takes boxes by their names."""


def complete(name: str, values: Any) -> orm.Dict:
    """Return the settings of one input as a node that holds every field; wrong settings are kept for the validator."""
    if isinstance(values, orm.Dict):
        return values
    try:
        return orm.Dict(MODELS[name](**dict(values)).model_dump(mode="json"))
    except ValidationError:
        return orm.Dict(dict(values))


def settings_port(name: str) -> dict[str, Any]:
    """Return serializer, validator and help of a port for settings with a model."""

    def validate(value: orm.Dict | None, _port: Any) -> str | None:
        if value is None:
            return None
        try:
            MODELS[name](**value.get_dict())
        except ValidationError as error:
            return explain(error, what=name, model=MODELS[name])
        return None

    def serialize(value: Any) -> orm.Dict:
        return complete(name, value)

    return {"serializer": serialize, "validator": validate, "help": _HELP[name]}


def validate_electrolyte(inputs: Mapping[str, Any] | None, _port: Any) -> str | None:
    """Return what is wrong with the inputs as a whole, or None."""
    if not inputs or "settings" not in inputs:
        return None
    try:
        settings = ElectrolyteSettings(**inputs["settings"].get_dict())
    except ValidationError as error:
        return explain(error, what="settings", model=ElectrolyteSettings)
    return "; ".join(message for check in _CHECKS for message in check(inputs, settings)) or None


def _check_names(inputs: Mapping[str, Any], settings: ElectrolyteSettings) -> Iterator[str]:
    potentials = inputs.get("potentials") or {}
    remedy = "Use letters, digits and single underscores, beginning with a letter"
    if not potentials:
        yield checks.refusal("potentials", {}, "there is nothing to look at", "Give at least one potential")
    for name in potentials:
        if not re.fullmatch(NAME, name):
            yield checks.refusal(f"potentials.{name}", name, "it cannot be a name in the graph", remedy)
        elif name in RESERVED or name.startswith("box_"):
            yield checks.refusal(f"potentials.{name}", name, "the workflow has steps of this name", "Use another name")
    for name in settings.boxes:
        if not re.fullmatch(NAME, name) or name in RESERVED_FOR_BOXES:
            yield checks.refusal(f"settings.boxes.{name}", name, "it cannot be a name in the graph", remedy)
    given = inputs.get("boxes") or {}
    for name in sorted(set(given) & set(settings.boxes)):
        yield checks.refusal(f"boxes.{name}", name, "settings.boxes has a box of this name too", "Use different names")
    if not given and not settings.boxes:
        yield checks.refusal("settings.boxes", {}, "there is no box", "Name one to be packed, or give one in boxes")


def _check_boxes(inputs: Mapping[str, Any], settings: ElectrolyteSettings) -> Iterator[str]:
    """Refuse boxes that cannot be packed or run, before anything is packed."""
    for name, box in settings.boxes.items():
        yield from check_box_settings(f"settings.boxes.{name}", box)
    given = inputs.get("boxes") or {}
    yield from check_finite({f"boxes.{name}": data for name, data in given.items()})
    for name, data in given.items():
        if not data.not_finite:
            yield from check_box(f"boxes.{name}", data)


def elements_of(settings: ElectrolyteSettings) -> set[str]:
    """Return the elements of the boxes that are packed; those that cannot be packed are left out."""
    found: set[str] = set()
    for box in settings.boxes.values():
        try:
            components = components_of(box.composition)
        except ValueError:
            continue
        found |= {element for component, _ in components for element in Formula(component.formula)}
    return found


def _check_elements(inputs: Mapping[str, Any], settings: ElectrolyteSettings) -> Iterator[str]:
    sets = {**{f"boxes.{name}": data for name, data in (inputs.get("boxes") or {}).items()}}
    if (labelled := inputs.get("labelled")) is not None:
        sets["labelled"] = labelled
    needed = dict.fromkeys(sorted(elements_of(settings)), "settings.boxes")
    for field, data in sets.items():
        needed |= dict.fromkeys((element for element in data.elements if element not in needed), field)
    for name, potential in (inputs.get("potentials") or {}).items():
        missing = [element for element in needed if element not in potential.elements]
        if missing:
            known = potential.elements
            yield checks.refusal(
                f"potentials.{name}",
                potential.label or f"<potential of {len(known)} elements>",
                f"it lacks {listed(missing)} of {listed(sorted({needed[element] for element in missing}))}",
                f"Leave out what contains {listed(missing)}, or this potential",
            )
        head = inputs["md"]["settings"].get("head") if "settings" in (inputs.get("md") or {}) else None
        yield from checks.check_head("md.settings.head", head, potential.info)


def _check_dispersion(inputs: Mapping[str, Any], settings: ElectrolyteSettings) -> Iterator[str]:  # noqa: ARG001
    potentials = inputs.get("potentials") or {}
    for name, said in (inputs.get("dispersion") or {}).items():
        field = f"dispersion.{name}"
        if name not in potentials:
            yield checks.refusal(field, name, "there is no such potential", f"They are {listed(sorted(potentials))}")
        elif isinstance(said, orm.Str):
            if said.value not in STATEMENTS:
                remedy = f"Say {listed(STATEMENTS)}, or give the settings of what is added"
                yield checks.refusal(field, said.value, "it is none of the statements", remedy)
            elif potentials[name].info.dispersion is not None:
                yield checks.refusal(field, said.value, "dispersion is added to this potential", "Leave it out")
        else:
            try:
                Dispersion(**said.get_dict())
            except ValidationError as error:
                yield explain(error, what=field, model=Dispersion)
            yield from (f"{field}: {problem}" for problem in check_no_dispersion(potentials[name].info))


def _check_dynamics(inputs: Mapping[str, Any], settings: ElectrolyteSettings) -> Iterator[str]:
    asked = settings.dynamics
    for field, values, digits in (("temperatures", [round(t) for t in asked.temperatures], "whole kelvins"),
                                  ("pressures", list(asked.pressures), "GPa")):  # fmt: skip
        if len(set(values)) != len(values):
            remedy = f"Give each once; they are told apart in {digits}"
            yield checks.refusal(f"settings.dynamics.{field}", getattr(asked, field), "two are the same", remedy)
            return
    if asked.npt_steps and not asked.pressures:
        yield checks.refusal(
            "settings.dynamics.pressures", (), "npt_steps needs a pressure", "Give one in GPa; 1 bar is 1e-4"
        )
        return
    boxes = sorted({*settings.boxes, *(inputs.get("boxes") or {})})
    runtime = _runtime(inputs)
    if not boxes or runtime is None or not all(re.fullmatch(NAME, name) for name in boxes):
        return
    for stage in STAGES:
        if not steps_of(settings, stage):
            continue
        starts = boxes if stage == "nvt" or not asked.nvt_steps else [f"{boxes[0]}_t{round(asked.temperatures[0])}_w1"]
        try:
            dynamics_settings(settings, runtime, starts, stage)
        except ValidationError as error:
            yield explain(error, what="settings.dynamics")
            return


def _check_limits(_inputs: Mapping[str, Any], settings: ElectrolyteSettings) -> Iterator[str]:
    """Refuse limits of checks that do not exist, which would be found out when the first run has ended."""
    try:
        LiquidSettings(walkers={"any": {"temperature": 300.0}}, checks=settings.checks)
    except ValidationError as error:
        yield explain(error, what="settings")


def _check_references(inputs: Mapping[str, Any], settings: ElectrolyteSettings) -> Iterator[str]:
    known = {*settings.boxes, *(inputs.get("boxes") or {})}
    for name in sorted(set(settings.reference_densities) - known):
        yield checks.refusal(
            f"settings.reference_densities.{name}",
            settings.reference_densities[name],
            "there is no such box",
            f"The boxes are {listed(sorted(known))}",
        )


def _check_labellers(inputs: Mapping[str, Any], settings: ElectrolyteSettings) -> Iterator[str]:
    label, reference = inputs.get("label") or {}, inputs.get("reference")
    if settings.force_tests is None:
        if reference:
            yield "reference is given and settings.force_tests is None: nothing would be labelled. Leave one out."
        return
    if "code" not in (label.get("batch") or {}):
        yield "label.batch.code is required for the tests of forces: give the worker, or settings.force_tests = None."
    if reference and (problem := validate_label(reference, None)):
        yield f"reference: {problem}"
    batch = (reference or {}).get("batch") or {}
    if (teacher := batch.get("potential")) is not None:
        missing = sorted(elements_of(settings) - set(teacher.elements))
        if missing:
            yield checks.refusal(
                "reference.batch.potential",
                teacher.label or f"<potential of {len(teacher.elements)} elements>",
                f"it lacks {listed(missing)} of settings.boxes",
                "Give a reference that knows all elements, or leave it out",
            )


def _runtime(inputs: Mapping[str, Any]) -> RuntimeSettings | None:
    node = (inputs.get("md") or {}).get("settings")
    try:
        return None if node is None else RuntimeSettings(**node.get_dict())
    except ValidationError:
        return None  # the port explains it


_CHECKS: tuple[Callable[[Mapping[str, Any], ElectrolyteSettings], Iterator[str]], ...] = (
    _check_names,
    _check_boxes,
    _check_elements,
    _check_dispersion,
    _check_dynamics,
    _check_limits,
    _check_references,
    _check_labellers,
)
