"""Properties of one or more potentials and elements beside reference values, wherever a process keeps them.

All sections on properties read this one form: the summary of ``mlip.defects``, the records of ``mlip.property``, and
those before and after a fine-tuning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aiida_mlip.science.tolerances import grade, tolerance

ORDER = (
    "eos", "elastic", "vacancy", "vacancy_migration", "interstitial", "gamma_line", "surface", "screw_dislocation",
    "junction_100",
)  # fmt: skip
"""Properties from the simple to the expensive; others come after them."""

PARENT_TITLE, CHILD_TITLE = "before", "after"

_ENDED = re.compile(r", ended as (?P<final>[^()]+)")
"""Part of the label of a quantity that says what became of the configuration that was asked for."""

Record = Mapping[str, Any]
"""A :class:`aiida_mlip.science.properties.PropertyRecord` as plain values."""


@dataclass(frozen=True)
class Row:
    """One quantity of one property.

    :param record: name of the record, which is the name of the property where it was asked for once.
    :param again: another record has this key too, and comes first.
    """

    record: str
    key: str
    label: str
    unit: str
    again: bool = False


@dataclass(frozen=True)
class Cell:
    """One number of one potential and element.

    :param reference: the published value in the same unit, or None.
    :param baseline: value of the potential it is compared with where there is no reference, or None.
    :param flags: what a reader has to know of the property.
    :param ended: the configuration that it became, where that is another one than was asked for.
    """

    key: str
    value: float
    unit: str
    reference: float | None
    grade: str | None
    flags: tuple[Mapping[str, Any], ...] = ()
    baseline: float | None = None
    ended: str = ""

    @property
    def unusable(self) -> bool:
        """Return whether a flag forbids the use of the number."""
        return any(flag.get("unusable") for flag in self.flags)

    @property
    def deviation(self) -> float | None:
        """Return value minus reference [``unit``], or None."""
        return None if self.reference is None else self.value - self.reference

    @property
    def relative(self) -> float | None:
        """Return value / reference - 1, or None where the reference is missing or zero."""
        return self.value / self.reference - 1.0 if self.reference else None

    @property
    def severity(self) -> float:
        """Return the deviation in units of what is good; 0 where there is none."""
        entry = tolerance(self.key, self.unit)
        if entry is None or self.reference is None or self.deviation is None:
            return 0.0
        return abs(self.deviation) / entry.limits(self.reference)[0]


@dataclass(frozen=True)
class Case:
    """One potential applied to one element.

    :param records: name -> record of each property that has a result.
    :param failed: name -> ``type`` and ``message`` of each that has none.
    :param cached: names of the records whose job came from the cache.
    """

    potential: str
    element: str
    records: Mapping[str, Record]
    failed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cached: frozenset[str] = frozenset()

    def usable(self, name: str) -> bool:
        """Return whether no flag forbids the use of a record."""
        return not any(flag.get("unusable") for flag in self.records[name].get("flags", ()))

    def flags(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield (name of the record, flag)."""
        for name in in_order(self.records):
            for flag in self.records[name].get("flags", ()):
                yield name, flag


@dataclass(frozen=True)
class Measured:
    """Everything that was measured, with what it is compared with.

    :param potentials: name -> ``uuid``, ``label``, ``architecture``, ``level_of_theory``, as far as known.
    :param cases: (potential, element) -> case.
    :param references: element -> ``values`` and ``curves`` by key, as in the reference data.
    :param deviations: potential -> element -> key -> entry with ``value`` and ``grade``, as the process judged them.
    :param parents: potential -> the one of these that it was trained from.
    """

    potentials: Mapping[str, Mapping[str, Any]]
    elements: tuple[str, ...]
    cases: Mapping[tuple[str, str], Case]
    references: Mapping[str, Mapping[str, Any]]
    deviations: Mapping[str, Any] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the potentials, each after the one it was trained from."""
        ordered: list[str] = []
        for name in self.potentials:
            for step in reversed(list(self._chain(name))):
                if step not in ordered:
                    ordered.append(step)
        return tuple(ordered)

    def _chain(self, name: str) -> Iterator[str]:
        seen: set[str] = set()
        while name and name not in seen:
            seen.add(name)
            yield name
            name = self.parents.get(name, "")

    def title(self, name: str) -> str:
        """Return ``before``, ``after`` or nothing: the part of a potential in a training that the page shows."""
        if name in self.parents:
            return CHILD_TITLE if name not in (CHILD_TITLE, PARENT_TITLE) else ""
        return PARENT_TITLE if name in self.parents.values() and name != PARENT_TITLE else ""

    def of_element(self, element: str) -> tuple[Case, ...]:
        """Return the cases of an element in the order of :attr:`names`."""
        return tuple(self.cases[name, element] for name in self.names if (name, element) in self.cases)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Return each quantity once, in the order of the properties; where two have one key, the later is marked."""
        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for case in self.cases.values():
            for name, record in case.records.items():
                for item in record.get("quantities", ()):
                    found.setdefault((name, item["key"]), item)
        rows, seen = [], set()
        ranks = {name: rank for rank, name in enumerate(in_order(dict.fromkeys(name for name, _ in found)))}
        for (name, key), item in sorted(found.items(), key=lambda entry: ranks[entry[0][0]]):
            again = key in seen
            asked = _ENDED.sub("", str(item["label"]))
            label = f"{asked} ({name})" if again else asked
            rows.append(Row(name, str(key), label, str(item["unit"]), again))
            seen.add(key)
        return tuple(rows)

    def cell(self, row: Row, potential: str, element: str) -> Cell | None:
        """Return the number of a row; None where the case has none."""
        case = self.cases.get((potential, element))
        value = _value(case, row)
        if case is None or value is None:
            return None
        known = self.reference(row, element)
        reference = float(known["value"]) if known is not None else None
        flags = tuple(case.records[row.record].get("flags", ()))
        judged = None if reference is None else self._judged(row, value, reference, (potential, element))
        baseline = None if reference is not None else self._baseline(row, potential, element)
        ended = _ENDED.search(str((_item(case, row) or {}).get("label", "")))
        return Cell(row.key, value, row.unit, reference, judged, flags, baseline, ended["final"] if ended else "")

    def reference(self, row: Row, element: str) -> Mapping[str, Any] | None:
        """Return the published value of a row in its unit, or None."""
        known = self.references.get(element, {}).get("values", {}).get(row.key)
        return known if known is not None and known["unit"] == row.unit else None

    def _judged(self, row: Row, value: float, reference: float, case: tuple[str, str]) -> str | None:
        """Return the grade that the process gave to this value, or the one it would get now."""
        entry = self.deviations.get(case[0], {}).get(case[1], {}).get(row.key)
        if entry is not None and entry.get("value") == value and entry.get("reference") == reference:
            return None if entry.get("grade") is None else str(entry["grade"])
        return grade(row.key, value, reference, row.unit)

    def _baseline(self, row: Row, potential: str, element: str) -> float | None:
        """Return the value that stands in for a reference: of the potential it was trained from, or of the first."""
        first = self.parents.get(potential) or self.names[0]
        return None if first == potential else _value(self.cases.get((first, element)), row)

    def cells(self, potential: str, element: str) -> tuple[tuple[Row, Cell], ...]:
        """Return the numbers of one case in the order of the rows."""
        found = ((row, self.cell(row, potential, element)) for row in self.rows)
        return tuple((row, cell) for row, cell in found if cell is not None)

    @cached_property
    def citations(self) -> tuple[str, ...]:
        """Return the sources of the references that are shown, in the order of their first use."""
        shown = [self.reference(row, element) for element in self.elements for row in self.rows]
        curves = [curve for known in self.references.values() for curve in known.get("curves", {}).values()]
        entries = [entry for entry in (*shown, *curves) if entry is not None]
        return tuple(dict.fromkeys(str(entry["citation"]) for entry in entries))

    @cached_property
    def source(self) -> str:
        """Return what the references are called: ``DFT`` where all are that, ``reference`` where they differ."""
        entries = (self.reference(row, element) for element in self.elements for row in self.rows)
        sources = {str(entry.get("source", "")) for entry in entries if entry is not None}
        return sources.pop() if len(sources) == 1 else "reference"

    def note(self, known: Mapping[str, Any] | None) -> int | None:
        """Return the number of the citation of a reference."""
        return self.citations.index(known["citation"]) + 1 if known is not None else None

    @property
    def compared(self) -> bool:
        """Return whether there is any reference."""
        return any(self.reference(row, element) for element in self.elements for row in self.rows)


def before_after(measured: Measured) -> list[dict[str, Any]]:
    """Return one entry for each element and row: the values of a potential and of the one that it was trained from.

    A single potential counts as *after*. Each entry has ``label``, ``again``, ``before``, ``after`` and ``reference``.
    """
    after = next(iter(measured.parents), measured.names[-1] if measured.names else "")
    before = measured.parents.get(after, "")
    found = []
    for element in measured.elements:
        for row in measured.rows:
            values = [_value(measured.cases.get((name, element)), row) for name in (before, after)]
            known = measured.reference(row, element)
            if values != [None, None]:
                found.append(
                    {"label": row.label if len(measured.elements) == 1 else f"{element} {row.label}",
                     "again": row.again, "before": values[0], "after": values[1],
                     "reference": float(known["value"]) if known is not None else None}
                )  # fmt: skip
    return found


def _value(case: Case | None, row: Row) -> float | None:
    item = _item(case, row)
    return None if item is None else float(item["value"])


def _item(case: Case | None, row: Row) -> Mapping[str, Any] | None:
    record = case.records.get(row.record) if case is not None else None
    found = record.get("quantities", ()) if record is not None else ()
    return next((item for item in found if item["key"] == row.key and item["unit"] == row.unit), None)


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of records by :data:`ORDER`; ``interstitial_large`` counts as an ``interstitial``."""

    def rank(name: str) -> tuple[int, int]:
        fits = [(-len(known), place) for place, known in enumerate(ORDER) if name.startswith(known)]
        return (min(fits)[1] if fits else len(ORDER), len(name))

    return sorted(names, key=rank)


def from_summary(summary: Mapping[str, Any], parents: Mapping[str, str] | None = None) -> Measured:
    """Return what the summary of ``mlip.defects`` holds.

    :param parents: potential -> the one of the page that it was trained from.
    """
    cases = {
        (name, element): Case(
            name, element, case.get("records", {}), case.get("failed", {}), frozenset(case.get("cached", ()))
        )
        for name, of_potential in summary.get("cases", {}).items()
        for element, case in of_potential.items()
    }
    elements = dict.fromkeys((*summary.get("elements", ()), *(element for _, element in cases)))
    return Measured(
        potentials=summary.get("potentials", {}) or {name: {} for name, _ in cases},
        elements=tuple(elements),
        cases=cases,
        references=summary.get("reference", {}),
        deviations=summary.get("deviations", {}),
        parents=parents or {},
    )


def from_records(
    found: Mapping[str, Mapping[str, Any]] | Iterable[tuple[str, Mapping[str, Any]]],
    references: Mapping[str, Mapping[str, Any]],
    parents: Mapping[str, str] | None = None,
) -> Measured:
    """Return what jobs of ``mlip.property`` found; an element is that of the inputs of each record.

    :param found: name of the potential and ``properties`` and ``failed`` of its results, one pair for each job.
    """
    kinds: dict[tuple[str, str], tuple[dict[str, Record], dict[str, Mapping[str, str]]]] = {}
    pairs = list(found.items() if isinstance(found, Mapping) else found)
    for name, content in pairs:
        for key, record in content.get("properties", {}).items():
            kinds.setdefault((name, element_of(record)), ({}, {}))[0][key] = record
        for key, record in content.get("failed", {}).items():
            kinds.setdefault((name, element_of(record)), ({}, {}))[1][key] = record.get("error") or record
    return Measured(
        potentials={name: {} for name, _ in pairs},
        elements=tuple(dict.fromkeys(element for _, element in kinds)),
        cases={case: Case(*case, *parts) for case, parts in kinds.items()},
        references=references,
        parents=parents or {},
    )


def element_of(record: Mapping[str, Any]) -> str:
    """Return the element that a record is about; nothing where it does not say."""
    return str(record.get("inputs", {}).get("element", ""))
