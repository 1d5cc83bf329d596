"""Properties of several potentials and elements as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table
from rich.text import Text

from aiida_mlip.report.measured import Case, Cell, Measured, Row, in_order
from aiida_mlip.report.numbers import unit, value
from aiida_mlip.report.verdict import SYMBOLS, UNUSABLE, deviation_text, verdict

WIDTH = 9
"""Letters of a deviation, e.g. of ``+1234 meV``."""

STYLES: Mapping[str | None, str] = {"good": "green", "fair": "yellow", "poor": "red", None: ""}


def property_tables(measured: Measured) -> Iterator[Table]:
    """Yield the numbers of each element beside the reference data, then what has no result or must not be used."""
    for element in measured.elements:
        if any(case.records for case in measured.of_element(element)):
            yield _numbers(measured, element)
    cases = [case for element in measured.elements for case in measured.of_element(element)]
    if cases:
        table = Table(title="Verdict", title_justify="left", show_lines=True)
        for heading in ("element", "potential", "in short"):
            table.add_column(heading)
        for case in cases:
            table.add_row(case.element, _name(measured, case.potential), Text("\n".join(_remarks(measured, case))))
        yield table


def _name(measured: Measured, potential: str) -> str:
    title = measured.title(potential)
    return f"{potential} ({title})" if title else potential


def _numbers(measured: Measured, element: str) -> Table:
    table = Table(title=f"{element or 'Properties'}: value, deviation from the reference data", title_justify="left")
    names = [case.potential for case in measured.of_element(element)]
    table.add_column("quantity")
    table.add_column("unit")
    for name in (*(_name(measured, name) for name in names), "reference"):
        table.add_column(name, justify="right")
    last = ""
    for row in measured.rows:
        cells = [measured.cell(row, name, element) for name in names]
        if not any(cells):
            continue
        if last not in ("", row.record):
            table.add_section()
        known = measured.reference(row, element)
        reference = value(known["value"], row.unit) if known is not None else ""
        table.add_row(row.label, unit(row.unit), *[_value(row, cell) for cell in cells], reference)
        last = row.record
    return table


def _value(row: Row, cell: Cell | None) -> Text:
    """Return number, deviation and sign in columns of their own width, coloured by the grade."""
    if cell is None:
        return Text("-")
    deviation = deviation_text(cell, units=False) if cell.deviation is not None else ""
    sign = UNUSABLE if cell.unusable else SYMBOLS.get(cell.grade or "", " ")
    style = "dim" if cell.unusable else STYLES.get(cell.grade, "")
    text = f"{value(cell.value, row.unit)} {deviation:>{WIDTH}} {sign}".replace(" ", "\N{NO-BREAK SPACE}")
    return Text(text, style=style)


def _remarks(measured: Measured, case: Case) -> Iterator[str]:
    yield verdict(measured, case).sentence
    for name, flag in case.flags():
        if flag.get("unusable"):
            yield f"{UNUSABLE} unusable: {name}: {flag['message']}"
    for name in in_order(case.failed):
        yield f"no result: {name}: {case.failed[name].get('message', '')}"
