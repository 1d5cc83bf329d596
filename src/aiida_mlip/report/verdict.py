"""What can be said of a potential and an element in a sentence, and how a number stands beside its reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiida_mlip.report.measured import Case, Cell, Measured, Row, in_order
from aiida_mlip.report.numbers import plural, signed, unit, value
from aiida_mlip.science.tolerances import GRADES, tolerance

SYMBOLS: Mapping[str, str] = {"good": "✓", "fair": "≈", "poor": "✗"}
"""Grade -> sign, so that colour is not all that tells it."""

UNUSABLE = "⚠"

WORST = 3
"""Quantities named as furthest from their reference."""

FACTOR = 5.0
"""Ratio of two values from which it is given as a factor."""

MOVED = 0.1
"""Change of the distance from a reference, in units of what is good, that counts as a change."""


def deviation_text(cell: Cell, *, units: bool = True) -> str:
    """Return the distance from the reference: in percent, or in the unit where the tolerance is absolute.

    Without a reference, the distance from the potential it is compared with, after a double arrow.

    :param units: name the unit where it is that of the quantity itself.
    """
    base = cell.reference if cell.reference is not None else cell.baseline
    if base is None:
        return ""
    entry = tolerance(cell.key, cell.unit)
    absolute = (entry is not None and not any(entry.relative)) or not base
    text = _difference(cell.value - base, cell.unit, units=units) if absolute else _ratio(cell.value / base)
    return text if cell.reference is not None else f"↔ {text}"


def _ratio(ratio: float) -> str:
    """Return a ratio as a percentage, or as a factor where it is far from 1."""
    return signed(100.0 * (ratio - 1.0)) if abs(ratio) < FACTOR else f"× {ratio:.2g}".replace("-", "−")


def _difference(number: float, unit_name: str, *, units: bool) -> str:
    if unit_name == "eV/atom":
        return f"{1e3 * number:+.0f} meV{'/atom' if units else ''}".replace("-", "−")
    decimals = {"eV": 2, "atomic volumes": 2}.get(unit_name)
    text = value(number, unit_name) if decimals is None else f"{number:.{decimals}f}".replace("-", "−")
    if not text.strip("−0."):
        text = text.lstrip("−")
    sign = "+" if number > 0 and text.strip("0.") else ""
    return f"{sign}{text} {unit(unit_name) if units else ''}".strip()


@dataclass(frozen=True)
class Verdict:
    """How one potential does for one element.

    :param counts: grade -> number of quantities, of those that can be used.
    :param unusable: quantities whose property has a flag that forbids their use.
    :param unjudged: quantities without a reference or a tolerance.
    :param worst: those furthest from their reference, as (label, distance).
    :param forbidden: properties with such a flag, as (name, names of the flags).
    :param missing: properties without a result, as (name, kind of failure).
    """

    case: Case
    title: str
    counts: Mapping[str, int]
    unusable: int
    unjudged: int
    worst: tuple[tuple[str, str], ...]
    forbidden: tuple[tuple[str, str], ...]
    missing: tuple[tuple[str, str], ...]

    @property
    def judged(self) -> int:
        """Return the number of quantities that have a grade."""
        return sum(self.counts.values())

    @property
    def total(self) -> int:
        """Return the number of quantities."""
        return self.judged + self.unusable + self.unjudged

    @property
    def sentence(self) -> str:
        """Return the counts in words."""
        if not self.total:
            return "No property has a result."
        if not self.judged:
            reason = "none can be used" if self.unusable == self.total else "no reference values to judge them by"
            return f"{plural(self.total, 'quantity', 'quantities')}, {reason}."
        counts = ", ".join(f"{self.counts[grade]} {grade}" for grade in GRADES if self.counts[grade])
        return f"Of {plural(self.judged, 'quantity', 'quantities')} with a reference, {counts}."


def verdicts(measured: Measured) -> tuple[Verdict, ...]:
    """Return the verdict on each case, potential after potential."""
    cases = (measured.cases.get((name, element)) for name in measured.names for element in measured.elements)
    return tuple(verdict(measured, case) for case in cases if case is not None)


def verdict(measured: Measured, case: Case) -> Verdict:
    """Return the verdict on one case; a quantity that two properties give counts once."""
    cells = [(row, cell) for row, cell in measured.cells(case.potential, case.element) if not row.again]
    usable = [(row, cell) for row, cell in cells if not cell.unusable]
    graded = Counter(cell.grade for _, cell in usable if cell.grade is not None)
    off = sorted((item for item in usable if item[1].grade in GRADES[1:]), key=lambda item: -item[1].severity)
    forbidden: dict[str, list[str]] = {}
    for name, flag in case.flags():
        if flag.get("unusable"):
            forbidden.setdefault(name, []).append(str(flag["name"]))
    return Verdict(
        case=case,
        title=measured.title(case.potential),
        counts={grade: graded[grade] for grade in GRADES},
        unusable=len(cells) - len(usable),
        unjudged=sum(cell.grade is None for _, cell in usable),
        worst=tuple((row.label, deviation_text(cell)) for row, cell in off[:WORST]),
        forbidden=tuple((name, ", ".join(dict.fromkeys(flags))) for name, flags in forbidden.items()),
        missing=tuple((name, str(case.failed[name].get("type", ""))) for name in in_order(case.failed)),
    )


def overall(measured: Measured) -> Iterator[str]:
    """Yield a sentence on each potential, over all elements."""
    found = verdicts(measured)
    for name in measured.names:
        parts = [item for item in found if item.case.potential == name]
        judged = sum(item.judged for item in parts)
        counts = ", ".join(
            f"{number} {grade} ({round(100 * number / judged)}\N{NO-BREAK SPACE}%)"
            for grade in GRADES
            if (number := sum(item.counts[grade] for item in parts))
        )
        texts = [f"of {plural(judged, 'quantity', 'quantities')} with a reference, {counts}"] if judged else []
        unusable, missing = sum(item.unusable for item in parts), sum(len(item.missing) for item in parts)
        texts += [f"{unusable} not to be used"] if unusable else []
        texts += [f"{plural(missing, 'property', 'properties')} without a result"] if missing else []
        if texts:
            yield f"{name} for {', '.join(item.case.element for item in parts)}: {'; '.join(texts)}."


@dataclass(frozen=True)
class Change:
    """What a training did to the properties of one element.

    :param closer: quantities that came closer to their reference; ``farther``: those that went away from it.
    :param lost: change of the grade, e.g. ``good → poor`` -> labels of the quantities that it happened to.
    :param gained: number of quantities whose grade became better.
    """

    element: str
    before: str
    after: str
    closer: int
    farther: int
    same: int
    gained: int
    lost: Mapping[str, tuple[str, ...]]


def changes(measured: Measured) -> Iterator[Change]:
    """Yield, for each potential that was trained from another one of the page, the change for each element."""
    for element in measured.elements:
        for after in measured.names:
            before = measured.parents.get(after)
            if before is None or {(before, element), (after, element)} - set(measured.cases):
                continue
            pairs = list(_pairs(measured, (before, after), element))
            if pairs:
                yield _change(element, before, after, pairs)


def _pairs(measured: Measured, names: tuple[str, str], element: str) -> Iterator[tuple[Row, Cell, Cell]]:
    for row in measured.rows:
        old, new = (measured.cell(row, name, element) for name in names)
        usable = old is not None and new is not None and not (old.unusable or new.unusable or row.again)
        if usable and old is not None and new is not None and old.grade and new.grade:
            yield row, old, new


def _change(element: str, before: str, after: str, pairs: list[tuple[Row, Cell, Cell]]) -> Change:
    steps = [new.severity - old.severity for _, old, new in pairs]
    lost: dict[str, list[str]] = {}
    for row, old, new in pairs:
        if _rank(new) > _rank(old):
            lost.setdefault(f"{old.grade} → {new.grade}", []).append(row.label)
    return Change(
        element=element,
        before=before,
        after=after,
        closer=sum(step < -MOVED for step in steps),
        farther=sum(step > MOVED for step in steps),
        same=sum(abs(step) <= MOVED for step in steps),
        gained=sum(_rank(new) < _rank(old) for _, old, new in pairs),
        lost={step: tuple(labels) for step, labels in lost.items()},
    )


def _rank(cell: Cell) -> int:
    return [str(grade) for grade in GRADES].index(cell.grade or GRADES[-1])


def table(measured: Measured) -> Iterator[dict[str, Any]]:
    """Yield one line for each number and each property without one, as for a file of comma-separated values."""
    for element in measured.elements:
        for case in measured.of_element(element):
            common = {"element": element, "potential": case.potential}
            for row, cell in measured.cells(case.potential, element):
                known = measured.reference(row, element)
                yield common | {
                    "property": row.record, "key": row.key, "value": cell.value, "unit": row.unit,
                    "reference": cell.reference, "deviation": cell.deviation, "relative": cell.relative,
                    "grade": cell.grade, "unusable": cell.unusable,
                    "flags": " ".join(dict.fromkeys(str(flag["name"]) for flag in cell.flags)),
                    "message": f"ended as {cell.ended}" if cell.ended else "",
                    "source": known["citation"] if known is not None else "",
                }  # fmt: skip
            for name, failure in case.failed.items():
                reason = f"{failure.get('type', '')}: {failure.get('message', '')}"
                yield common | {"property": name, "unusable": True, "message": reason}


FIELDS = (
    "element", "potential", "property", "key", "value", "unit", "reference", "deviation", "relative", "grade",
    "unusable", "flags", "message", "source",
)  # fmt: skip
"""Columns of :func:`table`."""
