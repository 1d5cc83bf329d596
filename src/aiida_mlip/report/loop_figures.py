"""Figures of iterative training: what became of the frames, errors, survival and time by generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import sample_colorscale

from aiida_mlip.report.figures import log_axis, panels
from aiida_mlip.report.loop import COMMITTEE, Generation, Loop, mean_share
from aiida_mlip.report.numbers import QUANTITIES, duration
from aiida_mlip.report.theme import AFTER, BEFORE, LINE, MUTED, PALETTE, SYMBOLS, WORSE, figure, styles

FRAMES: Mapping[str, tuple[str, str]] = {
    "accurate": ("accurate", AFTER),
    "candidate": ("candidate", "#e3a500"),
    "failed": ("failed", WORSE),
    "filtered": ("refused by a geometry filter", LINE),
}
"""What a frame can be -> its name in the legend and colour."""

LABELS: Mapping[str, tuple[str, str]] = {
    "computed": ("label computed", AFTER),
    "reused": ("label found in the database", "#5aa9e0"),
    "refused": ("label failed", WORSE),
}

STOPS: Mapping[str, tuple[str, str]] = {
    "": ("reached the end", "circle"),
    "uncertainty": ("uncertainty", "x"),
    "relative_uncertainty": ("relative uncertainty", "cross"),
    "temperature": ("temperature", "triangle-up"),
    "distance": ("atoms too close", "diamond"),
    "bonds": ("broken bond", "square"),
    "density": ("density", "pentagon"),
    "force": ("force", "star"),
    "not_finite": ("not finite", "hexagon"),
}
"""What stopped a walker -> its name and marker."""

STEPS: Mapping[str, tuple[str, str]] = {
    "training": ("training", PALETTE[0]),
    "evaluation": ("errors", PALETTE[5]),
    "uncertainty": ("uncertainty", PALETTE[4]),
    "md": ("molecular dynamics", PALETTE[1]),
    "selection": ("selection", PALETTE[3]),
    "labelling": ("labelling", PALETTE[2]),
}
"""Step of a generation -> its name and colour."""

SPREAD = 0.09
"""Part of the range of temperatures over which walkers of one target are drawn apart."""

NARROW = 300.0
"""Range of temperatures [K] that is drawn at least."""

HEAT = [[0.0, "#5aa9e0"], [0.5, "#8e63b5"], [1.0, "#c2410c"]]
"""Colours of conditions, from the coldest to the hottest."""


def counts(loop: Loop) -> go.Figure:
    """Return two panels of stacked bars: what the frames of the dynamics were, and what became of those asked for."""
    labelled = any(item.labels is not None for item in loop.generations)
    made = panels(["Frames of the trajectories", *(["Configurations asked for"] if labelled else [])], 330)
    names = [str(item.number) for item in loop.generations]
    shown = [item.record.selection for item in loop.generations]
    for key, (title, colour) in FRAMES.items():
        values = [getattr(count, key) if count is not None else 0 for count in shown]
        totals = [max(count.frames, 1) if count is not None else 1 for count in shown]
        if key != "filtered" or any(values):
            texts = [f"{value} of {total} ({100 * value / total:.0f} %)"
                     for value, total in zip(values, totals, strict=True)]  # fmt: skip
            _add_bars(made, (names, values, texts), (title, colour), 1)
    for key, (title, colour) in LABELS.items() if labelled else ():
        values = [_labels(item, key) for item in loop.generations]
        if key == "computed" or any(values):
            _add_bars(made, (names, values, [str(value) for value in values]), (title, colour), 2)
    made.update_layout(barmode="stack", bargap=0.45, legend={"y": 1.14, "traceorder": "normal"}, margin={"t": 84})
    made.update_xaxes(title_text="generation", type="category", showgrid=False)
    made.update_yaxes(title_text="number", rangemode="tozero")
    return made


def _add_bars(
    made: go.Figure, bars: tuple[Sequence[str], Sequence[int], Sequence[str]], look: tuple[str, str], column: int
) -> None:
    """Add one colour of a stack; ``bars``: names, heights and words."""
    (names, values, texts), (title, colour) = bars, look
    made.add_bar(
        x=names, y=values, name=title, marker={"color": colour}, customdata=texts, row=1, col=column,
        hovertemplate=f"generation %{{x}}<br>{title}: %{{customdata}}<extra></extra>",
    )  # fmt: skip


def stop_name(rule: str | None) -> str:
    """Return what stopped a walker, in words."""
    return STOPS.get(rule or "", (rule or "", ""))[0]


def _labels(item: Generation, key: str) -> int:
    report = item.labels
    if report is None:
        return 0
    return {"computed": report.labelled - report.reused, "reused": report.reused, "refused": len(report.failed)}[key]


def errors(loop: Loop) -> go.Figure:
    """Return the root mean square errors on the hold-out set by generation: committee as a line, members as points."""
    shown = loop.measured
    keys = [key for key in QUANTITIES if any(item.error(key) is not None for item in shown)]
    made = panels([f"{QUANTITIES[key].title} [{QUANTITIES[key].unit}]" for key in keys], 320)
    several = any(len(item.members) > 1 for item in shown)
    for column, key in enumerate(keys, start=1):
        factor, values = QUANTITIES[key].factor, []
        for item in shown if several else ():
            members = [(name, item.error(key, name)) for name in item.members]
            known = [(name, number * factor) for name, number in members if number is not None]
            values += [number for _, number in known]
            made.add_scatter(
                x=[item.number] * len(known), y=[number for _, number in known], mode="markers", name="members",
                legendgroup="members", showlegend=column == 1 and item is shown[0], row=1, col=column,
                marker={"color": "white", "size": 8, "line": {"color": BEFORE, "width": 1.8}},
                text=[name.replace("_", " ") for name, _ in known],
                hovertemplate=f"%{{text}}: %{{y:.3g}} {QUANTITIES[key].unit}<extra></extra>",
            )  # fmt: skip
        line = [(item.number, number * factor) for item in shown if (number := item.error(key)) is not None]
        values += [number for _, number in line]
        made.add_scatter(
            x=[number for number, _ in line], y=[number for _, number in line], mode="lines+markers", row=1, col=column,
            name=COMMITTEE if several else "error", legendgroup=COMMITTEE, showlegend=column == 1,
            line={"color": AFTER, "width": 2.5}, marker={"color": AFTER, "size": 9},
            hovertemplate=f"generation %{{x}}: %{{y:.3g}} {QUANTITIES[key].unit}<extra></extra>",
        )  # fmt: skip
        made.update_yaxes(row=1, col=column, **log_axis(values))
    made.update_xaxes(title_text="generation", **_whole([item.number for item in shown]))
    made.update_layout(legend={"y": 1.14}, margin={"t": 80})
    return made


def _whole(numbers: Sequence[int]) -> Mapping[str, Any]:
    """Return an axis with one tick for each generation, and room at both ends."""
    return {"tickvals": list(numbers), "range": [min(numbers) - 0.4, max(numbers) + 0.4], "showgrid": False}


def survival(loop: Loop) -> go.Figure:
    """Return how long each walker lived over the temperature it reached, and the mean share by generation."""
    made = panels(["Each walker", "Mean over the walkers of a condition"], 410)
    shown = [item for item in loop.generations if item.record.survival]
    temperatures = [walker.temperature for item in shown for walker in item.record.survival]
    span = max(max(temperatures) - min(temperatures), NARROW)
    look = styles([item.title for item in shown])
    for place, item in enumerate(shown):
        walkers = sorted(item.record.survival, key=lambda walker: walker.temperature)
        apart = SPREAD * span * _places([walker.temperature for walker in walkers], place, len(shown))
        texts = [f"{walker.walker}<br>{stop_name(walker.stopped_by)}" for walker in walkers]
        made.add_scatter(
            x=np.array([walker.temperature for walker in walkers]) + apart,
            y=[walker.survived_ps for walker in walkers], mode="markers", row=1, col=1, name=item.title,
            marker={"color": look[item.title][0], "size": 10, "opacity": 0.75, "line": {"color": "white", "width": 1},
                    "symbol": [STOPS.get(walker.stopped_by or "", ("", "circle"))[1] for walker in walkers]},
            customdata=[[walker.temperature, walker.asked_ps] for walker in walkers], text=texts,
            hovertemplate="%{text}<br>%{y:.3g} of %{customdata[1]:.3g} ps, %{customdata[0]:.0f} K<extra></extra>",
        )  # fmt: skip
    longest = max(walker.asked_ps for item in shown for walker in item.record.survival)
    for asked in sorted({walker.asked_ps for item in shown for walker in item.record.survival}):
        line = {"color": MUTED, "width": 1, "dash": "dot"}
        made.add_hline(y=asked, line=line, row=1, col=1)
    _add_stops(made, [walker.stopped_by or "" for item in shown for walker in item.record.survival])
    _add_shares(made, shown)
    ends = [(max(temperatures) + min(temperatures) + sign * 1.16 * span) / 2 for sign in (-1, 1)]
    made.update_xaxes(title_text="target temperature where it ended [K]", range=ends, row=1, col=1)
    made.update_yaxes(title_text="survived [ps]", range=[-0.04 * longest, 1.08 * longest], row=1, col=1)
    second = {"orientation": "h", "x": 0.56, "y": 1.11, "yanchor": "bottom", "font": {"size": 12}}
    made.update_layout(legend={"y": 1.22}, legend2=second, margin={"t": 122})
    return made


def _places(targets: Sequence[float], group: int, groups: int) -> NDArray[np.float64]:
    """Return where walkers are drawn, -0.5 to 0.5: groups side by side, and in each the walkers of one target."""
    found = []
    for number, target in enumerate(targets):
        same = list(targets).count(target)
        before = list(targets[:number]).count(target)
        found.append((group + (before + 0.5) / same) / groups - 0.5)
    return np.array(found)


def _add_stops(made: go.Figure, stops: Sequence[str]) -> None:
    """Add the meaning of the markers that are in the figure to its legend."""
    for rule in dict.fromkeys([*(rule for rule in STOPS if rule in stops), *stops]):
        title, symbol = STOPS.get(rule, (rule, "circle"))
        made.add_scatter(
            x=[None], y=[None], mode="markers", name=title if not rule else f"stopped: {title}", row=1, col=1,
            marker={"color": MUTED, "symbol": symbol, "size": 9},
        )  # fmt: skip


def _add_shares(made: go.Figure, shown: Sequence[Generation]) -> None:
    conditions = list(dict.fromkeys(walker.condition for item in shown for walker in item.record.survival))
    hottest = {w.condition: w.temperature for item in shown for w in item.record.survival}
    ranked = sorted(conditions, key=lambda name: hottest[name])
    colours = sample_colorscale(HEAT, np.linspace(0, 1, max(len(ranked), 2)))[: len(ranked)]
    for place, (condition, colour) in enumerate(zip(ranked, colours, strict=True)):
        points = [
            (item.number, share)
            for item in shown
            if (share := mean_share(w for w in item.record.survival if w.condition == condition)) is not None
        ]
        made.add_scatter(
            x=[number for number, _ in points], y=[100 * share for _, share in points], mode="lines+markers",
            name=condition, legend="legend2", row=1, col=2, line={"color": colour, "width": 2},
            marker={"color": colour, "size": 13 - 2 * min(place, 4), "symbol": SYMBOLS[place % len(SYMBOLS)]},
            hovertemplate=f"{condition}, generation %{{x}}: %{{y:.0f}} %<extra></extra>",
        )  # fmt: skip
    numbers = [item.number for item in shown]
    made.update_xaxes(title_text="generation", row=1, col=2, **_whole(numbers))
    made.update_yaxes(title_text="survived part of the time", ticksuffix=" %", range=[-4, 108], row=1, col=2)


def times(loop: Loop) -> go.Figure:
    """Return the wall time of each generation, divided into its steps."""
    names = [item.title for item in loop.generations][::-1]
    made = figure(120 + 34 * len(names), barmode="stack", bargap=0.35, margin={"t": 44, "l": 110, "b": 52})
    longest = max((sum(item.record.cost.get(key, 0.0) for key in STEPS) for item in loop.generations), default=0.0)
    unit, factor = next(
        ((unit, size) for unit, size in (("h", 3600.0), ("min", 60.0)) if longest > 2 * size), ("s", 1.0)
    )
    for key, (title, colour) in STEPS.items():
        seconds = np.array([item.record.cost.get(key, 0.0) for item in loop.generations][::-1])
        if seconds.any():
            made.add_bar(
                y=names, x=seconds / factor, name=title, orientation="h", marker={"color": colour},
                customdata=[duration(float(number)) for number in seconds],
                hovertemplate=f"%{{y}}, {title}: %{{customdata}}<extra></extra>",
            )  # fmt: skip
    made.update_xaxes(title_text=f"wall time [{unit}]")
    made.update_yaxes(showgrid=False)
    made.update_layout(legend={"y": 1.02, "traceorder": "normal"})
    return made
