"""Settings of a job as typed models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.science.models import StrictModel, explain

Model = TypeVar("Model", bound=StrictModel)


def parse_settings(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return the settings of a job.

    :raises TaskError: of kind ``input`` that names each wrong field, its value and what would be right.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        message = f"{explain(error, what='settings', model=model)}."
        raise TaskError(ErrorKind.INPUT, message, "Correct the settings.") from error
