"""How the properties of potentials that follow each other change, step by step, as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from aiida import orm
from matplotlib.figure import Figure

from aiida_mlip.report.numbers import unit
from aiida_mlip.report.still import FORMATS, STYLE, dateless, mathtext
from aiida_mlip.report.theme import GRID, MUTED, styles

COLUMNS = 4
"""Panels in a row."""

_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P", "x": "X"}


@dataclass(frozen=True)
class Panel:
    """One quantity over the steps.

    :param label: of the quantity, with its unit.
    :param lines: element -> value of each step; None where there is none.
    :param references: element -> reference value, of those that have one.
    """

    label: str
    lines: Mapping[str, tuple[float | None, ...]]
    references: Mapping[str, float]


def draw_steps(node: orm.ProcessNode, path: Path, *, keys: Sequence[str]) -> Path:
    """Draw the quantities of a finished ``mlip.defects`` over its potentials, one line per element.

    The potentials are in the order of the summary, which is alphabetical: number their names.

    :param keys: keys of the quantities, one panel each; those that no potential has are left out.
    :raises ValueError: for a suffix that is not known, and where there is nothing to draw.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"{path.name}: the suffix {path.suffix!r} is not one of {', '.join(FORMATS)}")
    summary = node.outputs.summary.get_dict()
    shown = list(panels(summary, keys))
    if not shown:
        raise ValueError(f"process {node.pk} has none of the quantities {', '.join(keys)}")
    with mpl.rc_context(STYLE):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure = _figure(shown, list(summary["potentials"]), summary["elements"])
        figure.savefig(path, dpi=180, facecolor="white", bbox_inches="tight", metadata=dateless(path))
    return path


def panels(summary: Mapping[str, Any], keys: Sequence[str]) -> Iterator[Panel]:
    """Yield one panel for each key that any case has; where two properties have it, the first one counts.

    :param summary: of ``mlip.defects``.
    """
    values: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for name, cases in summary["cases"].items():
        for element, case in cases.items():
            for record in case["records"].values():
                for item in record["quantities"]:
                    values.setdefault((name, element, item["key"]), item)
    for key in keys:
        found = [item for (_, _, known), item in values.items() if known == key]
        if not found:
            continue
        lines = {
            element: tuple(
                values[name, element, key]["value"] if (name, element, key) in values else None
                for name in summary["potentials"]
            )
            for element in summary["elements"]
        }
        references = {
            element: known["values"][key]["value"]
            for element, known in summary["reference"].items()
            if key in known["values"]
        }
        yield Panel(f"{found[0]['label']} [{unit(found[0]['unit'])}]", lines, references)


def _figure(shown: Sequence[Panel], names: Sequence[str], elements: Sequence[str]) -> Figure:
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(3.1 * min(COLUMNS, len(shown)), 2.3 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, min(COLUMNS, len(shown)), squeeze=False, sharex=True)
    look = styles(elements)
    for axis, panel in zip(axes.flat, shown, strict=False):
        _draw(axis, panel, look)
    for position, axis in enumerate(axes.flat):
        axis.set_visible(position < len(shown))
        if position + COLUMNS >= len(shown):
            axis.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], rotation=55, ha="right")
            axis.tick_params(axis="x", labelbottom=True)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2 * len(elements), frameon=False)
    return figure


def _draw(axis: Any, panel: Panel, look: Mapping[str, tuple[str, str]]) -> None:
    for element, values in panel.lines.items():
        colour, symbol = look[element]
        points = [(step, value) for step, value in enumerate(values) if value is not None]
        if points:
            marker = _MARKERS.get(symbol, "o")
            axis.plot(*zip(*points, strict=True), color=colour, marker=marker, ms=4.5, lw=1.6, label=element)
        if element in panel.references:
            axis.axhline(panel.references[element], color=colour, lw=1.2, ls=(0, (4, 3)), label=f"{element}, DFT")
    axis.set_title(mathtext(panel.label), loc="left")
    axis.grid(axis="y", color=GRID, lw=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(length=0, colors=MUTED)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(y=0.12)
