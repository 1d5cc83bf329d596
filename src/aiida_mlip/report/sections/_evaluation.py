"""Parts that all sections on properties share: the matrix of numbers, the flags, the key of colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida_mlip.report.bars import colours
from aiida_mlip.report.gather import trained_elements
from aiida_mlip.report.measured import Case, Cell, Measured, Row, in_order
from aiida_mlip.report.numbers import unit, value
from aiida_mlip.report.verdict import SYMBOLS, UNUSABLE, deviation_text
from aiida_mlip.science.tolerances import TABLE, tolerance


def key(measured: Measured) -> Mapping[str, Any]:
    """Return what the colours mean: potentials, and whether there is a reference."""
    return {
        "potentials": [(name, colour, measured.title(name)) for name, colour in colours(measured).items()],
        "reference": measured.compared,
        "source": measured.source,
    }


def matrix(measured: Measured) -> Mapping[str, Any]:
    """Return the table of all numbers: rows by property, columns by element and potential."""
    columns = [
        {
            "element": element,
            "reference": any(measured.reference(row, element) for row in measured.rows),
            "potentials": [case.potential for case in measured.of_element(element)],
        }
        for element in measured.elements
    ]
    rows = [_row(measured, row, columns) for row in measured.rows]
    for before, row in zip([None, *rows], rows, strict=False):
        row["first"] = before is not None and before["record"] != row["record"]
    return {
        "columns": columns,
        "rows": rows,
        "missing": list(_missing(measured, columns)),
        "titles": {name: measured.title(name) for name in measured.names},
        "compared": measured.compared,
        "source": measured.source,
        "stand_in": any(shown["stand_in"] for row in rows for cells in row["cells"] for shown in cells["of"]),
        "symbols": [(grade, SYMBOLS[grade]) for grade in SYMBOLS],
        "unusable": UNUSABLE,
        "citations": list(measured.citations),
    }


def _row(measured: Measured, row: Row, columns: list[dict[str, Any]]) -> dict[str, Any]:
    entry = tolerance(row.key, row.unit)
    cells = []
    for column in columns:
        known = measured.reference(row, column["element"])
        cells.append(
            {
                "reference": value(known["value"], row.unit) if known is not None else "",
                "note": measured.note(known),
                "remark": known.get("note", "") if known is not None else "",
                "of": [
                    _shown(measured.cell(row, name, column["element"]), (name, column["element"]), row)
                    for name in column["potentials"]
                ],
            }
        )
    return {
        "record": row.record,
        "label": row.label,
        "unit": row.unit,
        "limits": f"good / fair: {entry.text()}" if entry is not None else "",
        "cells": cells,
    }


def _shown(cell: Cell | None, case: tuple[str, str], row: Row) -> dict[str, Any]:
    """Return one cell as it is shown: number, distance, sign, colour, and the sentence behind it."""
    if cell is None:
        return {"value": "", "change": "", "sign": "", "kind": "none", "title": "", "stand_in": False}
    sign = UNUSABLE if cell.unusable else SYMBOLS.get(cell.grade or "", "")
    notes = [f"{flag['name']}: {flag['message']}" for flag in cell.flags]
    title = f"{case[0]}, {case[1]}: {value(cell.value, row.unit)} {unit(row.unit)}"
    return {
        "value": value(cell.value, row.unit),
        "change": "" if cell.unusable else deviation_text(cell, units=False),
        "sign": sign,
        "ended": cell.ended,
        "kind": "unusable" if cell.unusable else cell.grade or "none",
        "flagged": bool(cell.flags) and not cell.unusable,
        "title": "\n".join([f"{title} {cell.grade or ''}".strip(), *notes]),
        "stand_in": cell.baseline is not None,
    }


def _missing(measured: Measured, columns: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield a line for each property that some case has no result of."""
    failed = {name for case in measured.cases.values() for name in case.failed}
    for name in in_order(failed):
        cells = [
            [
                measured.cases[potential, column["element"]].failed.get(name, {}).get("message", "")
                for potential in column["potentials"]
            ]
            for column in columns
        ]
        yield {"name": name, "cells": cells}


def flags(measured: Measured) -> list[Mapping[str, Any]]:
    """Return the flags by property and name, those that forbid a use first; cases with the same words share a line."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for case in _cases(measured):
        for name, flag in case.flags():
            fresh = {"property": name, "name": flag["name"], "unusable": False, "lines": {}}
            entry = found.setdefault((name, str(flag["name"])), fresh)
            entry["unusable"] |= bool(flag.get("unusable"))
            entry["lines"].setdefault(str(flag["message"]), []).append(_called(case))
    return sorted(found.values(), key=lambda entry: not entry["unusable"])


def failures(measured: Measured) -> list[Mapping[str, Any]]:
    """Return the properties without a result and why; cases with the same words share a line."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for case in _cases(measured):
        for name in in_order(case.failed):
            kind, message = (str(case.failed[name].get(part, "")) for part in ("type", "message"))
            entry = found.setdefault((name, kind), {"property": name, "name": kind, "unusable": True, "lines": {}})
            entry["lines"].setdefault(message, []).append(_called(case))
    return list(found.values())


def _cases(measured: Measured) -> Iterator[Case]:
    for element in measured.elements:
        yield from measured.of_element(element)


def _called(case: Case) -> str:
    return " · ".join(part for part in (case.element, case.potential) if part)


def tolerances(measured: Measured) -> list[Mapping[str, Any]]:
    """Return the tolerances of the quantities that are shown, with what they rest on."""
    used = {tolerance(row.key, row.unit) for row in measured.rows}
    return [
        {"title": entry.title, "limits": entry.text(), "why": entry.why, "source": entry.source}
        for entry in TABLE
        if entry in used
    ]


def lineages(measured: Measured) -> list[str]:
    """Return a sentence for each potential that was trained from another one of the page."""
    found = []
    for name, parent in measured.parents.items():
        uuid = str(measured.potentials.get(name, {}).get("uuid", ""))
        elements = trained_elements(uuid)
        data = f" on data of {', '.join(elements)}" if elements else ""
        if uuid:
            found.append(f"{name} was trained from {parent}{data}.")
    return found
