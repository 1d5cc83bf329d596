"""The verdicts on potentials as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from aiida_mlip.report.electrolyte import Condition, Liquids
from aiida_mlip.report.lights import SIGNS, Light, answers, table_of, title_of
from aiida_mlip.science.liquids.findings import Status, worst

COLOURS: dict[str, str] = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


def liquid_tables(liquids: Liquids) -> Iterator[Table]:
    """Yield conditions by potentials, and what failed in words."""
    yield from _conditions(liquids)
    failed = answers(liquids.runs, lambda result: result.status == "fail" and result.aspect == "stability")
    if failed:
        table = Table(title="What failed", title_justify="left")
        for heading in ("potential", "condition", "check", "what it says"):
            table.add_column(heading)
        for item in failed:
            table.add_row(item.potential, item.where, title_of(item.result.check), item.light.reason)
        yield table


def _conditions(liquids: Liquids) -> Iterator[Table]:
    """Yield one table: a row for each condition, a column for each potential."""
    names = [name for name in liquids.potentials if liquids.of(name) or name in liquids.verdicts]
    if not names:
        return
    table = Table(title="Stability", title_justify="left")
    table.add_column("condition")
    for name in names:
        table.add_column(name or "answer")
    cells: dict[Condition, dict[str, str]] = {}
    for name in names:
        lights = table_of(liquids.of(name), liquids.verdicts.get(name))
        if lights is None:
            continue
        for condition, total in zip(lights.conditions, lights.totals, strict=True):
            cells.setdefault(condition, {})[name] = (
                _cell(total) if total is not None else _own(liquids, name, condition)
            )
    for condition in sorted(cells, key=lambda item: item.rank):
        table.add_row(condition.words, *[cells[condition].get(name, "") for name in names])
    tests = {name: item.result.checks for name, item in liquids.forces.items()}
    if tests:
        table.add_row("tests of forces", *[_word(worst(tests[name])) if name in tests else "" for name in names])
    if liquids.verdicts:
        told = [liquids.verdicts[name].answer if name in liquids.verdicts else "" for name in names]
        table.add_row("verdict", *[f"{SIGNS[text]} {text}" if text else "" for text in told], style="bold")
    yield table


def _own(liquids: Liquids, name: str, condition: Condition) -> str:
    """Return what the checks of a condition say together, where there is no verdict yet."""
    found = [result for run in liquids.of(name) if run.condition == condition for result in run.findings.checks]
    return _word(worst(found))


def _word(status: Status) -> str:
    return f"[{COLOURS[status]}]{SIGNS[status]} {status}[/{COLOURS[status]}]"


def _cell(light: Light) -> str:
    return f"{_word(light.status)}\n{light.number or light.reason}"
