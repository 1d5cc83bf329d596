"""An iterative training as a table for a terminal: one line for each generation."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from aiida_mlip.report.loop import Generation, Loop, saving
from aiida_mlip.report.loop_words import ended
from aiida_mlip.report.numbers import QUANTITIES, core_hours, duration, error


def loop_tables(loop: Loop) -> Iterator[Table]:
    """Yield the table of generations, and what the loop cost."""
    yield _generations(loop)
    yield _cost(loop)


def _generations(loop: Loop) -> Table:
    title = f"Iterative training: {ended(loop)}, {loop.history.labels_used} labels used"
    table = Table(title=title, title_justify="left")
    keys = [key for key in QUANTITIES if any(item.error(key) is not None for item in loop.generations)]
    headings = ["generation", "training\nframes"]
    headings += [f"{QUANTITIES[key].title.lower()}\n({QUANTITIES[key].unit})" for key in keys]
    headings += ["accurate", "candi-\ndate", "failed", "labels", "walkers\nto the end", "survival"]
    for heading in headings:
        table.add_column(heading, justify="right")
    for item in loop.generations:
        errors = [error(item.error(key), key) for key in keys]
        table.add_row(str(item.number), str(item.record.frames.get("training", "")), *errors, *_counts(item))
    return table


def _counts(item: Generation) -> list[str]:
    counts, report, (done, walkers) = item.record.selection, item.labels, item.survived
    texts = [str(getattr(counts, key)) if counts is not None else "" for key in ("accurate", "candidate", "failed")]
    texts.append(f"{report.labelled} of {report.asked}" if report is not None else "")
    share = item.survived_share
    return [*texts, f"{done} of {walkers}" if walkers else "", "" if share is None else f"{100 * share:.0f} %"]


def _cost(loop: Loop) -> Table:
    table = Table(title="Cost", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    totals: dict[str, float] = {}
    for item in loop.generations:
        for key, number in item.record.cost.items():
            totals[key] = totals.get(key, 0.0) + number
    calls = totals.pop("force_calls", 0.0)
    totals.pop("label_core_seconds", None)
    for key, seconds in totals.items():
        table.add_row(f"{key.replace('md', 'molecular dynamics')}, wall time", duration(seconds))
    table.add_row("force calls", f"{calls:,.0f}")
    table.add_row("labels, core time", core_hours(sum(report.core_seconds for _, report in loop.label_reports)))
    found = saving(loop)
    if found is not None and found.core_seconds is not None:
        table.add_row("labels of all other frames (estimate)", core_hours(found.core_seconds))
    return table
