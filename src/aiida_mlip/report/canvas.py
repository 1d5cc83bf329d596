"""A figure of several panels whose legend names each thing once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aiida_mlip.report.theme import INK, TEMPLATE

Place = Mapping[str, int]
"""``row`` and ``col`` of a panel."""


class Canvas:
    """Panels in the house style.

    :param figure: of :func:`plotly.subplots.make_subplots`.
    """

    def __init__(self, figure: go.Figure) -> None:
        self._figure = figure
        self._waiting: list[tuple[go.Scatter, Place]] = []
        self._named: set[str] = set()

    @property
    def figure(self) -> go.Figure:
        """Return the figure with all that was added; lines are added at once, since one by one takes much longer."""
        if self._waiting:
            traces, places = zip(*self._waiting, strict=True)
            self._waiting = []
            self._figure.add_traces(traces, [one["row"] for one in places], [one["col"] for one in places])
        return self._figure

    def add(self, points: tuple[Any, Any], name: str, where: Place, **options: Any) -> None:
        """Add points or a line to a panel; the first of each name is in the legend."""
        x, y = points
        trace = go.Scatter(
            x=_small(x), y=_small(y), name=name, legendgroup=name, showlegend=name not in self._named,
            **{"mode": "lines", **options},
        )  # fmt: skip
        self._waiting.append((trace, where))
        self._named.add(name)

    def key(self, name: str, where: Place, **line: Any) -> None:
        """Put a line into the legend that stands for what is drawn with this name."""
        trace = go.Scatter(x=[None], y=[None], mode="lines", name=name, legendgroup=name, line=line)
        self._waiting.append((trace, where))
        self._named.add(name)


def _small(values: Any) -> Any:
    """Return an array with as many digits as are drawn."""
    return values.astype(np.float32) if isinstance(values, np.ndarray) and values.dtype.kind == "f" else values


def canvas(shape: tuple[int, int], height: int, *, titles: Sequence[str] = (), **options: Any) -> Canvas:
    """Return an empty figure with its legend above the panels.

    :param shape: rows and columns.
    :param height: of one row [px].
    :param titles: of the panels, or ``column_titles`` among the options.
    """
    rows, columns = shape
    spacing = {"horizontal_spacing": 0.2 / max(columns, 2), "vertical_spacing": 0.3 / max(rows, 2)}
    if titles:
        spacing["subplot_titles"] = list(titles)  # type: ignore[assignment]
    made = make_subplots(rows=rows, cols=columns, **{**spacing, **options})
    whole = height * rows + 110
    made.update_layout(template=TEMPLATE, height=whole, margin={"t": 84, "b": 50}, hovermode="closest")
    made.update_annotations(font={"size": 13, "color": INK}, yshift=3)
    made.update_layout(legend={"y": 1 + 30 / (whole - 134), "font": {"size": 11.5}})
    return Canvas(made)


def place(index: int, columns: int) -> Place:
    """Return row and column of the panel with this number, from 0."""
    return {"row": index // columns + 1, "col": index % columns + 1}
