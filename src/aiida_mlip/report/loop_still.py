"""The key figure of an iterative training: errors, survival of the dynamics and labels by generation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from aiida_mlip.report.figures import log_axis
from aiida_mlip.report.loop import Generation, Loop
from aiida_mlip.report.loop_figures import FRAMES
from aiida_mlip.report.numbers import QUANTITIES
from aiida_mlip.report.still import FORMATS, STYLE, dateless
from aiida_mlip.report.theme import AFTER, BEFORE, GRID, MUTED

KEYS = ("forces", "energy")
"""Errors that have a panel."""

MOST_TICKS = 6
"""Of a logarithmic axis that spans little."""


def draw_loop(loop: Loop, path: Path) -> Path:
    """Draw errors on the hold-out set, survival and what the frames were, over the generations.

    :param path: its suffix chooses the format.
    :raises ValueError: for another suffix than those of :data:`~aiida_mlip.report.still.FORMATS`.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"--figure {path.name}: the suffix {path.suffix!r} is not one of {', '.join(FORMATS)}")
    with mpl.rc_context(STYLE):
        path.parent.mkdir(parents=True, exist_ok=True)
        _figure(loop).savefig(path, dpi=200, facecolor="white", bbox_inches="tight", metadata=dateless(path))
    return path


def _figure(loop: Loop) -> Figure:
    keys = [key for key in KEYS if any(item.error(key) is not None for item in loop.generations)]
    lived = [item for item in loop.generations if item.record.survival]
    looked = [item for item in loop.generations if item.record.selection is not None]
    columns = len(keys) + bool(lived) + bool(looked)
    figure = Figure(figsize=(0.6 + 2.6 * max(columns, 1), 2.7), layout="constrained")
    axes = list(figure.subplots(1, max(columns, 1), squeeze=False)[0])
    for key in keys:
        _errors(axes.pop(0), loop.measured, key)
    if lived:
        _survival(axes.pop(0), lived)
    if looked:
        _frames(axes.pop(0), looked)
    for axis in figure.axes:
        _finish(axis, [item.number for item in loop.generations])
    return figure


def _errors(axis: Any, shown: Sequence[Generation], key: str) -> None:
    item = QUANTITIES[key]
    values = []
    for generation in shown:
        members = [generation.error(key, name) for name in generation.members]
        numbers = [number * item.factor for number in members if number is not None]
        if len(numbers) > 1:
            axis.scatter([generation.number] * len(numbers), numbers, s=22, facecolor="white", edgecolor=BEFORE, lw=1.3)
            values += numbers
    line = [(g.number, number * item.factor) for g in shown if (number := g.error(key)) is not None]
    axis.plot(*zip(*line, strict=True), color=AFTER, marker="o", ms=6, lw=2, zorder=3)
    ticks = log_axis([*values, *(number for _, number in line)])
    axis.set(yscale="log", title=f"{item.title} error [{item.unit}]")
    if "range" in ticks:
        low, high = (10**end for end in ticks["range"])
        inside = [tick for tick in ticks["tickvals"] if low <= tick <= high]
        inside = inside[:: -(-len(inside) // MOST_TICKS)]
        axis.set_ylim(low, high)
        axis.set_yticks(inside, [f"{tick:g}" for tick in inside])
        axis.set_yticks([], minor=True)


def _survival(axis: Any, shown: Sequence[Generation]) -> None:
    shares = [100 * (item.survived_share or 0.0) for item in shown]
    axis.plot([item.number for item in shown], shares, color=AFTER, marker="o", ms=6, lw=2)
    for item, share in zip(shown, shares, strict=True):
        done, number = item.survived
        place = (0, 7) if share < 85 else (0, -14)
        axis.annotate(f"{done}/{number}", (item.number, share), xytext=place, textcoords="offset points",
                      ha="center", fontsize=8, color=MUTED)  # fmt: skip
    axis.set(title="MD survival [% of the time]", ylim=(-4, 108))


def _frames(axis: Any, shown: Sequence[Generation]) -> None:
    bottom = [0.0] * len(shown)
    for key, (title, colour) in FRAMES.items():
        parts = [
            100 * getattr(item.record.selection, key) / max(item.record.selection.frames, 1)
            for item in shown
            if item.record.selection is not None
        ]
        if any(parts):
            numbers = [item.number for item in shown]
            axis.bar(
                numbers, parts, 0.55, bottom=bottom, color=colour, label=title.replace(" by a geometry filter", "")
            )
            bottom = [low + part for low, part in zip(bottom, parts, strict=True)]
    axis.set(title="Frames of the MD [%]", ylim=(0, 104))
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0)


def _finish(axis: Any, numbers: Sequence[int]) -> None:
    axis.set_xticks(list(numbers))
    axis.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)
    axis.set_xlabel("generation")
    axis.grid(axis="y", color=GRID, lw=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(length=0, which="both")
    axis.spines[["top", "right"]].set_visible(False)
