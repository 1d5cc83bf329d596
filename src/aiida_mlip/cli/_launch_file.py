"""The files that `aiida-mlip launch` reads: typed, unknown fields refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from aiida_mlip.computers.config import Walltime
from aiida_mlip.science.models import StrictModel, explain


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


Identifier = Annotated[str, BeforeValidator(_as_text)]
"""A node as the user knows it: pk, uuid or label."""


class LaunchFile(StrictModel):
    """What every file says: where, with which protocol, and what differs from it."""

    computer: str = Field(description="label of a computer that was set up")
    protocol: str = "balanced"
    walltime: Walltime | None = Field(default=None, description="longest time of one job: seconds or HH:MM:SS")
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


class PwFile(StrictModel):
    """What labels are made with: pw.x with one set of parameters for all configurations."""

    code: str = Field(description="label of the code of pw.x, as `verdi code list` prints it")
    pseudos: str = Field(description="label of the pseudopotential family, as `aiida-pseudo list` prints it")
    parameters: dict[str, dict[str, Any]] = Field(description="namelists of pw.x, e.g. SYSTEM: {ecutwfc: 60}")
    kpoints_distance: float = Field(gt=0, description="largest distance of neighbouring k-points [1/Å]")
    walltime: Walltime = Field(default=7200, description="longest time of one label: seconds or HH:MM:SS")
    processes: int = Field(default=1, gt=0, description="MPI processes of one label")


class IterativeFile(LaunchFile):
    """An iterative training: where, from what, what labels it, and how; or an earlier run to go on from."""

    structures: Identifier | None = Field(default=None, description="data set: where walkers start, what is augmented")
    potential: Identifier | None = Field(default=None, description="foundation model; none for strategy scratch")
    training_set: Identifier | None = Field(default=None, description="labelled configurations to begin with")
    holdout: Identifier | None = Field(default=None, description="labelled configurations to measure errors on")
    teacher: Identifier | None = Field(default=None, description="potential or ASE calculator that makes the labels")
    pw: PwFile | None = Field(default=None, description="or pw.x")
    resume: Identifier | None = Field(default=None, description="an earlier run to go on from: pk or uuid")
    max_generations: int | None = Field(default=None, gt=0, description="earlier runs included")
    label_budget: int | None = Field(default=None, gt=0, description="labels in all, earlier runs included")

    @model_validator(mode="after")
    def _one_beginning(self) -> IterativeFile:
        if self.resume is None:
            if self.structures is None:
                raise ValueError("give `structures` to begin with, or `resume` to go on from an earlier run")
            if (self.teacher is None) == (self.pw is None):
                raise ValueError("give `teacher` or `pw`, one of the two: what makes the labels")
            return self
        names = ("structures", "potential", "training_set", "holdout")
        if given := [name for name in names if getattr(self, name) is not None]:
            raise ValueError(f"`resume` takes {', '.join(given)} from the earlier run: leave them out")
        if "protocol" in self.model_fields_set:
            raise ValueError("`resume` takes its settings from the earlier run: leave `protocol` out, use `overrides`")
        return self


FileT = TypeVar("FileT", bound=LaunchFile)


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key that is given twice, of which YAML would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is given twice: join the two", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_launch(file: Path, model: type[FileT], example: str) -> FileT:
    """Return the contents of a file.

    :param model: what it has to hold.
    :param example: a file that does, for messages.
    :raises ValueError: if it is no YAML mapping, or a field is wrong; the message names file, field and remedy.
    """
    try:
        document = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - it is a safe one
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
