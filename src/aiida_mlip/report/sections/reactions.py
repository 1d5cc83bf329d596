"""What the molecules became: when, by which reaction, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from aiida_mlip.report.electrolyte import Run
from aiida_mlip.report.lights import light_of
from aiida_mlip.report.reactions import MOST_EQUATIONS, SIDE, Book, Equation, time_line
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject
from aiida_mlip.science.liquids.findings import CheckResult


def collect(subject: Subject) -> Content:
    """Return the time line, the equations with drawings, the species and the rates."""
    liquids = subject.liquids
    if liquids is None:
        return {}
    rows = [_rate(run, result) for run in liquids.runs for result in run.results("molecules")]
    if not rows:
        return {}
    book = Book(liquids.runs)
    equations = book.equations(liquids.runs)
    kinds = book.kinds(liquids.runs)
    return {
        "rows": rows,
        "figure": time_line(liquids, book, equations),
        "equations": [_drawn(item, book) for item in equations[:MOST_EQUATIONS]],
        "more": max(len(equations) - MOST_EQUATIONS, 0),
        "kinds": [{"of": kind, "drawing": _svg(kind.drawing)} for kind in kinds],
    }


def _svg(text: str) -> Markup:
    return Markup(text)  # noqa: S704 - drawn by RDKit from a SMILES of ours


def _drawn(equation: Equation, book: Book) -> dict[str, Any]:
    def side(counted: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
        return [
            {"number": number, "name": book.name(key), "drawing": _svg(book.drawing(key))}
            for number, key in counted[:SIDE]
        ]

    return {"of": equation, "before": side(equation.before), "after": side(equation.after)}


def _rate(run: Run, result: CheckResult) -> dict[str, Any]:
    numbers = result.numbers
    first = numbers.get("first_time_fs")
    return {
        "run": run.name,
        "what": result.quantity.removeprefix("reactions of "),
        "light": light_of([result]),
        "events": result.value,
        "molecules": numbers.get("molecules"),
        "time": numbers.get("time_ps"),
        "first": first / 1000 if isinstance(first, int | float) else None,
        "rate": numbers.get("rate"),
        "low": numbers.get("rate_low"),
        "high": numbers.get("rate_high"),
        "unsettled": numbers.get("unsettled_changes"),
        "back": numbers.get("changes_that_went_back"),
    }


SECTION = Section("Reactions", collect)
