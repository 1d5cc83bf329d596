"""The base of every typed input and result: strict, immutable, and explained in words when it is wrong."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class StrictModel(BaseModel):
    """A pydantic model that refuses unknown fields, infinities and NaN, and cannot be changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_enum_values=True)


def explain(error: ValidationError, *, what: str, model: type[BaseModel] | None = None) -> str:
    """Return one message that names each wrong field, its value and what would be right.

    :param error: what pydantic raised.
    :param what: the thing that was validated, as the user knows it, e.g. ``settings``.
    :param model: the top-level model; where given, unknown fields are answered with the known ones.
    """
    lines = []
    for item in error.errors():
        field = ".".join(str(part) for part in (what, *item["loc"]))
        lines.append(_explain_one(field, dict(item), model))
    return "; ".join(lines)


def _explain_one(field: str, item: dict[str, Any], model: type[BaseModel] | None) -> str:
    kind, message = item["type"], item["msg"].removeprefix("Value error, ")
    if kind == "missing":
        return f"{field} is required and was not given"
    if kind == "extra_forbidden":
        known = f": known here are {', '.join(sorted(model.model_fields))}" if model and len(item["loc"]) == 1 else ""
        return f"{field} is not a known field{known or ': check its spelling against the reference'}"
    if isinstance(item["input"], dict | BaseModel):
        return f"{field}: {message}"
    return f"{field} = {item['input']!r}: {message}"
