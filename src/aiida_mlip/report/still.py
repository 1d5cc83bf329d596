"""The key figure as a picture, for a README or a talk: errors by configuration type, and properties beside DFT."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
from aiida import orm
from matplotlib.figure import Figure

from aiida_mlip.report.compare import ErrorSet, error_sets
from aiida_mlip.report.figures import log_axis
from aiida_mlip.report.measured import before_after
from aiida_mlip.report.numbers import QUANTITIES, deviation
from aiida_mlip.report.subject import Subject
from aiida_mlip.report.theme import AFTER, BEFORE, BETTER, GRID, INK, LINE, MUTED, WORSE

FORMATS = (".png", ".svg", ".pdf")

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "svg.fonttype": "none",
    "svg.hashsalt": "aiida-mlip",
}


OPEN = {"facecolor": "white", "edgecolor": BEFORE, "linewidth": 1.6}
FILLED = {"facecolor": AFTER, "edgecolor": AFTER}


def draw_errors(node: orm.ProcessNode, path: Path) -> Path:
    """Draw the errors before and after by configuration type and, where there are any, properties against DFT.

    :raises ValueError: for another suffix than those of :data:`FORMATS`, and where there are no errors.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"--figure {path.name}: the suffix {path.suffix!r} is not one of {', '.join(FORMATS)}")
    subject = Subject(node)
    sets = error_sets(subject)
    if not sets:
        raise ValueError(f"process {node.pk} has no errors to draw: it has not come that far, or is of another kind")
    measured = subject.measured if subject.properties else None
    rows = [row for row in before_after(measured) if row["reference"]] if measured is not None else []
    with mpl.rc_context(STYLE):
        path.parent.mkdir(parents=True, exist_ok=True)
        _figure(sets[0], rows).savefig(path, dpi=200, facecolor="white", bbox_inches="tight", metadata=dateless(path))
    return path


def dateless(path: Path) -> dict[str, None]:
    """Return metadata without a date, so that the same nodes give the same file."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {})


def _figure(errors: ErrorSet, rows: list[dict[str, Any]]) -> Figure:
    keys = errors.quantities
    names = [*[row.name for row in errors.types], "all"]
    columns = len(keys) + bool(rows)
    figure = Figure(figsize=(1.6 + 2.5 * columns, 1.5 + 0.27 * len(names)), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for position, key in enumerate(keys):
        _errors(axes[position], errors, key, names if position == 0 else None)
    if rows:
        _properties(axes[-1], rows)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=2, frameon=False)
    return figure


def _errors(axis: Any, errors: ErrorSet, key: str, names: list[str] | None) -> None:
    item, cells = QUANTITIES[key], [row.cells["rmse"][key] for row in (*errors.types, errors.total)]
    for y, cell in enumerate(cells):
        if cell.before and cell.after:
            colour = {"better": BETTER, "worse": WORSE}.get(cell.verdict, LINE)
            axis.plot([cell.before * item.factor, cell.after * item.factor], [y, y], color=colour, lw=2, zorder=2)
    for label, values, look in (
        ("before", [cell.before for cell in cells], OPEN),
        ("after" if errors.compared else "error", [cell.after for cell in cells], FILLED),
    ):
        shown = [(value * item.factor, y) for y, value in enumerate(values) if value]
        if shown:
            axis.scatter(*zip(*shown, strict=True), s=38, zorder=3, label=label, **look)
    ticks = log_axis(value * item.factor for cell in cells for value in (cell.before, cell.after) if value)
    axis.set(xscale="log", title=f"{item.title}, rms error [{item.unit}]", ylim=(len(cells) - 0.4, -0.6))
    axis.set_yticks(range(len(cells)), names or [""] * len(cells))
    if "range" in ticks:
        low, high = (10**end for end in ticks["range"])
        inside = [tick for tick in ticks["tickvals"] if low <= tick <= high]
        axis.set_xlim(low, high)
        axis.set_xticks(inside, [f"{tick:g}" for tick in inside])
        axis.set_xticks([], minor=True)
    _plain(axis)


def _properties(axis: Any, rows: list[dict[str, Any]]) -> None:
    for y, row in enumerate(rows):
        before, after = (deviation(row[which], row["reference"]) for which in ("before", "after"))
        if before is not None and after is not None:
            colour = BETTER if abs(after) < abs(before) else WORSE
            axis.plot([before, after], [y, y], color=colour, lw=2, zorder=2)
        for value, look in ((before, OPEN), (after, FILLED)):
            if value is not None:
                axis.scatter([value], [y], s=38, zorder=3, **look)
    axis.axvline(0, color=INK, lw=1, zorder=1)
    axis.set(title="Deviation from DFT [%]", ylim=(len(rows) - 0.4, -0.6))
    axis.set_yticks(range(len(rows)), [mathtext(row["label"]) for row in rows])
    axis.margins(x=0.12)
    _plain(axis)


def _plain(axis: Any) -> None:
    axis.grid(axis="x", which="both", color=GRID, lw=0.6, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(length=0, which="both")
    axis.spines[["top", "right", "left"]].set_visible(False)


def mathtext(label: str) -> str:
    """Return a label of a property with sub-scripts, as matplotlib sets them."""
    return re.sub(r"\b([CEγ])_?(\d\d|(?<=_)\w+)\b", r"$\\mathrm{\1_{\2}}$", label)
