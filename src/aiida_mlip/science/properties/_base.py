"""What every property is made of: typed inputs, a typed result with flags, quantities to compare, and its cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes
from pydantic import Field, ValidationError

from aiida_mlip.science.models import StrictModel, explain

Report = Callable[[str, int, int], None]
"""Called as ``report(stage, step, total)`` while a property is computed; ``total`` is 0 where it is not known."""


def silent(stage: str, step: int, total: int) -> None:
    """Report nothing."""


class PropertyError(Exception):
    """A property cannot be computed with this potential; the message says why and what to do."""


class Flag(StrictModel):
    """Something a reader of the number has to know."""

    name: str = Field(description="stable name, e.g. 'unstable_c44'")
    message: str = Field(description="one sentence with the numbers that raised the flag")
    unusable: bool = Field(default=False, description="the number must not be used, rather than used with care")


class Quantity(StrictModel):
    """One number of a result, named so that it can be compared between potentials and with reference data."""

    key: str = Field(description="key in the reference data, e.g. 'C11'")
    value: float
    unit: str
    label: str = Field(description="what to print, e.g. 'C11'")


class PropertyResult(StrictModel):
    """The base of every typed result."""

    flags: tuple[Flag, ...] = ()


InputsT = TypeVar("InputsT", bound=StrictModel)
ResultT = TypeVar("ResultT", bound=PropertyResult)


@dataclass(frozen=True)
class Outcome(Generic[ResultT]):
    """What a property's ``run`` returns: the result, its comparable numbers, and the structures worth keeping."""

    result: ResultT
    quantities: tuple[Quantity, ...]
    structures: tuple[Atoms, ...] = ()


class _Run(Protocol):
    """The signature of a property's ``run``."""

    def __call__(self, inputs: Any, calculator: BaseCalculator, report: Report) -> Outcome[Any]: ...


@dataclass(frozen=True)
class Property(Generic[InputsT, ResultT]):
    """A property as the registry knows it.

    :param name: name in the registry; equal to the name of the module.
    :param summary: one sentence: what is computed.
    :param inputs: model of the inputs.
    :param result: model of the result.
    :param run: computes the property with an ASE calculator.
    :param conformance: inputs of a case that ASE's EMT potential does in about a second.
    """

    name: str
    summary: str
    inputs: type[InputsT]
    result: type[ResultT]
    run: _Run
    conformance: Mapping[str, Any] = field(default_factory=dict)


class PropertyFailure(StrictModel):
    """Why a property has no result."""

    type: str = Field(description="class of the exception")
    message: str


class PropertyRecord(StrictModel):
    """All that is written down of one property computed with one potential."""

    property: str = Field(description="name in the registry")
    inputs: dict[str, Any] = Field(description="the inputs with all defaults filled in")
    result: dict[str, Any] | None = Field(default=None, description="fields of the property's result model")
    quantities: tuple[Quantity, ...] = ()
    flags: tuple[Flag, ...] = ()
    error: PropertyFailure | None = None
    force_calls: int = Field(default=0, ge=0, description="how often the calculator was called")
    atom_calls: int = Field(default=0, ge=0, description="sum over the calls of the number of atoms")
    seconds: float = Field(default=0.0, ge=0, description="wall time [s]")

    def usable(self) -> bool:
        """Whether there is a result and no flag forbids its use."""
        return self.result is not None and not any(flag.unusable for flag in self.flags)


class Meter(Calculator):
    """Counts the calls of another calculator, and the atoms in them; one call yields energy, forces and stress.

    :param inner: the calculator that does the work.
    """

    def __init__(self, inner: BaseCalculator) -> None:
        super().__init__()
        self.inner = inner
        self.implemented_properties = list({*inner.implemented_properties, "free_energy"})
        self.force_calls = 0
        self.atom_calls = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] | None = None,
    ) -> None:
        """Let the inner calculator work and keep its results."""
        super().calculate(atoms, properties, system_changes)
        wanted = {"energy", "free_energy", "forces", "stress"} if self.atoms.pbc.all() else {"energy", "forces"}
        self.inner.calculate(self.atoms, sorted(wanted.intersection(self.inner.implemented_properties)), all_changes)
        self.results = dict(self.inner.results)
        self.results.setdefault("free_energy", self.results["energy"])
        self.force_calls += 1
        self.atom_calls += len(self.atoms)


def parse_inputs(prop: Property[InputsT, ResultT], inputs: Mapping[str, Any]) -> InputsT:
    """Return the typed inputs of ``prop``.

    :raises ValueError: with a message that names field, value and remedy.
    """
    try:
        return prop.inputs.model_validate(dict(inputs))
    except ValidationError as error:
        raise ValueError(explain(error, what=prop.name, model=prop.inputs)) from error


def compute(
    prop: Property[InputsT, ResultT],
    inputs: Mapping[str, Any],
    calculator: BaseCalculator,
    report: Report = silent,
    *,
    propagate: tuple[type[BaseException], ...] = (),
) -> tuple[PropertyRecord, tuple[Atoms, ...]]:
    """Compute one property and write down result, flags and cost; a failure becomes part of the record.

    :param prop: the property.
    :param inputs: its inputs as plain values.
    :param calculator: an ASE calculator with energy, forces and stress.
    :param report: told of the progress.
    :param propagate: exceptions that end the whole task, e.g. an order to stop; they are raised as they are.
    :return: the record, and the structures worth keeping.
    :raises ValueError: where the inputs are wrong; nothing has been computed then.
    """
    typed = parse_inputs(prop, inputs)
    meter, start = Meter(calculator), time.perf_counter()
    record: dict[str, Any] = {"property": prop.name, "inputs": typed.model_dump(mode="json")}
    structures: tuple[Atoms, ...] = ()
    try:
        outcome = prop.run(typed, meter, report)
    except propagate:
        raise
    except Exception as error:  # kept in the record: the other properties go on
        record["error"] = PropertyFailure(type=type(error).__name__, message=str(error) or repr(error))
    else:
        structures = outcome.structures
        record |= {
            "result": outcome.result.model_dump(mode="json"),
            "quantities": outcome.quantities,
            "flags": outcome.result.flags,
        }
    cost = {"force_calls": meter.force_calls, "atom_calls": meter.atom_calls, "seconds": time.perf_counter() - start}
    return PropertyRecord(**record, **cost), structures
