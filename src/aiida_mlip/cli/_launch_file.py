"""The files that `aiida-mlip launch` reads: typed, unknown fields refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from aiida_mlip.science.models import StrictModel, explain


class FinetuneFile(StrictModel):
    """A fine-tuning: where, from what, on what, and how."""

    computer: str = Field(description="label of a computer that was set up")
    potential: str = Field(description="foundation model: pk, uuid or label")
    dataset: str | None = Field(default=None, description="data set to be split: pk, uuid or label")
    sets: dict[str, str] = Field(default_factory=dict, description="own split: training, validation, test")
    replay_pool: str | None = Field(default=None, description="configurations to choose a replay set from")
    protocol: str = "balanced"
    walltime: str | int | None = Field(default=None, description="longest time of one job: seconds or HH:MM:SS")
    label: str = ""
    overrides: dict[str, Any] = Field(default_factory=dict, description="changes to the inputs of the protocol")

    @field_validator("potential", "dataset", "replay_pool", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _one_source(self) -> FinetuneFile:
        if (self.dataset is None) == (not self.sets):
            raise ValueError("give `dataset` to have it split, or your own `sets`, one of the two")
        return self


def read_finetune(file: Path) -> FinetuneFile:
    """Return the contents of a file.

    :raises ValueError: if it is no YAML mapping, or a field is wrong; the message names file, field and remedy.
    """
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is no valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004  the caller reports one kind
            f"{file} holds no mapping: write `field: value` lines, as in examples/finetune.yaml"
        )
    try:
        return FinetuneFile(**document)
    except ValidationError as error:
        raise ValueError(explain(error, what=str(file), model=FinetuneFile)) from error
