"""Bars of quantities that share a unit, one group for each potential, with a line at the reference."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import plotly.graph_objects as go

from aiida_mlip.report.measured import CHILD_TITLE, PARENT_TITLE, Measured, Row
from aiida_mlip.report.numbers import typeset, unit, value
from aiida_mlip.report.theme import AFTER, BEFORE, REFERENCE, figure, span, styles
from aiida_mlip.report.verdict import deviation_text

WIDTH = 0.84
"""Part of the distance between two quantities that their bars take."""

HEIGHT = 300

LETTERS = 110
"""Letters below the axes of all panels in a row that fit side by side."""

TURNED = 70
"""Height [px] that turned labels take."""


@dataclass(frozen=True)
class Group:
    """Quantities that are drawn together.

    :param patterns: keys, in the form of :mod:`fnmatch`.
    :param unit: rows of another unit are left out.
    :param without: keys that are left out: variants of what is shown.
    """

    title: str
    patterns: tuple[str, ...]
    unit: str
    without: tuple[str, ...] = ()

    def holds(self, row: Row) -> bool:
        """Return whether a row belongs here."""
        fits, left_out = (
            any(fnmatchcase(row.key, pattern) for pattern in patterns) for patterns in (self.patterns, self.without)
        )
        return row.unit == self.unit and fits and not left_out


GROUPS = (
    Group("Elastic constants", ("C[1-6][1-6]", "Cprime", "bulk_modulus*", "shear_modulus*"), "GPa"),
    Group("Differences between phases", ("E_*_minus_*",), "eV/atom"),
    Group(
        "Vacancies and interstitials",
        ("vacancy_*", "interstitial_*"),
        "eV",
        ("*_corrected", "*_extrapolated", "interstitial_lowest"),
    ),
    Group("Gamma lines", ("gamma_*",), "J/m^2"),
    Group("Surfaces", ("surface_*",), "J/m^2", ("*_unrelaxed",)),
    Group("Dislocations", ("screw_*", "*_barrier"), "eV per b"),
    Group("Junctions on (001)", ("junction_*",), "eV per a"),
    Group("Junctions on (011)", ("junction_*",), "eV per a*sqrt2"),
)


def colours(measured: Measured) -> Mapping[str, str]:
    """Return potential -> colour, the same in all figures of a page."""
    if measured.names == (PARENT_TITLE, CHILD_TITLE):
        return {PARENT_TITLE: BEFORE, CHILD_TITLE: AFTER}
    return {name: colour for name, (colour, _) in styles(measured.names).items()}


def grouped(measured: Measured) -> Iterator[tuple[Group, list[tuple[str, go.Figure | None]]]]:
    """Yield each group that has values, with (element, figure) of each element; None where it has no values."""
    for group in GROUPS:
        rows = [row for row in measured.rows if group.holds(row) and not row.again]
        made = [(element, bars(measured, element, rows, group)) for element in measured.elements]
        if any(chart.data for _, chart in made):
            yield group, [(element, chart if chart.data else None) for element, chart in made]


def bars(measured: Measured, element: str, rows: Sequence[Row], group: Group) -> go.Figure:
    """Return the bars of one element; a hatched bar must not be used, a black line is the reference."""
    shown = [row for row in rows if any(measured.cell(row, name, element) for name in measured.names)]
    chart = figure(HEIGHT, barmode="group", bargap=1 - WIDTH, bargroupgap=0.04, showlegend=False)
    if not shown:
        return chart
    for name, colour in colours(measured).items():
        _add_bars(chart, measured, (name, element), shown, colour)
    _add_references(chart, measured, element, shown)
    names, turned = ticks(shown, LETTERS // min(len(measured.elements), 4))
    chart.update_xaxes(
        tickvals=list(range(len(shown))), ticktext=names, tickangle=-40 if turned else 0, showgrid=False, ticks="",
        range=[-0.6, len(shown) - 0.4],
    )  # fmt: skip
    chart.update_yaxes(
        title_text=unit(group.unit), zeroline=True, zerolinecolor=REFERENCE, zerolinewidth=1,
        range=_range(measured, element, shown),
    )  # fmt: skip
    margin = {"t": 34, "r": 8, "l": 52, "b": 40}
    chart.update_layout(margin=margin, title=_title(element), height=HEIGHT + (TURNED if turned else 0))
    return chart


def ticks(rows: Sequence[Row], letters: int) -> tuple[list[str], bool]:
    """Return the labels below the bars, in lines if they fit, and whether they have to be turned.

    :param letters: that fit side by side below the panel.
    """
    labels = [_short(row) for row in rows]
    width = letters // len(labels)
    lines = [textwrap.wrap(label, max(width, 1), break_long_words=False) for label in labels]
    fits = max(len(line) for part in lines for line in part) <= width
    if fits:
        return ["<br>".join(typeset(line) for line in part) for part in lines], False
    return [typeset(label) for label in labels], True


def _short(row: Row) -> str:
    """Return the label of a row; of an interstitial, the configuration alone."""
    inside = re.search(r"\((.+)\)", row.label) if row.key.startswith("interstitial_") else None
    return inside[1] if inside is not None else row.label


def _range(measured: Measured, element: str, rows: Sequence[Row]) -> list[float] | None:
    cells = [cell for row in rows for name in measured.names if (cell := measured.cell(row, name, element)) is not None]
    known = [cell.reference for cell in cells if cell.reference is not None]
    usable = [cell.value for cell in cells if not cell.unusable]
    return span([*known, *usable], [cell.value for cell in cells if cell.unusable], zero=True)


def _title(element: str) -> dict[str, object]:
    return {"text": f"<b>{element}</b>", "x": 0.02, "y": 0.97, "font": {"size": 14}}


def _add_bars(chart: go.Figure, measured: Measured, case: tuple[str, str], rows: Sequence[Row], colour: str) -> None:
    found = [(place, row, measured.cell(row, *case)) for place, row in enumerate(rows)]
    cells = [(place, row, cell) for place, row, cell in found if cell is not None]
    if not cells:
        return
    texts = [
        f"{case[0]}: {value(cell.value, row.unit)} {unit(row.unit)} {deviation_text(cell)}"
        + ("<br>not to be used" if cell.unusable else "")
        for _, row, cell in cells
    ]
    chart.add_bar(
        x=[place for place, _, _ in cells], y=[cell.value for _, _, cell in cells], name=case[0], offsetgroup=case[0],
        marker={"color": colour, "line": {"color": colour, "width": 1},
                "pattern": {"shape": ["/" if cell.unusable else "" for _, _, cell in cells], "fillmode": "overlay",
                            "fgcolor": "white", "solidity": 0.55, "size": 7}},
        customdata=texts, hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip


def _add_references(chart: go.Figure, measured: Measured, element: str, rows: Sequence[Row]) -> None:
    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for place, row in enumerate(rows):
        known = measured.reference(row, element)
        if known is None:
            continue
        number = float(known["value"])
        text = f"{known['source']}: {value(number, row.unit)} {unit(row.unit)}"
        x += [place - WIDTH / 2, place + WIDTH / 2, None]
        y += [number, number, None]
        texts += [text, text, ""]
    if x:
        line = {"color": REFERENCE, "width": 2.6}
        chart.add_scatter(
            x=x, y=y, mode="lines", line=line, name=measured.source, customdata=texts,
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
