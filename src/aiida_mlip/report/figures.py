"""The figures of the reports, as plotly objects in the house style."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from aiida_mlip.report.compare import ErrorSet
from aiida_mlip.report.numbers import QUANTITIES, deviation, typeset
from aiida_mlip.report.parity import Points
from aiida_mlip.report.theme import AFTER, BEFORE, BETTER, INK, LINE, MUTED, PALETTE, REFERENCE, TEMPLATE, WORSE, styles

Style = Mapping[str, Any]

OPEN: Style = {"color": "white", "size": 10, "line": {"color": BEFORE, "width": 2.2}}
FILLED: Style = {"color": AFTER, "size": 11}


TICKS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), tuple(n / 10 for n in range(10, 100, 2)))
"""Leading digits of the ticks of a logarithmic axis; the first of these that gives three ticks is taken."""


def panels(titles: Sequence[str], height: int, *, rows: int = 1, **options: Any) -> go.Figure:
    """Return a figure of panels side by side, titled."""
    columns = len(titles)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=list(titles), horizontal_spacing=0.22 / max(columns, 2), **options
    )
    figure.update_layout(template=TEMPLATE, height=height)
    figure.update_annotations(font={"size": 13.5, "color": INK}, yshift=4)
    return figure


def log_axis(values: Iterable[float | None]) -> dict[str, Any]:
    """Return a logarithmic axis around ``values``, with ticks in plain digits, more of them where it spans less."""
    positive = [value for value in values if value is not None and np.isfinite(value) and value > 0]
    if not positive:
        return {"type": "log"}
    low, high = np.log10(min(positive)), np.log10(max(positive))
    pad = max(0.08 * (high - low), 0.06)
    low, high = low - pad, high + pad
    ticks: list[float] = []
    for steps in TICKS:
        powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps if low <= np.log10(step) + power <= high]
        if len(ticks) >= 3:
            break
    text = [f"{tick:.10g}" if 1e-4 < tick < 1e5 else f"10<sup>{round(np.log10(tick))}</sup>" for tick in ticks]
    return {"type": "log", "range": [low, high], "tickvals": ticks, "ticktext": text}


@dataclass(frozen=True)
class Pair:
    """One line of a before-and-after plot; ``verdict`` is ``better``, ``worse`` or anything else."""

    name: str
    before: float | None
    after: float | None
    verdict: str


def _add_pairs(figure: go.Figure, pairs: Sequence[Pair], column: int, unit: str, titles: tuple[str, str]) -> None:
    """Draw an open circle before, a filled one after, and between them a line in the colour of the verdict."""
    place = {"row": 1, "col": column}
    for pair in pairs:
        if pair.before is not None and pair.after is not None:
            line = {"color": {"better": BETTER, "worse": WORSE}.get(pair.verdict, LINE), "width": 2.5}
            ends, names = [pair.before, pair.after], [pair.name, pair.name]
            figure.add_scatter(x=ends, y=names, mode="lines", line=line, showlegend=False, hoverinfo="skip", **place)
    columns = ([pair.before for pair in pairs], [pair.after for pair in pairs])
    for title, values, marker in zip(titles, columns, (OPEN, FILLED), strict=True):
        if any(value is not None for value in values):
            figure.add_scatter(
                x=values, y=[pair.name for pair in pairs], name=title, mode="markers", marker=marker,
                legendgroup=title, showlegend=column == 1, **place,
                hovertemplate=f"%{{y}}<br>{title}: %{{x:.4g}} {unit}<extra></extra>",
            )  # fmt: skip


def errors_by_type(errors: ErrorSet) -> go.Figure:
    """Return, for each configuration type, the error before and after on a logarithmic scale, joined by a line."""
    rows = [errors.total, *reversed(errors.types)]
    names = [f"<b>all</b> ({errors.total.frames})", *(f"{row.name} ({row.frames})" for row in rows[1:])]
    items = [QUANTITIES[key] for key in errors.quantities]
    figure = panels([f"{item.title} [{item.unit}]" for item in items], 130 + 27 * len(rows), shared_yaxes=True)
    for column, item in enumerate(items, start=1):
        cells = [row.cells["rmse"][item.key] for row in rows]
        pairs = [
            Pair(name, _times(cell.before, item.factor), _times(cell.after, item.factor), cell.verdict)
            for name, cell in zip(names, cells, strict=True)
        ]
        _add_pairs(figure, pairs, column, item.unit, ("before", "after" if errors.compared else "error"))
        values = [value for pair in pairs for value in (pair.before, pair.after)]
        figure.update_xaxes(row=1, col=column, **log_axis(values))
    figure.update_yaxes(showgrid=False, categoryorder="array", categoryarray=names)
    figure.update_layout(legend={"y": 1, "yref": "container", "yanchor": "top"}, margin={"t": 66, "b": 34})
    return figure


def _times(number: float | None, factor: float) -> float | None:
    return None if number is None else number * factor


def deviations(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Return the deviation of each property from its reference, before and after.

    :param rows: with ``label``, ``reference``, ``before`` and ``after`` in one unit.
    """
    pairs = []
    for row in reversed([row for row in rows if row["reference"]]):
        before, after = (deviation(row[which], row["reference"]) for which in ("before", "after"))
        verdict = ""
        if before is not None and after is not None:
            verdict = "better" if abs(after) < abs(before) else "worse"
        pairs.append(Pair(typeset(row["label"]), before, after, verdict))
    figure = panels([""], 110 + 29 * len(pairs))
    _add_pairs(figure, pairs, 1, "%", ("before", "after"))
    figure.add_vline(x=0, line={"color": REFERENCE, "width": 1.4})
    figure.update_xaxes(title_text="deviation from DFT", ticksuffix=" %")
    figure.update_yaxes(showgrid=False)
    figure.update_layout(margin={"t": 36, "l": 130})
    return figure


def parity(before: Mapping[str, Points], after: Mapping[str, Points]) -> go.Figure:
    """Return prediction against label above, and their difference below, before in grey and after by type."""
    keys = [key for key in QUANTITIES if key in after]
    before, after = from_lowest(before, after)
    titles = [f"{QUANTITIES[key].title} [{QUANTITIES[key].axis_unit}]" for key in keys]
    figure = panels(titles, 660, rows=2, row_heights=[0.6, 0.4], vertical_spacing=0.04)
    figure.layout.annotations = figure.layout.annotations[: len(keys)]
    names = sorted({str(name) for points in after.values() for name in points.types})
    for column, key in enumerate(keys, start=1):
        if key in before:
            style = {"color": BEFORE, "size": 4.5, "opacity": 0.55}
            _add_points(figure, before[key], (key, column), "before", style)
        for name, (colour, symbol) in styles(names).items():
            style = {"color": colour, "symbol": symbol, "size": 6, "opacity": 0.85}
            _add_points(figure, after[key].of_type(name), (key, column), name, style)
        _add_diagonal(figure, [points[key] for points in (before, after) if key in points], column)
        what = "label − lowest label" if key == "energy" else "label"
        figure.update_xaxes(title_text=f"{what} [{QUANTITIES[key].axis_unit}]", row=2, col=column)
        figure.update_xaxes(matches=f"x{column + len(keys)}", showticklabels=False, row=1, col=column)
    figure.update_yaxes(title_text="prediction", row=1, col=1)
    figure.update_yaxes(title_text="prediction − label", row=2, col=1)
    figure.update_layout(legend={"y": 1.075, "itemsizing": "constant"}, margin={"t": 96})
    return figure


def from_lowest(
    before: Mapping[str, Points], after: Mapping[str, Points]
) -> tuple[Mapping[str, Points], Mapping[str, Points]]:
    """Return the same points with the lowest energy label as zero: only differences of energies mean something."""
    if "energy" not in after:
        return before, after
    zero = float(after["energy"].reference.min())

    def moved(points: Mapping[str, Points]) -> Mapping[str, Points]:
        return {key: item.moved(zero) if key == "energy" else item for key, item in points.items()}

    return moved(before), moved(after)


def _add_points(figure: go.Figure, points: Points, place: tuple[str, int], name: str, marker: Style) -> None:
    """Add one group of points to both panels of a column; ``place``: kind of label and column."""
    unit, column = QUANTITIES[place[0]].axis_unit, place[1]
    if not len(points.reference):
        return
    x = points.reference.astype(np.float32)
    label = [f"{kind}, frame {frame}" for kind, frame in zip(points.types, points.frames, strict=True)]
    few = len(label) <= 500
    for row, (y, what) in enumerate(((points.predicted, "prediction"), (points.error, "difference")), start=1):
        figure.add_scatter(
            x=x, y=y.astype(np.float32), mode="markers", marker=dict(marker), name=name, legendgroup=name,
            showlegend=column == row == 1, text=label if few else None, row=row, col=column,
            hovertemplate=f"{'%{text}' if few else name}<br>label %{{x:.4g}}, {what} %{{y:.4g}} {unit}<extra></extra>",
        )  # fmt: skip


def _add_diagonal(figure: go.Figure, drawn: Sequence[Points], column: int) -> None:
    low = min(float(points.reference.min()) for points in drawn)
    high = max(float(points.reference.max()) for points in drawn)
    line = {"color": MUTED, "width": 1, "dash": "dot"}
    for row, ends in ((1, [low, high]), (2, [0.0, 0.0])):
        figure.add_scatter(
            x=[low, high], y=ends, mode="lines", line=line, showlegend=False, hoverinfo="skip", row=row, col=column
        )


def learning_curves(histories: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, int | None]) -> go.Figure:
    """Return loss and validation errors over the epochs, one line for each member and head.

    :param histories: member -> arrays by name, as in the node of a training.
    :param chosen: member -> the epoch whose weights were kept.
    """
    wanted = {"loss": ("Loss", 1.0)} | {
        f"rmse_{key}": (f"{item.title} [{item.unit}]", item.factor) for key, item in QUANTITIES.items()
    }
    first = next(iter(histories.values()))
    shown = {name: look for name, look in wanted.items() if _curves(first, name)}
    figure = panels([title for title, _ in shown.values()], 330)
    named: set[str] = set()
    for column, (name, (_, factor)) in enumerate(shown.items(), start=1):
        values: list[float] = []
        for number, (member, arrays) in enumerate(histories.items()):
            colour = AFTER if len(histories) == 1 else PALETTE[number % len(PALETTE)]
            for label, key, dash in _curves(arrays, name):
                if label == "training" and len(histories) > 1:
                    continue
                title = label if len(histories) == 1 else label.replace("validation", member.replace("_", " "))
                line = {"color": MUTED if title == "training" else colour, "dash": dash, "width": 2}
                y = np.asarray(arrays[key], dtype=float) * factor
                _add_curve(figure, (np.asarray(arrays["epoch"]), y), column, (title, line), named)
                values += list(y)
            if (epoch := chosen.get(member)) is not None:
                line = {"color": colour, "width": 1.2, "dash": "dash"}
                figure.add_vline(x=epoch, line=line, opacity=0.7, row=1, col=column)
        figure.update_yaxes(row=1, col=column, **log_axis(values))
    figure.update_xaxes(title_text="epoch", rangemode="tozero")
    figure.update_layout(legend={"y": 1.14}, margin={"t": 78})
    return figure


def _add_curve(
    figure: go.Figure, points: tuple[Any, Any], column: int, look: tuple[str, Style], named: set[str]
) -> None:
    """Add one line with title and style; only titles that are not in ``named`` go into the legend."""
    (x, y), (title, line) = points, look
    figure.add_scatter(
        x=x, y=y, name=title, legendgroup=title, showlegend=title not in named, line=dict(line), row=1, col=column,
        mode="lines" if len(x) > 40 else "lines+markers", marker={"size": 5},
        hovertemplate=f"epoch %{{x}}: %{{y:.4g}}<extra>{title}</extra>",
    )  # fmt: skip
    named.add(title)


def _curves(arrays: Mapping[str, Any], name: str) -> list[tuple[str, str, str]]:
    """Return (label, name of the array, dash) of the curves of one panel: training, validation, other heads."""
    found = [("training", "train_loss", "dot")] if name == "loss" and "train_loss" in arrays else []
    for key in sorted(arrays):
        head = key.removeprefix("valid_").removesuffix(f"_{name}")
        if key == f"valid_{name}":
            found.append(("validation", key, "solid"))
        elif key.startswith("valid_") and key.endswith(f"_{name}") and not head.endswith(("mae", "rmse")):
            found.append((f"validation, head {head}", key, "dash"))
    return found
