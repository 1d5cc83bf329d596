"""What a check of a trajectory is: it is given frames one at a time, and says something at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science.liquids.findings import CheckResult, Event, Species, Status
from aiida_mlip.science.models import StrictModel

Array = NDArray[np.float64]
LimitsT = TypeVar("LimitsT", bound=StrictModel)


@dataclass(frozen=True)
class Run:
    """What is known of a trajectory before its first frame is read.

    :param start: the first configuration, step 0; molecules are found in it.
    :param ensemble: ``nve``, ``nvt`` or ``npt``.
    :param timestep: [fs].
    :param temperature: target [K]; with constant energy that of the first velocities.
    :param pressure: target [GPa]; None without.
    :param series: columns of the time series of the run, empty where there is none: ``step``, ``time_fs``,
        ``temperature``, ``energy`` (potential) and ``kinetic_energy`` [eV], ``volume`` [Å^3], ``density`` [g/cm^3],
        ``pressure`` [GPa] and so on, each shape (rows,), NaN where absent.
    :param equilibration: share of the run that is left out of averages.
    :param stopped_by: the stop rule that ended the run early; None: it ran to its end.
    """

    start: Atoms
    ensemble: str
    timestep: float
    temperature: float
    pressure: float | None = None
    series: Mapping[str, Array] = field(default_factory=dict)
    equilibration: float = 0.2
    stopped_by: str | None = None


@dataclass
class Finding:
    """What a check found.

    :param curves: name -> array, for figures; names begin with that of the check.
    """

    results: list[CheckResult]
    curves: dict[str, Array] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    species: list[Species] = field(default_factory=list)


def answers(check: str, quantity: str, unit: str = "") -> Callable[..., CheckResult]:
    """Return a function that makes the results of a check: of one quantity, unless it is told another.

    It takes status and reason, and by name any other field of :class:`CheckResult`.
    """

    def answer(status: Status, reason: str, **fields: Any) -> CheckResult:
        told = {"check": check, "quantity": quantity, "unit": unit, **fields}
        return CheckResult(status=status, reason=reason, **told)

    return answer


class Pass(Protocol):
    """One reading of a trajectory."""

    def add(self, frame: Atoms) -> None:
        """Take a frame as :func:`aiida_mlip.science.trajectory.read_trajectory` yields it; it must not be changed."""

    def finish(self) -> Finding:
        """Return what was found."""


def _always(_run: Run) -> bool:
    return True


@dataclass(frozen=True)
class Check(Generic[LimitsT]):
    """One check of a trajectory.

    :param title: its name for people.
    :param limits: model of its limits; every field has a default, and its description names unit and source.
    :param begin: starts a reading.
    :param formula: how its number is computed, as one line of text.
    :param applies: whether it can say anything of such a run.
    """

    title: str
    limits: type[LimitsT]
    begin: Callable[[Run, LimitsT], Pass]
    formula: str
    source: str
    applies: Callable[[Run], bool] = _always

    def parse(self, values: Mapping[str, Any]) -> LimitsT:
        """Return typed limits.

        :raises pydantic.ValidationError: where a field is unknown or wrong.
        """
        return self.limits(**values)
