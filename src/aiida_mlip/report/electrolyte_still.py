"""The key figure of a look at liquids: what each check says, density over time, and the volume scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from aiida_mlip.report.electrolyte import Array, Liquids, Run
from aiida_mlip.report.lights import ORDER, SIGNS, title_of
from aiida_mlip.report.liquid_figures import ROWS, block_lines, colours, thin
from aiida_mlip.report.still import FORMATS, STYLE, dateless
from aiida_mlip.report.theme import GRID, INK, MUTED
from aiida_mlip.science.liquids.findings import Status, worst

WIDTH = 15
"""Letters of a line of a name above the lights."""

FILLS: Mapping[str, tuple[str, str]] = {
    "pass": ("#e3f3ee", "#00654e"), "fail": ("#fdebe2", "#a93409"), "inconclusive": ("#f1f3f6", "#4a5663"),
}  # fmt: skip
"""Status -> background and ink."""


def draw_liquids(liquids: Liquids, path: Path) -> Path:
    """Draw the lights of all checks, and density and volume scan where there are any.

    :param path: its suffix chooses the format.
    :raises ValueError: for another suffix than those of :data:`~aiida_mlip.report.still.FORMATS`.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"--figure {path.name}: the suffix {path.suffix!r} is not one of {', '.join(FORMATS)}")
    with mpl.rc_context({**STYLE, "font.sans-serif": ["DejaVu Sans"], "font.size": 8.5}):
        path.parent.mkdir(parents=True, exist_ok=True)
        _figure(liquids).savefig(path, dpi=200, facecolor="white", bbox_inches="tight", metadata=dateless(path))
    return path


def _figure(liquids: Liquids) -> Figure:
    rows = checks_of(liquids)
    runs = [run for run in liquids.telling() if ROWS[0].of(run) is not None]
    at_target = [run for run in runs if run.condition == runs[0].condition]
    scans = [tests for tests in liquids.forces.values() if tests.result.scans]
    panels = [1.6 + 1.15 * len(liquids.potentials), *([3.3] if at_target else []), *([3.3] if scans else [])]
    figure = Figure(figsize=(sum(panels) + 0.6, max(0.7 + 0.24 * len(rows), 2.9)), layout="constrained")
    axes = list(figure.subplots(1, len(panels), width_ratios=panels, squeeze=False)[0])
    _lights(axes.pop(0), rows, liquids.potentials)
    if at_target:
        _density(axes.pop(0), liquids, at_target)
    if scans:
        _scan(axes.pop(0), liquids)
    return figure


def checks_of(liquids: Liquids) -> list[tuple[str, list[Status | None]]]:
    """Return each check of stability with its worst answer for each potential; tests of forces in one line."""
    names = {
        result.check: None for run in liquids.runs for result in run.findings.checks if result.aspect == "stability"
    }
    order = sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    rows: list[tuple[str, list[Status | None]]] = []
    for name in order:
        found = [
            [result for run in liquids.of(potential) for result in run.results(name)]
            for potential in liquids.potentials
        ]
        rows.append((title_of(name), [worst(results) if results else None for results in found]))
    if liquids.forces:
        tests = [liquids.forces.get(potential) for potential in liquids.potentials]
        rows.append(("Tests of forces", [worst(item.result.checks) if item is not None else None for item in tests]))
    return rows


def _lights(axis: Any, rows: Sequence[tuple[str, Sequence[Status | None]]], potentials: Sequence[str]) -> None:
    for y, (_, statuses) in enumerate(rows):
        for x, status in enumerate(statuses):
            if status is None:
                continue
            fill, ink = FILLS[status]
            axis.add_patch(Rectangle((x - 0.47, y - 0.42), 0.94, 0.84, facecolor=fill, edgecolor="none"))
            axis.text(x, y, f"{SIGNS[status]} {status}", ha="center", va="center", color=ink, fontsize=7.5)
    axis.set(xlim=(-0.5, len(potentials) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axis.set_yticks(range(len(rows)), [title for title, _ in rows])
    names = ["\n".join(wrap(name.replace("_", " "), WIDTH)) or "answer" for name in potentials]
    axis.set_xticks(range(len(potentials)), names)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _density(axis: Any, liquids: Liquids, runs: Sequence[Run]) -> None:
    look = colours(liquids)
    for run in runs:
        found = ROWS[0].of(run)
        if found is None:
            continue
        x, y = block_lines(*found, run.equilibration)
        axis.plot(*thin(*found), color=look[run.potential], lw=0.9, alpha=0.45 if x else 1.0)
        gaps = [[np.nan if number is None else number for number in values] for values in (x, y)]
        axis.plot(*gaps, color=look[run.potential], lw=2.4)
    reference = liquids.reference_density(runs[0])
    if reference is not None:
        axis.axhline(reference, color=INK, lw=1.2, ls="--")
        axis.annotate("reference", (1, reference), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                      textcoords="offset points", ha="right", fontsize=7.5, color=INK)  # fmt: skip
    axis.set(title=f"Density\n{runs[0].condition.words}", xlabel="time [ps]", ylabel="g/cm³")
    axis.xaxis.set_major_locator(MaxNLocator(5))
    _keys(axis, {run.potential: look[run.potential] for run in runs})
    _finish(axis)


def _scan(axis: Any, liquids: Liquids) -> None:
    look, low, box = colours(liquids), 0.0, ""
    for name, tests in liquids.forces.items():
        if not tests.result.scans:
            continue
        box = box or tests.result.scans[0].name
        x, y = (tests.curves.get(f"scan_{box}_{key}") for key in ("density", "predicted"))
        if x is not None and y is not None:
            axis.plot(x, y, color=look[name], marker="o", ms=3.5, lw=1.6)
            low = min(low, _lowest(y))
    for tests in liquids.forces.values():
        x, y = (tests.curves.get(f"scan_{box}_{key}") for key in ("density", "true"))
        if x is not None and y is not None:
            axis.plot(x, y, color=INK, marker="o", ms=3, lw=1.4, ls="--")
            axis.plot([], [], color=INK, lw=1.4, ls="--", label="reference")
            low = min(low, _lowest(y))
            break
    depth = max(-low, 0.05)
    axis.set(ylim=(-1.2 * depth, 1.4 * depth), title=f"Volume scan\n{box}", xlabel="density [g/cm³]")
    axis.set_ylabel("eV/molecule")
    axis.axhline(0, color=MUTED, lw=0.8, ls=":")
    _keys(axis, {name: look[name] for name in liquids.forces})
    _finish(axis)


def _lowest(values: Array) -> float:
    return float(np.nanmin(values)) if np.isfinite(values).any() else 0.0


def _keys(axis: Any, names: Mapping[str, str]) -> None:
    for name, colour in names.items():
        if name:
            axis.plot([], [], color=colour, lw=2, label=name)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=7.5, loc="best")


def _finish(axis: Any) -> None:
    axis.grid(color=GRID, lw=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)
    axis.spines[["top", "right"]].set_visible(False)
