"""The outcome of an evaluation of defects as tables for a terminal: one for each element."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from aiida_mlip.report.measured import Cell, Measured, Row, from_summary
from aiida_mlip.report.numbers import DECIMALS, unit
from aiida_mlip.report.verdict import deviation_text

STYLES: Mapping[str | None, str] = {"good": "green", "fair": "yellow", "poor": "red", None: ""}


def defect_tables(summary: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the numbers of each element beside the reference data, then what has no result, and why."""
    measured = from_summary(summary)
    for element in measured.elements:
        if any(case.records for case in measured.of_element(element)):
            yield _numbers(measured, element)
    missing = [(case, name, reason) for case in measured.cases.values() for name, reason in case.failed.items()]
    if missing:
        table = Table(title="Without a result", title_justify="left")
        for heading in ("potential", "element", "property", "why"):
            table.add_column(heading)
        for case, name, reason in missing:
            table.add_row(case.potential, case.element, name, Text(reason["message"]))
        yield table


def _numbers(measured: Measured, element: str) -> Table:
    table = Table(title=f"{element}: deviation from the reference data in brackets", title_justify="left")
    for heading in ("property", "quantity", "unit"):
        table.add_column(heading)
    for name in (*measured.names, "reference"):
        table.add_column(name, justify="right")
    last = ""
    for row in measured.rows:
        cells = {name: measured.cell(row, name, element) for name in measured.names}
        if not any(cells.values()):
            continue
        known = measured.reference(row, element)
        texts = [_value(row, cell) for cell in cells.values()]
        reference = _digits(row, known["value"]) if known is not None else ""
        table.add_row("" if row.record == last else row.record, row.label, unit(row.unit), *texts, reference)
        last = row.record
    return table


def _value(row: Row, cell: Cell | None) -> Text:
    if cell is None:
        return Text("-")
    deviation = f" ({deviation_text(cell, units=True)})" if cell.deviation is not None else ""
    mark = " unusable" if cell.unusable else ""
    return Text(f"{_digits(row, cell.value)}{deviation}{mark}", style=STYLES.get(cell.grade, ""))


def _digits(row: Row, value: float) -> str:
    return f"{value:.{DECIMALS.get(row.unit, 3)}f}"
