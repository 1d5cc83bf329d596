"""All numbers of several potentials and elements as one picture, coloured by tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from aiida_mlip.report.measured import Cell, Measured, Row
from aiida_mlip.report.numbers import unit, value
from aiida_mlip.report.still import FORMATS, STYLE, dateless, mathtext
from aiida_mlip.report.theme import GRADES, INK, LINE, MUTED
from aiida_mlip.report.verdict import SYMBOLS, UNUSABLE, deviation_text

ROW, COLUMN, LABELS, LETTER = 0.27, 0.98, 2.1, 0.085
"""Height of a row, least width of a column and of the labels, and width of a letter [inch]."""

FORBIDDEN: Mapping[str, Any] = {"facecolor": "#eceff2", "edgecolor": "#c3cad2", "hatch": "////", "lw": 0}


@dataclass(frozen=True)
class Column:
    """One column; ``potential`` is None for the reference."""

    element: str
    potential: str | None


def draw_matrix(measured: Measured, path: Path) -> Path:
    """Draw the table of the numbers of :class:`Measured`; quantities that two properties give are drawn once.

    :raises ValueError: for a suffix that is not known, and where there is no number.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"--figure {path.name}: the suffix {path.suffix!r} is not one of {', '.join(FORMATS)}")
    rows = [row for row in measured.rows if not row.again]
    if not rows:
        raise ValueError("there is no number to draw: no property has a result")
    with mpl.rc_context(STYLE):
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = _figure(measured, rows)
        drawn.savefig(path, dpi=200, facecolor="white", bbox_inches="tight", metadata=dateless(path))
    return path


def _columns(measured: Measured, rows: list[Row]) -> list[Column]:
    columns = []
    for element in measured.elements:
        if any(measured.reference(row, element) for row in rows):
            columns.append(Column(element, None))
        columns += [Column(element, case.potential) for case in measured.of_element(element)]
    return columns


def _figure(measured: Measured, rows: list[Row]) -> Figure:
    columns = _columns(measured, rows)
    width = max(COLUMN, LETTER * max(len(name) for name in measured.names))
    labels = max(LABELS, LETTER * max(len(row.label) + 0.8 * len(unit(row.unit)) + 2 for row in rows))
    figure = Figure(figsize=(labels + width * len(columns), ROW * (len(rows) + 4)))
    axis = figure.add_axes((0, 0, 1, 1))
    left = labels / width
    axis.set(xlim=(-left, len(columns)), ylim=(len(rows) + 1.6, -2.2))
    axis.axis("off")
    for place, row in enumerate(rows):
        axis.text(-left, place + 0.5, mathtext(row.label.replace(" - ", " − ")), va="center", color=INK)
        axis.text(-0.12, place + 0.5, unit(row.unit), va="center", ha="right", color=MUTED, fontsize=7)
        if place and rows[place - 1].record != row.record:
            axis.plot([-left, len(columns)], [place, place], color=LINE, lw=0.6)
    for number, column in enumerate(columns):
        _heading(axis, measured, (number, column), first=not number or columns[number - 1].element != column.element)
        for place, row in enumerate(rows):
            _fill(axis, measured, (number, place), column, row)
    _legend(axis, len(rows) + 0.9, -left, measured.source)
    return figure


def _heading(axis: Any, measured: Measured, column: tuple[int, Column], *, first: bool) -> None:
    number, what = column
    if first:
        axis.text(number + 0.06, -1.75, what.element, fontsize=12, weight="bold", color=INK, va="center")
        axis.plot([number + 0.02, number + 0.02], [-2.1, len(measured.rows)], color="white", lw=3, zorder=3)
    title = measured.title(what.potential) if what.potential else ""
    axis.text(number + 0.94, -0.95, what.potential or measured.source, ha="right", va="center", fontsize=8, color=INK)
    axis.text(number + 0.94, -0.35, title, ha="right", va="center", fontsize=7, color=MUTED)


def _fill(axis: Any, measured: Measured, at: tuple[int, int], column: Column, row: Row) -> None:
    x, y = at
    if column.potential is None:
        known = measured.reference(row, column.element)
        text = value(float(known["value"]), row.unit) if known is not None else ""
        axis.text(x + 0.94, y + 0.5, text, ha="right", va="center", fontsize=7.5, color=MUTED)
        return
    cell = measured.cell(row, column.potential, column.element)
    if cell is None:
        return
    look = _look(cell)
    if look:
        axis.add_patch(Rectangle((x + 0.01, y + 0.03), 0.98, 0.94, **look))
    sign = UNUSABLE if cell.unusable else SYMBOLS.get(cell.grade or "", "")
    axis.text(x + 0.05, y + 0.5, sign, va="center", fontsize=7, color=INK, family="DejaVu Sans")
    text = "" if cell.unusable else deviation_text(cell, units=False)
    text = text or value(cell.value, row.unit)
    axis.text(x + 0.94, y + 0.5, text, ha="right", va="center", fontsize=7.5, color=INK, family=_family(text))


def _family(text: str) -> str | None:
    return "DejaVu Sans" if "↔" in text else None


def _look(cell: Cell) -> Mapping[str, Any]:
    if cell.unusable:
        return FORBIDDEN
    return {"facecolor": GRADES[cell.grade], "lw": 0} if cell.grade else {}


def _legend(axis: Any, y: float, x: float, source: str) -> None:
    items: list[tuple[str, Mapping[str, Any]]] = [
        (f"{SYMBOLS[name]} {name}", {"facecolor": colour, "lw": 0}) for name, colour in GRADES.items()
    ]
    for text, look in [*items, (f"{UNUSABLE} unusable", FORBIDDEN)]:
        axis.add_patch(Rectangle((x, y), 0.22, 0.6, **look))
        axis.text(x + 0.3, y + 0.3, text, va="center", fontsize=7.5, color=INK, family="DejaVu Sans")
        x += 1.25
    axis.text(x + 0.1, y + 0.3, f"deviation from {source}", va="center", fontsize=7.5, color=MUTED)
