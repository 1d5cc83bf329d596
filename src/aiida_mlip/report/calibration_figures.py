"""Figures of uncertainties: beside the true errors, as coverage, and over the generations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from aiida_mlip.report.asked import Asked
from aiida_mlip.report.asked import compared as asked_compared
from aiida_mlip.report.calibration import MULTIPLES, Compared, binned, coverage, expected_coverage
from aiida_mlip.report.figures import log_axis, panels
from aiida_mlip.report.theme import AFTER, BEFORE, INK, MUTED, WORSE, figure, styles

MOST_POINTS = 3000
"""Points of one panel; of more, every n-th by size of the error is drawn."""


def calibration(kinds: Sequence[Compared]) -> go.Figure:
    """Return uncertainty against error above, and the coverage before and after scaling below, one column a kind."""
    titles = [f"{item.kind.title} [{item.kind.unit}]" for item in kinds]
    made = panels(titles, 700, rows=2, row_heights=[0.58, 0.42], vertical_spacing=0.13)
    made.layout.annotations = made.layout.annotations[: len(kinds)]
    for column, item in enumerate(kinds, start=1):
        _add_pairs(made, item, column)
        _add_coverage(made, item, column)
    made.update_yaxes(title_text="|error|", row=1, col=1)
    made.update_yaxes(title_text="share of errors within", row=2, col=1)
    made.update_layout(legend={"y": 1.06, "itemsizing": "constant"}, margin={"t": 92})
    return made


def _add_pairs(made: go.Figure, item: Compared, column: int) -> None:
    factor, place = item.kind.factor, {"row": 1, "col": column}
    thin = np.argsort(item.error)[:: max(1, -(-len(item.error) // MOST_POINTS))]
    made.add_scatter(
        x=(item.sigma[thin] * factor).astype(np.float32), y=(item.error[thin] * factor).astype(np.float32),
        mode="markers", name="each pair", legendgroup="each", showlegend=column == 1, hoverinfo="skip",
        marker={"color": AFTER, "size": 3.5, "opacity": 0.25}, **place,
    )  # fmt: skip
    ends = []
    for name, sigma, colour, dash in (
        ("rms of a bin, before scaling", item.raw, BEFORE, "dash"),
        ("rms of a bin, calibrated", item.sigma, INK, "solid"),
    ):
        x, y, number = binned(sigma, item.error)
        made.add_scatter(
            x=x * factor, y=y * factor, mode="lines+markers", name=name, legendgroup=name, showlegend=column == 1,
            line={"color": colour, "width": 2, "dash": dash}, marker={"color": colour, "size": 7}, customdata=number,
            hovertemplate=f"%{{customdata}} pairs: sigma %{{x:.3g}}, error %{{y:.3g}} {item.kind.unit}<extra></extra>",
            **place,
        )  # fmt: skip
        ends += [*(x * factor), *(y * factor)]
    low = [*ends, *np.quantile(item.sigma * factor, [0.01, 0.995]), *np.quantile(item.error * factor, [0.05, 0.998])]
    axis = log_axis(float(number) for number in low)
    edges = [10.0**end for end in axis["range"]]
    made.add_scatter(
        x=edges, y=edges, mode="lines", name="error = uncertainty", legendgroup="equal", showlegend=column == 1,
        line={"color": MUTED, "width": 1.2, "dash": "dot"}, hoverinfo="skip", **place,
    )  # fmt: skip
    made.update_yaxes(**axis, **place)
    made.update_xaxes(title_text=f"uncertainty [{item.kind.unit}]", **axis, **place)


def _add_coverage(made: go.Figure, item: Compared, column: int) -> None:
    place = {"row": 2, "col": column}
    for name, shares, look in (
        ("Gaussian", expected_coverage(item.kind.dimensions), {"color": MUTED, "width": 1.2, "dash": "dot"}),
        ("before", coverage(item.raw, item.error), {"color": BEFORE, "width": 2, "dash": "dash"}),
        ("calibrated", coverage(item.sigma, item.error), {"color": INK, "width": 2.2, "dash": "solid"}),
    ):
        made.add_scatter(
            x=MULTIPLES, y=100 * shares, mode="lines", name=name, line=look, legendgroup=f"coverage {name}",
            showlegend=False, **place,
            hovertemplate=f"{name}: %{{y:.0f}} % within %{{x:.1f}} sigma<extra></extra>",
        )  # fmt: skip
    made.update_xaxes(title_text="multiples of the uncertainty", range=[0, MULTIPLES[-1]], **place)
    made.update_yaxes(range=[0, 103], ticksuffix=" %", **place)


def asked_for(items: Sequence[Asked]) -> go.Figure | None:
    """Return, for the configurations that were asked for, the uncertainty then against the error that came out.

    This is where the model was driven to, not where it was calibrated: nothing makes the points lie on the line.
    """
    pairs = list(asked_compared(items))
    if not pairs:
        return None
    made = figure(400, margin={"t": 56, "l": 70, "b": 56})
    generations = sorted({item.generation for item, _, _ in pairs})
    for name, (colour, symbol) in styles([f"generation {number}" for number in generations]).items():
        group = [(item, sigma, error) for item, sigma, error in pairs if f"generation {item.generation}" == name]
        made.add_scatter(
            x=[sigma for _, sigma, _ in group], y=[error for _, _, error in group], mode="markers", name=name,
            marker={"color": colour, "symbol": symbol, "size": 9, "opacity": 0.85},
            text=[f"{item.origin.walker}, step {item.origin.step}" for item, _, _ in group],
            hovertemplate="%{text}<br>uncertainty %{x:.3g}, error %{y:.3g} eV/Å<extra></extra>",
        )  # fmt: skip
    axis = log_axis([number for _, sigma, error in pairs for number in (sigma, error)])
    if "range" in axis:
        edges = [10.0**end for end in axis["range"]]
        made.add_scatter(
            x=edges, y=edges, mode="lines", name="error = uncertainty", hoverinfo="skip",
            line={"color": MUTED, "width": 1.2, "dash": "dot"},
        )  # fmt: skip
    made.update_xaxes(title_text="largest force uncertainty when it was asked for [eV/Å]", **axis)
    made.update_yaxes(title_text="largest force error of that model [eV/Å]", **axis)
    return made


def correlations(rows: Sequence[tuple[int, dict[str, float | None]]]) -> go.Figure:
    """Return the rank correlation of uncertainty and error by generation.

    :param rows: generation, and kind of uncertainty -> Spearman's coefficient.
    """
    made = figure(290, margin={"t": 56, "l": 70, "b": 52})
    names = list(dict.fromkeys(name for _, found in rows for name in found))
    for name, (colour, symbol) in styles(names).items():
        points = [(number, found[name]) for number, found in rows if found.get(name) is not None]
        made.add_scatter(
            x=[number for number, _ in points], y=[value for _, value in points], mode="lines+markers", name=name,
            line={"color": colour, "width": 2}, marker={"color": colour, "symbol": symbol, "size": 9},
            hovertemplate=f"{name}, generation %{{x}}: %{{y:.2f}}<extra></extra>",
        )  # fmt: skip
    numbers = [number for number, _ in rows]
    made.add_hline(y=0, line={"color": WORSE, "width": 1, "dash": "dot"})
    lowest = min((value for _, found in rows for value in found.values() if value is not None), default=0.0)
    made.update_xaxes(title_text="generation", tickvals=numbers, range=[numbers[0] - 0.4, numbers[-1] + 0.4])
    made.update_yaxes(title_text="Spearman, |error|", range=[min(lowest - 0.1, -0.05), 1.05])
    return made
