"""Curves of properties (equations of state, gamma lines, paths) with the points of the reference."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from aiida_mlip.report.bars import colours
from aiida_mlip.report.measured import Case, Measured
from aiida_mlip.report.numbers import unit
from aiida_mlip.report.theme import REFERENCE, SYMBOLS, figure, span

HEIGHT = 310

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")

TOGETHER = {"eos_": "Equations of state"}
"""Beginning of the key of curves that share a panel -> its title."""

LETTERS = 42
"""Letters in a line below an axis."""

JOINED_FROM = 5
"""Points from which a curve is joined by a line: ends and top of a barrier alone do not show its shape."""

LINES_FROM = 16
"""Curves with at least this many points are drawn without markers."""


@dataclass(frozen=True)
class Panel:
    """Curves that are drawn on one pair of axes for each element.

    :param keys: of the curves; ``labels``: their names, in the same order.
    """

    title: str
    keys: tuple[str, ...]
    labels: tuple[str, ...]
    x: str
    y: str
    units: tuple[str, str]


def panels(measured: Measured) -> tuple[Panel, ...]:
    """Return the panels, in the order of the rows of the page."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for case in measured.cases.values():
        for _, line in _series(case):
            title = next((name for start, name in TOGETHER.items() if line["key"].startswith(start)), line["key"])
            if line["key"] not in [known["key"] for known in found.setdefault(title, [])]:
                found[title].append(line)
    return tuple(
        Panel(
            title=name if name in TOGETHER.values() else _capital(str(lines[0]["label"])),
            keys=tuple(line["key"] for line in lines),
            labels=tuple(line["label"] for line in lines),
            x=lines[0]["x_label"],
            y=lines[0]["y_label"],
            units=(lines[0]["x_unit"], lines[0]["y_unit"]),
        )
        for name, lines in found.items()
    )


def _capital(text: str) -> str:
    """Return a text with a capital first letter, unless that is a symbol."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def _series(case: Case) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, record in case.records.items():
        for line in record.get("series", ()):
            yield name, line


def drawn(measured: Measured) -> Iterator[tuple[Panel, list[tuple[str, go.Figure | None]]]]:
    """Yield each panel with (element, figure) of each element; None where it has no such curve."""
    for panel in panels(measured):
        made = [(element, curves(measured, element, panel)) for element in measured.elements]
        if any(chart.data for _, chart in made):
            yield panel, [(element, chart if chart.data else None) for element, chart in made]


def curves(measured: Measured, element: str, panel: Panel) -> go.Figure:
    """Return the curves of one element: a colour for each potential, a dash for each curve, points of the reference."""
    chart = figure(HEIGHT, showlegend=False)
    for name, colour in colours(measured).items():
        case = measured.cases.get((name, element))
        for record, line in _series(case) if case is not None else ():
            if line["key"] in panel.keys and (line["x_unit"], line["y_unit"]) == panel.units:
                unusable = case is not None and not case.usable(record)
                _add_line(chart, line, panel.keys.index(line["key"]), (name, colour), unusable=unusable)
    if chart.data:
        _add_reference(chart, measured.references.get(element, {}).get("curves", {}), panel)
        _finish(chart, element, panel)
    return chart


def _add_line(
    chart: go.Figure, line: Mapping[str, Any], place: int, potential: tuple[str, str], *, unusable: bool
) -> None:
    name, colour = potential
    count = len(line["x"])
    mode = "markers" if count < JOINED_FROM else "lines+markers" if count < LINES_FROM else "lines"
    chart.add_scatter(
        x=list(line["x"]), y=list(line["y"]), mode=mode, name=name,
        line={"color": colour, "width": 2, "dash": DASHES[place % len(DASHES)]}, opacity=0.45 if unusable else 1.0,
        marker={"size": 4 if count >= JOINED_FROM else 8, "color": colour},
        hovertemplate=f"{name}, {line['label']}: %{{y:.4g}} at %{{x:.4g}}<extra></extra>",
    )  # fmt: skip


def _add_reference(chart: go.Figure, known: Mapping[str, Mapping[str, Any]], panel: Panel) -> None:
    for place, key in enumerate(panel.keys):
        curve = known.get(key)
        if curve is not None and (curve["x_unit"], curve["y_unit"]) == panel.units:
            chart.add_scatter(
                x=list(curve["x"]), y=list(curve["y"]), mode="markers", name=f"{curve['source']} {panel.labels[place]}",
                marker={"color": "rgba(255,255,255,0.6)", "size": 6, "symbol": SYMBOLS[place % len(SYMBOLS)],
                        "line": {"color": REFERENCE, "width": 1.4}},
                hovertemplate=f"{curve['source']}, {panel.labels[place]}: %{{y:.4g}} at %{{x:.4g}}<extra></extra>",
            )  # fmt: skip


def _finish(chart: go.Figure, element: str, panel: Panel) -> None:
    x, y = (unit(name) for name in panel.units)
    plain_x = {"1": panel.x, "path length": x}.get(panel.units[0], f"{panel.x} [{x}]")
    chart.update_xaxes(title_text="<br>".join(textwrap.wrap(plain_x, LETTERS)))
    chart.update_yaxes(title_text=f"{panel.y} [{y}]")
    chart.update_layout(
        margin={"t": 34, "r": 8, "l": 60, "b": 46},
        title={"text": f"<b>{element}</b>", "x": 0.02, "y": 0.97, "font": {"size": 14}},
    )
    _clip(chart)


def _clip(chart: go.Figure) -> None:
    """Keep the axis to what can be used, and to the lower nine tenths of curves that rise steeply at their ends."""
    solid = [trace for trace in chart.data if trace.opacity in (None, 1.0)]
    pale = [number for trace in chart.data if trace not in solid for number in trace.y]
    values = sorted(float(number) for trace in solid for number in trace.y)
    found = span(values, pale, zero=False)
    middle = values[int(0.9 * (len(values) - 1))] if values else 0.0
    if values and values[-1] > 3 * middle > 0:
        found = [min(values[0], 0.0) - 0.03 * middle, 1.15 * middle]
    if found is not None:
        chart.update_yaxes(range=found)


def key_of(panel: Panel) -> list[tuple[str, str, str]]:
    """Return (label, dash, symbol of the reference) of the curves of a panel that has several."""
    if len(panel.keys) < 2:
        return []
    return [
        (label, DASHES[place % len(DASHES)], SYMBOLS[place % len(SYMBOLS)]) for place, label in enumerate(panel.labels)
    ]
