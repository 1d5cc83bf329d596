"""Figures of trajectories of liquids over time: density, temperature, voids, intact molecules, energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from aiida_mlip.report.canvas import Canvas, Place, canvas, place
from aiida_mlip.report.electrolyte import Array, Condition, Liquids, Run, conditions_of
from aiida_mlip.report.figures import panels
from aiida_mlip.report.theme import AFTER, INK, LINE, MUTED, PALETTE, SYMBOLS, WORSE, styles
from aiida_mlip.science.liquids.findings import CheckResult

MOST_POINTS = 1200
"""Points of one line."""

MOST_COLUMNS = 3
"""Conditions in one figure."""

BLOCKS = 5
"""Blocks of the part of a run that is averaged."""

PALE = 0.4
"""Opacity of the values themselves, beside their block means."""


@dataclass(frozen=True)
class Shown:
    """One row of the figure.

    :param curve: beginning of the names of its arrays, which end in ``_time_ps`` and ``name``.
    :param blocks: block means are drawn.
    """

    title: str
    curve: str
    name: str
    factor: float = 1.0
    blocks: bool = True
    only: tuple[str, ...] = ("npt", "nvt", "nve")

    def of(self, run: Run) -> tuple[Array, Array] | None:
        """Return times [ps] and values of a run, or None."""
        times, values = (run.curves.get(f"{self.curve}_{name}") for name in ("time_ps", self.name))
        if run.condition.stage not in self.only or times is None or values is None or len(times) != len(values):
            return None
        known = np.isfinite(values)
        return (times[known], values[known] * self.factor) if known.sum() > 1 else None


ROWS = (
    Shown("density [g/cm³]", "density", "values", only=("npt",)),
    Shown("temperature [K]", "temperature", "values"),
    Shown("largest void [Å]", "bubble", "radius"),
    Shown("intact molecules [%]", "molecules", "intact", factor=100.0, blocks=False),
)

ENERGY = Shown("", "energy", "per_atom", factor=1e3, only=("nve",))


def over_time(liquids: Liquids, stage: str) -> Iterator[go.Figure]:
    """Yield figures of one stage: a column for each condition, a row for each quantity, a line for each trajectory."""
    runs = [run for run in liquids.runs if run.condition.stage == stage]
    conditions = conditions_of(runs)
    for start in range(0, len(conditions), MOST_COLUMNS):
        part = conditions[start : start + MOST_COLUMNS]
        shown = [run for run in runs if run.condition in part]
        rows = [row for row in ROWS if any(row.of(run) for run in shown)]
        if rows:
            yield _grid(liquids, shown, rows, part)


def colours(liquids: Liquids) -> Mapping[str, str]:
    """Return potential -> colour, the same in all figures of a page."""
    if len(liquids.potentials) == 1:
        return {liquids.potentials[0]: AFTER}
    return {name: colour for name, (colour, _) in styles(liquids.potentials).items()}


def _grid(liquids: Liquids, runs: Sequence[Run], rows: Sequence[Shown], columns: Sequence[Condition]) -> go.Figure:
    titles = [_heading(item, len(columns)) for item in columns]
    made = canvas((len(rows), len(columns)), 165, column_titles=titles, shared_xaxes=True,
                  vertical_spacing=0.16 / max(len(rows), 2))  # fmt: skip
    look = colours(liquids)
    for name in dict.fromkeys(run.potential for run in runs):
        made.key(name or "trajectory", {"row": 1, "col": 1}, color=look[name], width=2.5)
    for column, condition in enumerate(columns, start=1):
        mine = [run for run in runs if run.condition == condition]
        for number, row in enumerate(rows, start=1):
            where = {"row": number, "col": column}
            for run in mine:
                _add_run(made, run, row, look[run.potential], where)
            _add_marks(made, liquids, mine, row, where)
        made.figure.update_xaxes(title_text="time [ps]", row=len(rows), col=column)
    for number, row in enumerate(rows, start=1):
        made.figure.update_yaxes(title_text=row.title, title_font={"size": 12}, row=number, col=1)
        if row.curve == "molecules":
            made.figure.update_yaxes(range=[_least_intact(runs), 102], row=number)
    return made.figure


def _least_intact(runs: Sequence[Run]) -> float:
    found = [row[1].min() for run in runs if (row := ROWS[-1].of(run)) is not None]
    return min(80.0, float(min(found, default=80.0)) - 8)


def _heading(condition: Condition, columns: int) -> str:
    return condition.words if columns == 1 else f"{condition.box}, {condition.short}"


def thin(times: Array, values: Array, most: int = MOST_POINTS) -> tuple[Array, Array]:
    """Return every n-th point so that there are not more than ``most``."""
    step = max(1, -(-len(times) // most))
    return times[::step], values[::step]


def block_lines(times: Array, values: Array, equilibration: float) -> tuple[list[float | None], list[float | None]]:
    """Return a horizontal line for each block of the averaged part, with gaps between them; empty where it is short."""
    kept = times >= times[0] + equilibration * (times[-1] - times[0])
    if kept.sum() < 2 * BLOCKS:
        return [], []
    x: list[float | None] = []
    y: list[float | None] = []
    for part_x, part_y in zip(np.array_split(times[kept], BLOCKS), np.array_split(values[kept], BLOCKS), strict=True):
        x += [float(part_x[0]), float(part_x[-1]), None]
        y += [float(part_y.mean()), float(part_y.mean()), None]
    return x, y


def _add_run(made: Canvas, run: Run, row: Shown, colour: str, where: Place) -> None:
    found = row.of(run)
    if found is None:
        return
    blocks = block_lines(*found, run.equilibration) if row.blocks else ([], [])
    made.add(
        thin(*found), run.potential or "trajectory", where, line={"color": colour, "width": 1.3},
        opacity=PALE if blocks[0] else 1.0, hovertemplate=f"{run.name}<br>%{{x:.3f}} ps: %{{y:.4g}}<extra></extra>",
    )  # fmt: skip
    if blocks[0]:
        made.add(
            blocks, run.potential or "trajectory", where, line={"color": colour, "width": 3},
            hovertemplate=f"{run.name}<br>block mean %{{y:.4g}}<extra></extra>",
        )  # fmt: skip


def _add_marks(made: Canvas, liquids: Liquids, runs: Sequence[Run], row: Shown, where: Place) -> None:
    """Add target, reference and limit as lines over the whole length."""
    ends = [found[0] for run in runs if (found := row.of(run)) is not None]
    if not ends:
        return
    span = [float(min(times[0] for times in ends)), float(max(times[-1] for times in ends))]
    for name, value, look in _marks(liquids, runs, row):
        made.add((span, [value, value]), name, where, line=look, hovertemplate=f"{name} {value:.4g}<extra></extra>")


def _marks(liquids: Liquids, runs: Sequence[Run], row: Shown) -> Iterator[tuple[str, float, dict[str, Any]]]:
    if row.curve == "temperature" and runs[0].condition.stage != "nve":
        yield "target", runs[0].condition.temperature, {"color": INK, "width": 1.3, "dash": "dot"}
    if row.curve == "density" and (reference := liquids.reference_density(runs[0])) is not None:
        yield "reference", reference, {"color": INK, "width": 1.6, "dash": "dash"}
    if row.curve == "bubble":
        limits = [item.limit for run in runs for item in run.results("bubble") if item.limit and item.unit == "Å"]
        if limits:
            yield "limit", min(limits), {"color": WORSE, "width": 1.3, "dash": "longdash"}


def energy_drift(liquids: Liquids) -> go.Figure | None:
    """Return the total energy at constant energy from its mean, with the line that is the drift."""
    runs = [run for run in liquids.runs if ENERGY.of(run) is not None]
    if not runs:
        return None
    conditions = conditions_of(runs)[: 2 * MOST_COLUMNS]
    columns = min(len(conditions), MOST_COLUMNS)
    titles = [f"{item.box}, {item.short}" for item in conditions]
    made, look = canvas((-(-len(conditions) // columns), columns), 240, titles=titles), colours(liquids)
    for run in runs:
        if run.condition in conditions:
            _add_energy(made, run, look[run.potential], place(conditions.index(run.condition), columns))
    made.figure.update_xaxes(title_text="time [ps]")
    made.figure.update_yaxes(title_text="E − mean [meV/atom]", col=1)
    return made.figure


def _add_energy(made: Canvas, run: Run, colour: str, where: Place) -> None:
    found = ENERGY.of(run)
    if found is None:
        return
    times, values = found
    values = values - values.mean()
    made.add(
        thin(times, values), run.potential or "total energy", where, opacity=0.6, line={"color": colour, "width": 1.4},
        hovertemplate=f"{run.name}<br>%{{x:.3f}} ps: %{{y:.3g}}<extra></extra>",
    )  # fmt: skip
    kept = times >= times[0] + run.equilibration * (times[-1] - times[0])
    if kept.sum() < 3:
        return
    line = np.polynomial.Polynomial.fit(times[kept], values[kept], 1)
    ends = times[kept][[0, -1]]
    slope = float((line(ends[1]) - line(ends[0])) / (ends[1] - ends[0]))
    made.add(
        (ends, line(ends)), "drift", where, line={"color": INK, "width": 1.8, "dash": "dash"},
        hovertemplate=f"{run.name}<br>drift {slope:+.3g} meV/atom/ps<extra></extra>",
    )  # fmt: skip


PARTS = {"trans": "translation", "rot": "rotation", "vib": "vibration"}
"""Part of the motion -> its name."""


def equipartition(liquids: Liquids) -> go.Figure | None:
    """Return the temperature of translation, rotation and vibration of all molecules over that of all atoms."""
    rows = [(run, result) for run in liquids.runs for result in run.results("temperature") if _parts(result)]
    if not rows:
        return None
    rows = rows[:24]
    names = list(dict.fromkeys(run.name for run, _ in rows))[::-1]
    made = panels([""], 110 + 36 * len(names))
    for number, (part, title) in enumerate(PARTS.items()):
        points = [(run.name, *_parts(result)[part]) for run, result in rows if part in _parts(result)]
        made.add_scatter(
            x=[100 * ratio for _, ratio, _, _ in points], mode="markers", name=title,
            y=[names.index(name) + (1 - number) * 0.2 for name, _, _, _ in points],
            error_x={"type": "data", "array": [100 * error for _, _, error, _ in points], "thickness": 1.4, "width": 3},
            marker={"color": PALETTE[number], "symbol": SYMBOLS[number], "size": 9},
            text=[f"{name}<br>{title} {kelvin}" for name, _, _, kelvin in points],
            hovertemplate="%{text} (%{x:+.1f} %)<extra></extra>",
        )  # fmt: skip
    limits = [result.limit for _, result in rows if result.limit]
    if limits:
        made.add_vrect(x0=-min(limits), x1=min(limits), fillcolor=LINE, opacity=0.28, line_width=0, layer="below")
    made.add_vline(x=0, line={"color": MUTED, "width": 1.2})
    made.update_xaxes(title_text="temperature of the part, from that of all atoms", ticksuffix=" %")
    made.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[-0.6, len(names) - 0.4], showgrid=False)
    made.update_layout(margin={"t": 50, "l": 150, "b": 50}, legend={"y": 1.02, "yanchor": "bottom"})
    return made


def _parts(result: CheckResult) -> dict[str, tuple[float, float, str]]:
    """Return part -> relative deviation from the temperature of all atoms, its error, and both in kelvin."""
    numbers = result.numbers
    found = {name: (_number(numbers.get(name)), _number(numbers.get(f"{name}_error"))) for name in PARTS}
    known = {name: pair for name, pair in found.items() if pair[0] is not None}
    if not known:
        return {}
    everything = _everything(result, [value for value, _ in known.values() if value is not None])
    return {
        name: (value / everything - 1, (error or 0.0) / everything, f"{value:.0f} ± {error or 0.0:.0f} K")
        for name, (value, error) in known.items()
        if value is not None
    }


def _everything(result: CheckResult, parts: Sequence[float]) -> float:
    """Return the temperature of all atoms [K]: as the check printed it, else the mean of the parts."""
    words = result.reason.split()
    if words[:2] == ["All", "atoms"] and len(words) > 2 and words[2].replace(".", "", 1).isdigit():
        return max(float(words[2]), 1e-6)
    return max(sum(parts) / len(parts), 1e-6)


def _number(item: Any) -> float | None:
    return float(item) if isinstance(item, int | float) and np.isfinite(item) else None


__all__ = ("PARTS", "ROWS", "block_lines", "colours", "energy_drift", "equipartition", "over_time", "thin")
