"""The outcome of a process as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from rich.console import Console
from rich.table import Table

from aiida_mlip.report.defects_text import property_tables
from aiida_mlip.report.electrolyte_text import liquid_tables
from aiida_mlip.report.loop_text import loop_tables
from aiida_mlip.report.measured import Measured
from aiida_mlip.report.subject import Subject

FINETUNE = "mlip.finetune"

_SCALE = {"energy": (1e3, "meV/atom"), "forces": (1e3, "meV/Å"), "stress": (160.21766208, "GPa")}
"""Quantity -> factor from eV and Å, and the unit that is printed."""


def print_summary(node: orm.ProcessNode, console: Console) -> None:
    """Print what came out of a process, as far as it has numbers: errors, generations, verdicts, or properties."""
    subject = Subject(node)
    tables: Iterator[Table]
    if subject.loop is not None:
        tables = loop_tables(subject.loop)
    elif subject.liquids is not None:
        tables = liquid_tables(subject.liquids)
    elif subject.kind != FINETUNE:
        tables = property_tables(subject.measured) if subject.measured is not None else iter(())
    else:
        tables = summary_tables(subject.summary, subject.measured) if subject.summary else iter(())
    for table in tables:
        console.print(table)


def summary_tables(summary: Mapping[str, Any], measured: Measured | None) -> Iterator[Table]:
    """Yield the tables of a fine-tuning: test errors, properties before and after, forgetting."""
    name = "test" if "test" in summary["errors"] else next(iter(summary["errors"]))
    yield _error_table(summary["errors"][name], f"Held-out errors on {name} (root mean square), before -> after")
    if measured is not None:
        yield from property_tables(measured)
    if summary["best"] in summary["forgetting"]:
        yield _forgetting_table(summary["forgetting"][summary["best"]])


def _error_table(rows: list[Mapping[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("configuration type")
    table.add_column("frames", justify="right")
    quantities = [quantity for quantity in _SCALE if any(row["quantity"] == quantity for row in rows)]
    for quantity in quantities:
        table.add_column(f"{quantity}\n({_SCALE[quantity][1]})", justify="right")
    for name in dict.fromkeys(row["config_type"] for row in rows):
        cells = {row["quantity"]: row for row in rows if row["config_type"] == name}
        frames = str(next(iter(cells.values()))["frames"])
        texts = [_change(cells.get(quantity), _SCALE[quantity][0]) for quantity in quantities]
        table.add_row(name, frames, *texts, style="bold" if name == "all" else "")
    return table


def _change(row: Mapping[str, Any] | None, factor: float) -> str:
    if row is None:
        return ""
    worse = row["after"] > row["before"]
    text = f"{row['before'] * factor:.1f} -> {row['after'] * factor:.1f}"
    return f"[red]{text}[/red]" if worse else text


def _forgetting_table(drift: Mapping[str, Any]) -> Table:
    table = Table(title="What moved on other elements, from the foundation model", title_justify="left")
    for heading in ("crystals", "frames", "energy\n(meV/atom)", "forces\n(meV/Å)"):
        table.add_column(heading, justify="left" if heading == "crystals" else "right")
    for name, cell in {"all": drift["all"], **drift["families"]}.items():
        energy, forces = (f"{cell[key] * 1e3:.1f}" for key in ("energy_rmse", "forces_rmse"))
        table.add_row(name, str(cell["frames"]), energy, forces, style="bold" if name == "all" else "")
    return table
