"""Processes as text: one line each, with bar, errors and time left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aiida_mlip.provenance.cases import cases_text
from aiida_mlip.provenance.estimate import time_left
from aiida_mlip.provenance.generations import labels_text, loop_text
from aiida_mlip.provenance.status import State
from aiida_mlip.schema.job import Progress
from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA


class Metric(NamedTuple):
    """How a number of a progress line is printed."""

    label: str
    factor: float
    unit: str


METRICS: Mapping[str, Metric] = {
    "loss": Metric("loss", 1.0, ""),
    "rmse_energy": Metric("E", 1e3, "meV/atom"),
    "rmse_forces": Metric("F", 1e3, "meV/Å"),
    "rmse_stress": Metric("σ", EV_PER_ANGSTROM3_IN_GPA, "GPa"),
}
"""Number of a training on its validation set -> how it is printed; they come in eV/atom, eV/Å and eV/Å^3."""

HIDDEN = ("train_loss", "mae_energy", "mae_forces", "mae_stress")
"""Ends of the names of numbers that are left out of the line."""

BAR = 12

DESCRIPTIONS: tuple[Callable[[State], str], ...] = (cases_text, loop_text, labels_text)
"""What work chains of some kinds say of themselves; an empty text where it is another kind."""


def progress_text(progress: Progress) -> str:
    """Return e.g. ``training 12/40 · loss 0.031 · E 4.2 meV/atom · F 61 meV/Å``."""
    parts = [f"{progress.stage} {progress.step}/{progress.total}" if progress.total else progress.stage]
    for name, value in progress.metrics.items():
        if not name.endswith(HIDDEN):
            parts.append(_metric(name, value))
    return " · ".join(part for part in parts if part)


def _metric(name: str, value: float) -> str:
    """Return one number; of several heads, each has its name in front."""
    known = next((known for known in METRICS if name.endswith(known)), name)
    label, factor, unit = METRICS.get(known, Metric(known, 1.0, ""))
    head = name.removesuffix(known).rstrip("_")
    return f"{f'{head} ' if head else ''}{label} {value * factor:.3g} {unit}".rstrip()


def duration(seconds: float) -> str:
    """Return e.g. ``2 h 05 min``, ``3 min 20 s`` or ``41 s``."""
    whole = max(round(seconds), 0)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {secs:02d} s" if minutes else f"{secs} s"


def clock(seconds: float) -> str:
    """Return a duration as a clock shows it: ``0:41``, ``3:20``, ``2:05:00``."""
    hours, rest = divmod(max(round(seconds), 0), 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def outcome(state: State) -> str:
    """Return how a process ended, in words."""
    if state.active:
        return state.detail or state.state
    if state.state != "finished":
        return f"{state.state}: {state.exit_message}".rstrip(": ")
    return f"exit code {state.exit_status}: {state.exit_message}" if state.exit_status else "finished"


def table(states: Sequence[State], *, done: bool = True) -> RenderableType:
    """Return a table of processes, each followed by what it called.

    :param done: also list the parts that have ended.
    """
    grid = Table(box=None, pad_edge=False, show_header=True, header_style="dim", padding=(0, 2, 0, 0), expand=False)
    for heading in ("process", "state", "progress", "time", "left"):
        grid.add_column(heading, no_wrap=heading != "progress", overflow="fold")
    for state in states:
        _rows(grid, state, 0, done)
    return grid


def _rows(grid: Table, state: State, depth: int, done: bool) -> None:
    if depth and not done and not state.active:
        return
    left = time_left(state) if state.active else None
    name = f"{'  ' * depth}{escape(state.step or state.name)} [dim]{state.pk}[/]"
    grid.add_row(
        name,
        _state_text(state),
        _progress(state),
        Text(clock(state.elapsed), style="dim"),
        Text(f"~{clock(left)}") if left else Text(""),
    )
    for child in state.children:
        _rows(grid, child, depth + 1, done)


def _state_text(state: State) -> Text:
    if state.failed:  # the message has a column, and the width, of its own
        return Text(f"exit code {state.exit_status}" if state.exit_status else state.state, style="red")
    if not state.active:
        return Text("finished", style="green")
    return Text(state.detail or state.state, style="cyan" if state.children or state.progress else "dim")


def _progress(state: State) -> RenderableType:
    if state.failed:
        return Text(state.exit_message, style="red")
    if state.progress is None:
        label = "" if state.label == state.step else state.label
        found = (describe(state) for describe in DESCRIPTIONS)
        return Text(next((text for text in found if text), label), style="dim")
    line = progress_text(state.progress).replace(" · ", "\n", 1)
    if not state.progress.total:
        return Text(line)
    filled = round(BAR * min(state.progress.step / state.progress.total, 1.0))
    return Text.assemble(("━" * filled, "cyan"), ("─" * (BAR - filled), "dim"), f" {line}")


def _ended(state: State) -> RenderableType:
    """Return a line for a process that ended, and below it the message of its exit code."""
    head = Text.assemble(
        state.name, (f" {state.pk}", "dim"), "  ", _state_text(state), (f"  {duration(state.elapsed)}", "dim")
    )
    if state.label:
        head.append(f"  {state.label}", "dim")
    return Group(head, Padding(Text(state.exit_message, style="red"), (0, 0, 0, 4))) if state.exit_message else head


def overview(active: Sequence[State], ended: Sequence[State]) -> RenderableType:
    """Return what runs, then what has ended recently."""
    parts: list[RenderableType] = []
    if active:
        parts += [Text("running", style="bold"), table(active, done=False)]
    else:
        parts.append(Text("nothing is running", style="bold"))
    if ended:
        parts += [Text(""), Text("ended recently", style="bold"), *(_ended(state) for state in ended)]
    return Group(*parts)
