"""Compute properties of materials with a potential, one after the other, and keep each as soon as it is done."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field, ValidationError

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.tasks import PARTIAL_FILE, PropertySettings
from aiida_mlip.science import properties
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.models import StrictModel, explain
from aiida_mlip.science.properties import Journal, Notebook, Property, PropertyFailure, PropertyRecord
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.given import potential_of
from aiida_mlip.worker.runner import write_atomically
from aiida_mlip.worker.settings import parse_settings


class Unfinished(StrictModel):
    """A property that was begun: for which inputs, and its finished steps."""

    property: str = Field(description="name in the registry")
    inputs: dict[str, Any] = Field(description="the inputs with all defaults filled in")
    notebook: Notebook


class PartialFile(StrictModel):
    """The file that a restart goes on from: what an unfinished job has so far."""

    format: Literal[1] = 1
    properties: dict[str, PropertyRecord]
    failed: dict[str, PropertyRecord]
    structures: dict[str, str] = Field(description="name -> structures as extended XYZ")
    unfinished: dict[str, Unfinished] = Field(default_factory=dict, description="name -> what there is so far")


@dataclass(frozen=True)
class Request:
    """One property that is asked for: its name in the job, its kind, and its inputs."""

    name: str
    prop: Property[Any, Any]
    inputs: StrictModel


@dataclass
class Progress:
    """What is done so far; it is written after every property, and after every step that a property keeps.

    :param records: name -> record, of those that have a result.
    :param failed: name -> record, of those that have none.
    :param structures: name -> structures as extended XYZ.
    :param unfinished: name -> the finished steps of what was begun.
    """

    records: dict[str, PropertyRecord] = field(default_factory=dict)
    failed: dict[str, PropertyRecord] = field(default_factory=dict)
    structures: dict[str, str] = field(default_factory=dict)
    unfinished: dict[str, Unfinished] = field(default_factory=dict)

    def begin(self, request: Request) -> Notebook:
        """Return the notebook of a property that is about to be computed: an earlier job's, or an empty one."""
        inputs = request.inputs.model_dump(mode="json")
        empty = Unfinished(property=request.prop.name, inputs=inputs, notebook=Notebook())
        return self.unfinished.setdefault(request.name, empty).notebook

    def add(self, name: str, record: PropertyRecord, structures: Sequence[Atoms]) -> None:
        """Keep one property; its steps are no longer needed."""
        self.unfinished.pop(name, None)
        (self.failed if record.error else self.records)[name] = record
        if structures:
            text = io.StringIO()
            write_extxyz(structures, text)
            self.structures[name] = text.getvalue()

    def payload(self) -> dict[str, Any]:
        """Return the payload of the result."""
        return {
            "properties": {name: record.model_dump(mode="json") for name, record in self.records.items()},
            "failed": {name: record.model_dump(mode="json") for name, record in self.failed.items()},
        }

    def write(self, folder: Path) -> None:
        """Write the file that a restart goes on from."""
        document = PartialFile(
            properties=self.records, failed=self.failed, structures=self.structures, unfinished=self.unfinished
        )
        write_atomically(folder / PARTIAL_FILE, document.model_dump_json())

    def write_structures(self, folder: Path, *names: str) -> None:
        """Write the structures of these properties, of those that have any."""
        for name in names:
            if name in self.structures:
                write_atomically(folder / f"structures_{name}.xyz", self.structures[name])


def run(context: Context) -> dict[str, Any]:
    """Run the task.

    Files: ``potential``, and ``restart`` (a ``partial.json`` of an earlier job, or the folder that has it): what is
    finished there with the same inputs is not computed again. Writes ``partial.json`` and ``structures_<name>.xyz``.

    :return: ``properties`` and ``failed``: name -> :class:`aiida_mlip.science.properties.PropertyRecord`, of those that
        have a result and of those that were given up. One that fails does not take the others down.
    :raises TaskError: of kind ``input`` where a property is unknown or its inputs are wrong.
    """
    settings = parse_settings(PropertySettings, context.job.settings)
    requests = _requests(settings)
    progress = _restart(context, requests)
    if progress.records or progress.unfinished:
        progress.write(context.directory)
        progress.write_structures(context.directory, *progress.records)
        context.partial.update(progress.payload())
    context.reporter.stage("load")
    potential = potential_of(context, settings)
    calculator = potential.calculator()
    for request in requests:
        if request.name not in progress.records:
            context.check_time()
            report = _journal(context, request, progress)
            record, structures = _compute(context, request, calculator, potential.info.elements, report)
            progress.add(request.name, record, structures)
            progress.write(context.directory)
            progress.write_structures(context.directory, request.name)
            context.partial.update(progress.payload())
    return progress.payload()


def _requests(settings: PropertySettings) -> list[Request]:
    requests, problems = [], []
    for name, values in settings.properties.items():
        kind = str(values.get("property", name))
        try:
            prop = properties.get(kind)
            inputs = properties.parse_inputs(prop, {key: value for key, value in values.items() if key != "property"})
            requests.append(Request(name, prop, inputs))
        except ValueError as error:
            problems.append(f"settings.properties.{name}: {error}")
    if problems:
        raise TaskError(ErrorKind.INPUT, f"{'; '.join(problems)}.", "Correct the inputs.")
    return requests


def _compute(
    context: Context, request: Request, calculator: Calculator, elements: Sequence[str], report: Journal
) -> tuple[PropertyRecord, tuple[Atoms, ...]]:
    inputs = request.inputs.model_dump(mode="json")
    element = inputs.get("element")
    context.reporter.stage(request.name)
    if element is not None and element not in elements:
        message = f"element = {element!r}: the potential has {', '.join(elements)} only"
        failure = PropertyFailure(type="MissingElement", message=message)
        return PropertyRecord(property=request.prop.name, inputs=inputs, error=failure), ()
    return properties.compute(request.prop, inputs, calculator, report, propagate=(TaskError,))


def _journal(context: Context, request: Request, progress: Progress) -> Journal:
    """Return what turns the stages of a property into stages of the job, and writes down its finished steps."""
    current = ""

    def report(stage: str, step: int, total: int) -> None:
        nonlocal current
        context.check_time()
        if stage != current:
            current = stage
            context.reporter.stage(f"{request.name}: {stage}", total)
        context.reporter.update(step)

    return Journal(report, progress.begin(request), lambda: progress.write(context.directory))


def _restart(context: Context, requests: Sequence[Request]) -> Progress:
    """Return what an earlier job has finished of this one."""
    progress = Progress()
    if "restart" not in context.job.files:
        return progress
    path = context.path("restart")
    path = path / PARTIAL_FILE if path.is_dir() else path
    if not path.exists():  # the earlier job ended before its first property
        return progress
    try:
        earlier = PartialFile.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        message = f"{explain(error, what=path.name, model=PartialFile)}."
        raise TaskError(ErrorKind.INPUT, message, "Start from the beginning, without the earlier job.") from error
    for request in requests:
        name = request.name
        if _same(request, earlier.properties.get(name)):
            progress.records[name] = earlier.properties[name]
            if name in earlier.structures:
                progress.structures[name] = earlier.structures[name]
        elif _same(request, earlier.unfinished.get(name)):
            progress.unfinished[name] = earlier.unfinished[name]
    return progress


def _same(request: Request, found: PropertyRecord | Unfinished | None) -> bool:
    """Return whether ``found`` is of the same property with the same inputs."""
    return (
        found is not None
        and found.property == request.prop.name
        and found.inputs == request.inputs.model_dump(mode="json")
    )
