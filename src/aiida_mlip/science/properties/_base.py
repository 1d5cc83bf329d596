"""What every property is made of: typed inputs, a typed result with flags, quantities to compare, and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes
from pydantic import Field, ValidationError, model_validator

from aiida_mlip.science.models import StrictModel, explain
from aiida_mlip.science.properties._journal import Journal

Report = Journal
"""What a property is given to tell how far it is, and to keep finished steps in."""


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


class Series(StrictModel):
    """One curve of a result, named so that it can be drawn together with those of other potentials and reference data.

    Its key and its units are those of the curve in the reference data, where there is one.
    """

    key: str = Field(description="key in the reference data, e.g. 'gamma_110'")
    label: str = Field(description="what to print, e.g. 'γ line on {110}'")
    x: tuple[float, ...] = Field(min_length=2)
    y: tuple[float, ...] = Field(min_length=2)
    x_label: str = Field(description="what x is, e.g. 'displacement'")
    x_unit: str
    y_label: str = Field(description="what y is, e.g. 'energy'")
    y_unit: str

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.x) != len(self.y):
            raise ValueError(f"x has {len(self.x)} points and y {len(self.y)}: give one y for each x")
        return self


class PropertyResult(StrictModel):
    """The base of every typed result."""

    flags: tuple[Flag, ...] = ()


InputsT = TypeVar("InputsT", bound=StrictModel)
ResultT = TypeVar("ResultT", bound=PropertyResult)


@dataclass(frozen=True)
class Outcome(Generic[ResultT]):
    """What a property's ``run`` returns.

    :param result: the typed result.
    :param quantities: its numbers, to be compared.
    :param structures: those worth keeping; ``info["config_type"]`` names each.
    :param series: its curves, to be compared.
    """

    result: ResultT
    quantities: tuple[Quantity, ...]
    structures: tuple[Atoms, ...] = ()
    series: tuple[Series, ...] = ()


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
    :param conformance: inputs of a case that an analytic potential (EMT, or Finnis-Sinclair for a bcc metal) does in
        a few seconds.
    :param expensive: whether it takes so many force calls of so many atoms that nobody should ask for it by accident.
    """

    name: str
    summary: str
    inputs: type[InputsT]
    result: type[ResultT]
    run: _Run
    conformance: Mapping[str, Any] = field(default_factory=dict)
    expensive: bool = False


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
    series: tuple[Series, ...] = ()
    flags: tuple[Flag, ...] = ()
    error: PropertyFailure | None = None
    force_calls: int = Field(default=0, ge=0, description="how often the calculator was called")
    atom_calls: int = Field(default=0, ge=0, description="sum over the calls of the number of atoms")
    seconds: float = Field(default=0.0, ge=0, description="wall time [s]")

    def usable(self) -> bool:
        """Whether there is a result and no flag forbids its use."""
        return self.result is not None and not any(flag.unusable for flag in self.flags)


class Meter(Calculator):
    """Counts the calls of another calculator, and the atoms in them; one call yields all that it can give.

    These are the energy, the forces, the energies of the atoms where the calculator has them, and the stress where the
    configuration is periodic in three directions.

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
        wanted = {"energy", "free_energy", "energies", "forces"} | ({"stress"} if self.atoms.pbc.all() else set())
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
    report: Report | None = None,
    *,
    propagate: tuple[type[BaseException], ...] = (),
) -> tuple[PropertyRecord, tuple[Atoms, ...]]:
    """Compute one property and write down result, flags and cost; a failure becomes part of the record.

    :param prop: the property.
    :param inputs: its inputs as plain values.
    :param calculator: an ASE calculator with energy, forces and stress.
    :param report: told of the progress; it keeps finished steps, and the cost of earlier jobs is added.
    :param propagate: exceptions that end the whole task, e.g. an order to stop; they are raised as they are.
    :return: the record, and the structures worth keeping.
    :raises ValueError: where the inputs are wrong; nothing has been computed then.
    """
    typed = parse_inputs(prop, inputs)
    meter, journal = Meter(calculator), report or Journal()
    journal.begin(lambda: (meter.force_calls, meter.atom_calls))
    record: dict[str, Any] = {"property": prop.name, "inputs": typed.model_dump(mode="json")}
    structures: tuple[Atoms, ...] = ()
    try:
        outcome = prop.run(typed, meter, journal)
    except propagate:
        raise
    except Exception as error:  # kept in the record: the other properties go on
        record["error"] = PropertyFailure(type=type(error).__name__, message=str(error) or repr(error))
    else:
        structures = outcome.structures
        record |= {
            "result": outcome.result.model_dump(mode="json"),
            "quantities": outcome.quantities,
            "series": outcome.series,
            "flags": outcome.result.flags,
        }
    return PropertyRecord(**record, **journal.cost().model_dump()), structures
