"""Traffic lights: what each check says under each condition, as tables; a sign and a word stand beside each colour."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from aiida_mlip.report.electrolyte import Condition, ForceTests, Liquids, Run, conditions_of
from aiida_mlip.report.numbers import plural, significant
from aiida_mlip.science.liquids import checks
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.liquids.naming import name_of
from aiida_mlip.science.liquids.verdict import PotentialVerdict

SIGNS: Mapping[str, str] = {
    "pass": "✔", "fail": "✖", "inconclusive": "?", "stable": "✔", "unstable": "✖",
}  # fmt: skip
"""Status or answer -> sign."""

KINDS: Mapping[str, str] = {
    "pass": "pass", "fail": "fail", "inconclusive": "open", "stable": "pass", "unstable": "fail",
}  # fmt: skip
"""Status or answer -> class of its colour in ``style.css``."""

TITLES: Mapping[str, str] = {
    "run": "The run itself",
    "start": "Molecules when the run began",
    "forces_inter": "Forces between molecules",
    "energies_inter": "Energies between molecules",
    "momentum": "No net force in vacuum",
    "volume_well": "Volume scan: a well",
    "volume_wall": "Volume scan: a wall",
    "volume_smooth": "Volume scan: smooth",
    "volume_free_molecules": "Volume scan: free molecules",
    "volume_stress": "Volume scan: stress",
    "volume_depth": "Volume scan: depth of the well",
    "volume_position": "Volume scan: position of the well",
    "dimer_holes": "Dimers: no holes",
    "dimer_attraction": "Dimers: attraction",
    "reference_density": "Density against its reference",
    "density_order": "Density against composition",
    "transfer_composition": "Another composition",
    "transfer_size": "Another size of the box",
    "transfer_temperature": "Another temperature",
    "transfer_pressure": "Another pressure",
    "transfer_seeds": "Other seeds",
}
"""Check without a title of its own -> its title."""

ORDER = ("run", "start", "duration", "molecules", "density", "bubble", "energy", "temperature", "structure")
"""Checks in the order in which they are read; others follow."""

UNITS: Mapping[str, str] = {
    "g/cm3": "g/cm³", "g/cm^3": "g/cm³", "eV/angstrom": "eV/Å", "reactions": "", "minima": "",
    "1e-6 cm2/s": "10⁻⁶ cm²/s", "1e-6 cm^2/s": "10⁻⁶ cm²/s", "cm2/s": "cm²/s", "cm^2/s": "cm²/s",
}  # fmt: skip

NOISE = 1e-9
"""Smaller numbers are rounding errors."""

AT_LEAST = ("duration", "volume_wall", "closest contact")
"""Checks, or beginnings of quantities, that pass above their limit."""

_KEY = re.compile(r"\b[A-Z][A-Za-z0-9]*_[0-9a-f]{6}\b")

_SEVERITY: Mapping[Status, int] = {"fail": 0, "inconclusive": 1, "pass": 2}


@dataclass(frozen=True)
class Light:
    """One cell of a table.

    :param number: value, error and unit.
    :param limit: what parts pass from fail, with its unit.
    :param missing: what an inconclusive answer would need.
    :param reason: all answers in words.
    :param several: how many walkers say what, where there are several.
    """

    status: Status
    number: str = ""
    limit: str = ""
    missing: str = ""
    reason: str = ""
    several: str = ""

    @property
    def sign(self) -> str:
        """Return the sign beside the word."""
        return SIGNS[self.status]

    @property
    def kind(self) -> str:
        """Return the class of the colour."""
        return KINDS[self.status]


@dataclass(frozen=True)
class Row:
    """One check and quantity: a light for each column, None where it says nothing."""

    check: str
    title: str
    quantity: str
    lights: tuple[Light | None, ...]
    first: bool = True


@dataclass(frozen=True)
class Table:
    """Lights of one potential."""

    conditions: tuple[Condition, ...]
    rows: tuple[Row, ...]
    totals: tuple[Light | None, ...] = field(default=())


@dataclass(frozen=True)
class Answer:
    """One result and where it is from."""

    potential: str
    where: str
    result: CheckResult

    @property
    def title(self) -> str:
        """Return the title of the check."""
        return title_of(self.result.check)

    @property
    def quantity(self) -> str:
        """Return what was measured."""
        return readable(self.result.quantity)

    @property
    def light(self) -> Light:
        """Return it as a light."""
        return light_of([self.result])

    @property
    def brief(self) -> Light:
        """Return it as a light without what is missing, which :attr:`told` says."""
        return replace(self.light, missing="")

    @property
    def told(self) -> str:
        """Return what it says and, where it is inconclusive, what it needs."""
        light = self.light
        return f"{light.reason.rstrip('.')}; needs {light.missing}" if light.missing else light.reason


def title_of(check: str) -> str:
    """Return the title of a check."""
    if check in TITLES:
        return TITLES[check]
    return checks.get(check).title if check in checks.names() else check.replace("_", " ").capitalize()


def with_error(value: float | None, error: float | None, unit: str = "") -> str:
    """Return a number with its error to the digits that mean something, and the unit; nothing without a number."""
    if value is None or not math.isfinite(value):
        return ""
    value = 0.0 if abs(value) < NOISE else value
    shown = UNITS.get(unit, unit)
    if error is not None and math.isfinite(error) and error > 0:
        decimals = max(1 - math.floor(math.log10(error)), 0)
        text = f"{value:.{decimals}f} ± {error:.{decimals}f}" if decimals < 7 else f"{value:.2e} ± {error:.1e}"
    else:
        text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}" if abs(value) < 1e6 else significant(value, 3)
    return f"{text} {shown}".strip().replace("-", "−")


def limit_of(result: CheckResult) -> str:
    """Return what parts pass from fail in words; empty where there is no such number."""
    if result.limit is None or not math.isfinite(result.limit):
        return ""
    if result.quantity.startswith("log-log slope"):
        return f"within 1 ± {abs(result.limit - 1):.2g}"
    least = result.check in AT_LEAST or result.quantity.startswith(AT_LEAST)
    number = f"{result.limit:.4g} {UNITS.get(result.unit, result.unit)}".strip().replace("-", "−")
    return f"{'at least' if least else 'limit'} {number}"


def readable(text: str) -> str:
    """Return text in which the keys of species are their names, and units are typeset."""
    named = _KEY.sub(lambda found: name_of(found[0]), text)
    for plain, typeset in (("g/cm3", "g/cm³"), ("g/cm^3", "g/cm³"), ("Å2", "Å²"), (" -> ", " → ")):
        named = named.replace(plain, typeset)
    return named


def light_of(results: Sequence[CheckResult]) -> Light:
    """Return one light for the answers of one check to one question, of several walkers perhaps: the worst decides."""
    worst = min(results, key=lambda result: (_SEVERITY[result.status], -abs(result.value or 0.0)))
    counts = Counter(result.status for result in results)
    several = ", ".join(f"{counts[status]} {status}" for status in _SEVERITY if counts[status])
    walkers = plural(len(results), "walker")
    return Light(
        status=worst.status,
        number=with_error(worst.value, worst.error, worst.unit),
        limit=limit_of(worst),
        missing=readable(worst.missing) if worst.status == "inconclusive" else "",
        reason=readable(" ".join(dict.fromkeys(result.reason for result in results))),
        several="" if len(results) == 1 else f"{walkers}: {several}" if len(counts) > 1 else walkers,
    )


def table_of(runs: Sequence[Run], verdict: PotentialVerdict | None = None) -> Table | None:
    """Return the lights of the trajectories of one potential; None where there are none.

    :param verdict: adds what it says of runs that nobody looked at: those that a stop rule ended at once.
    """
    groups: dict[tuple[str, str], dict[Condition, list[CheckResult]]] = {}
    for run in runs:
        for result in run.findings.checks:
            if result.aspect == "stability":
                groups.setdefault((result.check, result.quantity), {}).setdefault(run.condition, []).append(result)
    for condition, result in _unlooked(verdict):
        groups.setdefault((result.check, result.quantity), {}).setdefault(condition, []).append(result)
    if not groups:
        return None
    conditions = tuple(sorted({*conditions_of(runs), *(c for item in groups.values() for c in item)}, key=_rank))
    rows, before = [], ""
    for (check, quantity), found in sorted(groups.items(), key=lambda item: _place(item[0][0])):
        lights = tuple(light_of(found[item]) if item in found else None for item in conditions)
        rows.append(Row(check, title_of(check), readable(quantity), lights, first=check != before))
        before = check
    return Table(conditions, tuple(rows), tuple(_total(item, verdict) for item in conditions))


def _rank(condition: Condition) -> tuple[int, str, float, float]:
    return condition.rank


def _place(check: str) -> tuple[int, str]:
    return (ORDER.index(check), "") if check in ORDER else (len(ORDER), check)


def _unlooked(verdict: PotentialVerdict | None) -> Iterator[tuple[Condition, CheckResult]]:
    """Yield answers that are in the verdict only: of runs without findings."""
    for item in verdict.conditions if verdict is not None else ():
        condition = Condition(item.box, item.stage, item.temperature, item.pressure)
        for check in ("run", "start"):
            if check not in item.checks:
                continue
            told = [
                reason for reason in (verdict.reasons if verdict is not None else ())
                if (reason.check, reason.box, reason.stage, reason.temperature, reason.pressure)
                == (check, item.box, item.stage, item.temperature, item.pressure)
            ]  # fmt: skip
            text = " ".join(dict.fromkeys(reason.sentence for reason in told))
            missing = "a look at its trajectory" if item.checks[check] == "inconclusive" else ""
            yield condition, CheckResult(check=check, status=item.checks[check], reason=text, missing=missing)


def _total(condition: Condition, verdict: PotentialVerdict | None) -> Light | None:
    """Return the verdict on a condition; None where there is none yet."""
    for item in verdict.conditions if verdict is not None else ():
        if Condition(item.box, item.stage, item.temperature, item.pressure) == condition:
            density = with_error(item.density, item.density_error, "g/cm3") if item.stage == "npt" else ""
            walkers = f", {plural(item.walkers, 'walker')}" if item.walkers > 1 else ""
            size = f"{item.time_ps:.3g} ps, {plural(item.molecules, 'molecule')}{walkers}"
            return Light(item.status, number=density, reason=size, several=size)
    return None


def blocks_of(table: Table, most: int = 5) -> Iterator[tuple[str, Table]]:
    """Yield (stage, part of the table) none wider than a page: one for each stage, cut if needed."""
    stages = dict.fromkeys(condition.stage for condition in table.conditions)
    if len(table.conditions) <= most:
        yield "", table
        return
    for stage in stages:
        places = [place for place, item in enumerate(table.conditions) if item.stage == stage]
        for part in np.array_split(places, -(-len(places) // most)):
            yield stage, _part(table, part.tolist())


def _part(table: Table, places: Sequence[int]) -> Table:
    rows, before = [], ""
    for row in table.rows:
        lights = tuple(row.lights[place] for place in places)
        if any(lights):
            rows.append(Row(row.check, row.title, row.quantity, lights, first=row.check != before))
            before = row.check
    totals = tuple(table.totals[place] for place in places)
    return Table(tuple(table.conditions[place] for place in places), tuple(rows), totals)


def answers(runs: Iterable[Run], wanted: Callable[[CheckResult], bool]) -> list[Answer]:
    """Return the results of trajectories for which ``wanted`` is true, with where they are from."""
    return [
        Answer(run.potential, run.condition.words, result)
        for run in runs
        for result in run.findings.checks
        if wanted(result)
    ]


def force_rows(forces: Mapping[str, ForceTests]) -> tuple[tuple[str, ...], list[Row]]:
    """Return potentials and rows of the tests of forces that count for stability."""
    groups: dict[tuple[str, str, str], dict[str, list[CheckResult]]] = {}
    for name, tests in forces.items():
        for result in tests.result.checks:
            if result.aspect == "stability":
                box = str(result.numbers.get("box") or "")
                groups.setdefault((result.check, result.quantity, box), {}).setdefault(name, []).append(result)
    rows, before = [], ""
    for (check, quantity, box), found in groups.items():
        lights = tuple(light_of(found[name]) if name in found else None for name in forces)
        words = f"{box}: {quantity}" if box else quantity
        rows.append(Row(check, title_of(check), words, lights, first=check != before))
        before = check
    return tuple(forces), rows


def accuracy_of(liquids: Liquids) -> list[Answer]:
    """Return all comparisons with references: of trajectories, of tests of forces, and those made by the verdicts."""
    found = answers(liquids.runs, _compares)
    for name, tests in liquids.forces.items():
        found += [Answer(name, "force tests", result) for result in tests.result.checks if result.aspect == "accuracy"]
    known = [(item.potential, item.result) for item in found]
    for name, verdict in liquids.verdicts.items():
        found += [
            Answer(name, "", result) for result in verdict.accuracy if _compares(result) and (name, result) not in known
        ]
    places = {name: place for place, name in enumerate(liquids.potentials)}
    return sorted(found, key=lambda item: (item.result.check, item.where, places[item.potential]))


def _compares(result: CheckResult) -> bool:
    """Return whether a result compares with a reference; transport has a section of its own."""
    return result.aspect == "accuracy" and result.check != "transport"
