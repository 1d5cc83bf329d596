"""The verdict on a potential: stable, unstable or inconclusive, with the reasons and with what is missing.

Three rules, in this order:

1. A check of stability that fails in any run, or in a test of forces, makes the potential unstable.
2. A potential is stable where nothing failed and there are runs that support a claim: at the target pressure, at the
   target temperature and at the hottest, each of at least ``min_time_ps`` (150 ps) in a box of at least
   ``min_molecules`` (48), and in these every check of stability passes. The 150 ps are those of Magdău, CAMMLS
   2025; the 48 molecules are a proposal.
   The hottest temperature is the highest at which a liquid does not boil at one of the pressures
   (:mod:`aiida_mlip.science.liquids.boiling`); where it boils at the target pressure, another pressure does. No other
   trajectory of a box and condition that supports a claim may be left in doubt.
3. Everything else is inconclusive: the verdict says in words what is missing.

Accuracy, that is agreement with a reference, is reported apart and decides nothing. So is transfer, that is whether the
answer is the same for other compositions, sizes and conditions: see :mod:`aiida_mlip.science.liquids.transfer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal

from pydantic import Field

from aiida_mlip.science.liquids.boiling import Boiling
from aiida_mlip.science.liquids.conditions import Stage, in_words
from aiida_mlip.science.liquids.findings import CheckResult, Status, worst
from aiida_mlip.science.models import StrictModel

Answer = Literal["stable", "unstable", "inconclusive"]

FORCE_TESTS = "force tests"
"""Stands where a reason comes from no run."""

LENGTH = "duration"
"""The check of length and size of a run, and of how it ended."""

RUN = "run"
"""The check of a run that nobody looked at, by how it ended."""

_FIRST = (RUN, "start", "molecules", "duration", "density", "bubble")
"""Checks whose failures are named first: they say most clearly what happened."""


class Evidence(StrictModel):
    """What one run of a potential showed."""

    walker: str
    box: str
    stage: Stage
    temperature: float = Field(gt=0, description="[K]")
    pressure: float | None = Field(default=None, description="[GPa]")
    copy_number: int = Field(default=1, ge=1)
    composition: dict[str, int] = Field(default_factory=dict, description="molecule -> number in the box")
    time_ps: float = Field(ge=0, description="length of the run that was analysed")
    asked_ps: float | None = Field(default=None, ge=0)
    checks: tuple[CheckResult, ...] = ()

    @property
    def molecules(self) -> int:
        """Return the number of molecules in the box; where the check of the run counted them, without bare ions."""
        counted = [result.numbers.get("molecules") for result in self.checks if result.check == LENGTH]
        return next((count for count in counted if isinstance(count, int)), sum(self.composition.values()))

    @property
    def status(self) -> Status:
        """Return what the checks say together; at constant volume or energy no run is asked to be long."""
        counted = [
            result
            for result in self.checks
            if self.stage == "npt" or result.check != LENGTH or result.status != "inconclusive"
        ]
        return worst(counted)

    @property
    def where(self) -> str:
        """Return box and conditions in words."""
        return in_words(self.box, self.stage, self.temperature, self.pressure)


class Question(StrictModel):
    """What was asked."""

    temperatures: tuple[float, ...] = Field(default=(), description="the first is the target [K]")
    pressures: tuple[float, ...] = Field(default=(), description="the first is the target [GPa]")
    min_time_ps: float = Field(default=150.0, gt=0)
    min_molecules: int = Field(default=48, gt=0)
    reference_densities: dict[str, float] = Field(default_factory=dict, description="box -> [g/cm^3]")
    density_limit: float = Field(default=0.03, gt=0, description="relative deviation that is still accurate")
    boiling: Boiling = Field(default_factory=Boiling)

    @property
    def decisive(self) -> tuple[float, ...]:
        """Return the temperatures at which a claim needs support: the target and the hottest of a liquid [K]."""
        if not self.temperatures:
            return ()
        target = self.temperatures[0]
        liquid = [t for t in self.temperatures if not self.pressures or self._liquid_at(t)]
        return tuple(dict.fromkeys((target, max(liquid, default=target))))

    def counts(self, run: Evidence) -> bool:
        """Return whether a run is at a pressure at which a claim is made: the target, or one where nothing boils."""
        if run.stage != "npt":
            return False
        liquid = self._liquid_at(run.temperature)
        return not self.pressures or run.pressure in (liquid or self.pressures)

    def _liquid_at(self, temperature: float) -> tuple[float, ...]:
        """Return the first of the pressures at which a liquid does not boil, as a tuple of one or none [GPa]."""
        return tuple(p for p in self.pressures if not self.boiling.possible(temperature, p))[:1]


class Reason(StrictModel):
    """A check that decided something, and where."""

    check: str
    status: Status
    box: str = ""
    stage: str
    temperature: float | None = None
    pressure: float | None = None
    walker: str = ""
    sentence: str
    missing: str = ""

    @property
    def where(self) -> str:
        """Return box and conditions in words."""
        return in_words(self.box, self.stage, self.temperature, self.pressure)


class ConditionVerdict(StrictModel):
    """All runs of one box at one condition."""

    box: str
    stage: Stage
    temperature: float
    pressure: float | None = None
    status: Status = Field(description="pass at constant pressure only where the run supports a claim")
    walkers: int = Field(ge=1)
    time_ps: float = Field(ge=0, description="of the shortest of its runs")
    molecules: int = Field(ge=0)
    checks: dict[str, Status] = Field(default_factory=dict)
    density: float | None = Field(default=None, description="mean over the walkers [g/cm^3]")
    density_error: float | None = Field(default=None, ge=0, description="[g/cm^3]")


class PotentialVerdict(StrictModel):
    """The verdict on one potential."""

    potential: str
    dispersion: str = Field(default="unknown", description="included, none, unknown, or 'D3(BJ)-PBE added'")
    answer: Answer
    sentence: str
    reasons: tuple[Reason, ...] = Field(default=(), description="what failed; the clearest first")
    missing: tuple[str, ...] = Field(default=(), description="what a claim of stability would need, in words")
    conditions: tuple[ConditionVerdict, ...] = ()
    checks: dict[str, Status] = Field(default_factory=dict, description="each check, over all runs")
    force_tests: tuple[CheckResult, ...] = ()
    transfer: tuple[CheckResult, ...] = Field(default=(), description="does the answer hold elsewhere; decides nothing")
    accuracy: tuple[CheckResult, ...] = Field(default=(), description="agreement with references; decides nothing")
    failed_steps: dict[str, str] = Field(default_factory=dict, description="step of the workflow -> why it failed")


def judge(
    potential: str,
    question: Question,
    runs: Sequence[Evidence],
    *,
    dispersion: str = "unknown",
    force_tests: Sequence[CheckResult] = (),
    transfer: Sequence[CheckResult] = (),
    accuracy: Sequence[CheckResult] = (),
    failed_steps: Mapping[str, str] | None = None,
) -> PotentialVerdict:
    """Return the verdict on one potential.

    :param runs: what each walker of each stage showed.
    :param dispersion: what is known of the dispersion of the potential.
    :param force_tests: results of the tests without dynamics; those of accuracy decide nothing.
    :param transfer: results of :func:`aiida_mlip.science.liquids.transfer.transfer_checks`.
    :param accuracy: further comparisons with references.
    :param failed_steps: steps of the workflow that gave no result; they are no finding on the potential.
    """
    failed_steps = dict(failed_steps or {})
    failures = sorted((*_failures(runs), *_failed_tests(force_tests)), key=_clearest)
    missing = tuple(dict.fromkeys((*_missing(question, runs), *_unfinished(failed_steps))))
    answer: Answer = "unstable" if failures else "inconclusive" if missing else "stable"
    if failures:
        sentence = _failing(potential, failures, runs)
    else:
        sentence = _open(potential, missing, runs) if missing else _stable(potential, runs, question)
    own = [result for run in runs for result in run.checks if result.aspect == "accuracy"]
    tests = [result for result in force_tests if result.aspect == "accuracy"]
    return PotentialVerdict(
        potential=potential,
        dispersion=dispersion,
        answer=answer,
        sentence=sentence,
        reasons=tuple(failures),
        missing=missing,
        conditions=tuple(_conditions(question, runs)),
        checks=_by_check([result for run in runs for result in run.checks]),
        force_tests=tuple(force_tests),
        transfer=tuple(transfer),
        accuracy=(*accuracy, *own, *tests),
        failed_steps=failed_steps,
    )


def _failures(runs: Iterable[Evidence]) -> Iterator[Reason]:
    for run in runs:
        for result in run.checks:
            if result.aspect == "stability" and result.status == "fail":
                yield Reason(
                    check=result.check,
                    status="fail",
                    box=run.box,
                    stage=run.stage,
                    temperature=run.temperature,
                    pressure=run.pressure,
                    walker=run.walker,
                    sentence=result.reason,
                )


def _failed_tests(results: Iterable[CheckResult]) -> Iterator[Reason]:
    for result in results:
        if result.aspect == "stability" and result.status == "fail":
            yield Reason(check=result.check, status="fail", stage=FORCE_TESTS, sentence=result.reason)


def _clearest(reason: Reason) -> tuple[float, int, str, str]:
    """Order failures: runs before tests of forces, the coolest first, then what says most."""
    order = _FIRST.index(reason.check) if reason.check in _FIRST else len(_FIRST)
    return reason.temperature or float("inf"), order, reason.check, reason.walker


def supports(run: Evidence, question: Question) -> bool:
    """Return whether a run is long and large enough to support a claim of stability."""
    # A run of n steps of 1 fs has its last frame at n fs: the rounding of that sum must not fail it.
    long = run.time_ps >= question.min_time_ps * (1.0 - 1.0e-6)
    return run.stage == "npt" and long and run.molecules >= question.min_molecules


def _missing(question: Question, runs: Sequence[Evidence]) -> Iterator[str]:
    """Yield what a claim of stability would need."""
    if not question.temperatures or not runs:
        yield "dynamics: no run could be looked at, and forces alone prove no stability"
        return
    for run in runs:
        for result in run.checks:
            if result.check == RUN and result.status == "inconclusive" and "stopped_by" in result.numbers:
                yield f"{result.missing} ({run.where}): {result.reason}"
    for temperature in question.decisive:
        there = [run for run in runs if run.temperature == temperature and question.counts(run)]
        good = [run for run in there if supports(run, question)]
        if not good:
            yield _too_short(question, temperature, there)
        places = {run.where for run in good}
        for run in (run for run in there if run.where in places):
            for result in run.checks:
                if result.aspect == "stability" and result.status == "inconclusive":
                    yield f"{result.check} ({run.where}): {result.missing or result.reason}"


def _too_short(question: Question, temperature: float, there: Sequence[Evidence]) -> str:
    needed = (
        f"{question.min_time_ps:g} ps at constant pressure and {temperature:g} K in a box of at least "
        f"{question.min_molecules} molecules"
    )
    if not there:
        return f"{needed}: there is no such run"
    best = max(there, key=lambda run: (run.molecules >= question.min_molecules, run.time_ps))
    return f"{needed}: there are {best.time_ps:.3g} ps of {best.molecules} molecules"


def _unfinished(failed_steps: Mapping[str, str]) -> Iterator[str]:
    for step, reason in failed_steps.items():
        yield f"{step} gave no result: {reason}"


def _conditions(question: Question, runs: Sequence[Evidence]) -> Iterator[ConditionVerdict]:
    def key(run: Evidence) -> tuple[str, str, float, float]:
        return run.box, run.stage, run.temperature, run.pressure or 0.0

    for _, group in groupby(sorted(runs, key=key), key):
        found = list(group)
        first = found[0]
        status = together(run.status for run in found)
        if status == "pass" and first.stage == "npt" and not all(supports(run, question) for run in found):
            status = "inconclusive"
        density, error = mean_density(found)
        yield ConditionVerdict(
            box=first.box,
            stage=first.stage,
            temperature=first.temperature,
            pressure=first.pressure,
            status=status,
            walkers=len(found),
            time_ps=min(run.time_ps for run in found),
            molecules=first.molecules,
            checks=_by_check([result for run in found for result in run.checks]),
            density=density,
            density_error=error,
        )


def together(found: Iterable[Status]) -> Status:
    """Return the status of several: one that fails decides, then one that is inconclusive."""
    present = set(found)
    if "fail" in present:
        return "fail"
    return "pass" if present == {"pass"} else "inconclusive"


def _by_check(results: Sequence[CheckResult]) -> dict[str, Status]:
    """Return each check of stability with its worst status."""
    names = dict.fromkeys(result.check for result in results if result.aspect == "stability")
    return {name: worst([result for result in results if result.check == name]) for name in names}


def mean_density(runs: Iterable[Evidence]) -> tuple[float | None, float | None]:
    """Return the mean density of runs of one condition and its standard error [g/cm^3]; None where unknown."""
    results = (result for run in runs for result in run.checks)
    found = [result for result in results if result.check == "density" and result.aspect == "stability"]
    values = [result.value for result in found if result.value is not None]
    errors = [result.error or 0.0 for result in found if result.value is not None]
    if not values:
        return None, None
    mean = sum(values) / len(values)
    inside = sum(error**2 for error in errors) ** 0.5 / len(errors)
    if len(values) < 2:
        return mean, inside or None
    spread = (sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)) ** 0.5
    return mean, max(inside, spread)


def _failing(potential: str, failures: Sequence[Reason], runs: Sequence[Evidence]) -> str:
    first, more = failures[0], len(failures) - 1
    others = f" ({more} more {'failure' if more == 1 else 'failures'})" if more else ""
    cooler = sorted({run.temperature for run in runs if run.temperature < (first.temperature or 0.0)})
    fine = f"; nothing failed at {' and '.join(f'{value:g}' for value in cooler)} K" if cooler else ""
    return f"{potential} is unstable: {first.check} fails ({first.where}): {first.sentence}{others}{fine}"


def _open(potential: str, missing: Sequence[str], runs: Sequence[Evidence]) -> str:
    begin = "nothing failed" if runs else "nothing was run"
    more = f" ({len(missing) - 1} more)" if len(missing) > 1 else ""
    return f"{potential}: {begin}, but a claim of stability needs {missing[0]}{more}"


def _stable(potential: str, runs: Sequence[Evidence], question: Question) -> str:
    decisive = question.decisive
    good = [run for run in runs if supports(run, question) and run.temperature in decisive and question.counts(run)]
    boxes = ", ".join(dict.fromkeys(f"{run.box} ({run.molecules} molecules)" for run in good))
    at = " and ".join(f"{value:g} K" for value in decisive)
    return f"{potential} is stable for {boxes}: all checks pass over {min(run.time_ps for run in good):.4g} ps at {at}"
