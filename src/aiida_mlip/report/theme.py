"""The look of all figures: one palette that colour-blind readers can tell apart, one template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

INK, MUTED, GRID, LINE = "#1b2733", "#5b6875", "#e6eaef", "#b6bfc9"
BEFORE, AFTER, REFERENCE = "#9aa4af", "#0b5fa5", "#1b2733"
BETTER, WORSE = "#007a5e", "#c2410c"

GRADES = {"good": "#cfe3f5", "fair": "#fdf0c2", "poor": "#fbd3bf"}
"""Grade -> background: blue, yellow and orange, which colour-blind readers can tell apart; as in ``style.css``."""

PALETTE = ("#0b5fa5", "#d95f02", "#007a5e", "#b8418b", "#5aa9e0", "#a07a00", "#6a51a3", "#2e7f7f", "#8c510a", "#444b54")
"""After Okabe and Ito, darkened so that points show on white."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon", "hexagon", "triangle-down")

ROOM = 0.35
"""Part of a range that is added at both ends for values that need not be seen."""

FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"

_AXIS: dict[str, Any] = {
    "showline": True,
    "linecolor": LINE,
    "linewidth": 1,
    "mirror": True,
    "ticks": "outside",
    "ticklen": 4,
    "tickcolor": LINE,
    "gridcolor": GRID,
    "zeroline": False,
    "title": {"standoff": 8, "font": {"size": 13}},
    "tickfont": {"size": 12},
    "automargin": True,
    "exponentformat": "power",
}

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": list(PALETTE),
        "margin": {"l": 60, "r": 16, "t": 36, "b": 50},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.03, "xanchor": "left", "x": 0, "font": {"size": 12}},
        "hoverlabel": {"bgcolor": "white", "font": {"color": INK, "size": 12}, "bordercolor": LINE},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


def styles(names: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    """Return name -> (colour, marker symbol), the same in all figures of a page that name the same things."""
    return {name: (PALETTE[i % len(PALETTE)], SYMBOLS[i % len(SYMBOLS)]) for i, name in enumerate(names)}


def span(usable: Iterable[float], others: Iterable[float], *, zero: bool) -> list[float] | None:
    """Return the range of an axis around what can be used, where the rest would hide it; None: all fits.

    :param usable: values that have to be seen, references among them; ``others``: values that may be cut off.
    :param zero: the range has to contain zero.
    """
    shown, rest = [*usable, *([0.0] if zero else [])], list(others)
    if len(shown) < 2 or not rest:
        return None
    low, high = min(shown), max(shown)
    size = high - low
    if not size or (min(rest) > low - ROOM * size and max(rest) < high + ROOM * size):
        return None
    ends = max(min(rest), low - ROOM * size), min(max(rest), high + ROOM * size)
    return [min(low, ends[0]) - 0.04 * size, max(high, ends[1]) + 0.04 * size]


def figure(height: int, **layout: Any) -> go.Figure:
    """Return an empty figure of the house style.

    :param height: [px]; the width follows the page.
    """
    return go.Figure(layout={"template": TEMPLATE, "height": height, **layout})
