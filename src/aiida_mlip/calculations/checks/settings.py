"""Settings as the graph stores them: complete, with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from aiida_mlip.calculations.checks.wording import refusal
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.schema.tasks import PropertySettings
from aiida_mlip.science import properties
from aiida_mlip.science.models import StrictModel, explain


def complete(model: type[StrictModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with all defaults, as plain JSON values.

    :raises ValueError: naming each wrong field, its value and what would be right.
    """
    try:
        return model.model_validate(dict(values)).model_dump(mode="json")
    except ValidationError as error:
        raise ValueError(explain(error, what="settings", model=model)) from error


def problems_of(model: type[StrictModel], values: Mapping[str, Any]) -> str | None:
    """Return what is wrong with stored settings, or None."""
    try:
        full = complete(model, values)
    except ValueError as error:
        return str(error)
    absent = sorted(set(full) - set(values))
    if absent:
        return (
            f"settings = Dict without {', '.join(absent)}: defaults are written into the graph only where a plain "
            "dict is given. Pass a dict instead of a Dict node"
        )
    return None


def check_properties(settings: PropertySettings, info: PotentialInfo | None = None) -> list[str]:
    """Return what is wrong with the properties asked for: unknown names, wrong inputs, unknown elements.

    :param info: the potential, None where it is not known yet.
    """
    messages = []
    for name, inputs in settings.properties.items():
        field = f"settings.properties.{name}"
        try:
            element = _typed(name, inputs).get("element")
        except (ValueError, TypeError) as error:
            messages.append(f"{field}: {error}")
            continue
        if info is not None and element is not None and element not in info.elements:
            remedy = f"Use a potential that knows {element}, or leave this property out"
            messages.append(refusal(f"{field}.element", element, "the potential lacks this element", remedy))
    return messages


def with_property_defaults(settings: PropertySettings) -> dict[str, Any]:
    """Return the settings with the defaults of each property's inputs; wrong inputs are left as they are."""
    full = {}
    for name, inputs in settings.properties.items():
        try:
            full[name] = _typed(name, inputs)
        except (ValueError, TypeError):
            full[name] = dict(inputs)
    return {**settings.model_dump(mode="json"), "properties": full}


def _typed(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete inputs of one property, with the field ``property`` that names its kind."""
    kind = str(inputs.get("property", name))
    given = {key: value for key, value in inputs.items() if key != "property"}
    typed = properties.parse_inputs(properties.get(kind), given)
    return {"property": kind, **typed.model_dump(mode="json")}
