"""The files that `aiida-mlip launch` reads: typed, unknown fields refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from aiida_mlip.science.models import StrictModel, explain


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


Identifier = Annotated[str, BeforeValidator(_as_text)]
"""A node as the user knows it: pk, uuid or label."""


class LaunchFile(StrictModel):
    """What every file says: where, with which protocol, and what differs from it."""

    computer: str = Field(description="label of a computer that was set up")
    protocol: str = "balanced"
    walltime: str | int | None = Field(default=None, description="longest time of one job: seconds or HH:MM:SS")
    label: str = ""
    overrides: dict[str, Any] = Field(default_factory=dict, description="changes to the inputs of the protocol")


class FinetuneFile(LaunchFile):
    """A fine-tuning: where, from what, on what, and how."""

    potential: Identifier = Field(description="foundation model: pk, uuid or label")
    dataset: Identifier | None = Field(default=None, description="data set to be split: pk, uuid or label")
    sets: dict[str, Identifier] = Field(default_factory=dict, description="own split: training, validation, test")
    replay_pool: Identifier | None = Field(default=None, description="configurations to choose a replay set from")

    @model_validator(mode="after")
    def _one_source(self) -> FinetuneFile:
        if (self.dataset is None) == (not self.sets):
            raise ValueError("give `dataset` to have it split, or your own `sets`, one of the two")
        return self


class DefectsFile(LaunchFile):
    """An evaluation of defects: where, which potentials, of which elements, and what."""

    potentials: dict[str, Identifier] = Field(
        min_length=1, description="name, as it is to be printed -> potential: pk, uuid or label"
    )
    elements: tuple[str, ...] = Field(min_length=1, description="chemical symbols")
    properties: tuple[str, ...] | None = Field(
        default=None, description="a choice of properties; without it, all of the protocol"
    )
    reference: Path | None = Field(default=None, description="your own reference data, beside this file")
    max_concurrent: int | None = Field(default=None, gt=0, description="jobs at a time; none: that of the computer")


FileT = TypeVar("FileT", bound=LaunchFile)


def read_launch(file: Path, model: type[FileT], example: str) -> FileT:
    """Return the contents of a file.

    :param model: what it has to hold.
    :param example: a file that does, for messages.
    :raises ValueError: if it is no YAML mapping, or a field is wrong; the message names file, field and remedy.
    """
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is no valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004  the caller reports one kind
            f"{file} holds no mapping: write `field: value` lines, as in {example}"
        )
    try:
        return model(**document)
    except ValidationError as error:
        raise ValueError(explain(error, what=str(file), model=model)) from error
