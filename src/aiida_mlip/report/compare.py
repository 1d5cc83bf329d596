"""Errors before and after as rows of a table, whatever process they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiida_mlip.report.numbers import QUANTITIES, change
from aiida_mlip.report.subject import BASELINE, Subject, results

METRICS: Mapping[str, str] = {"rmse": "root mean square", "mae": "mean absolute", "max": "largest"}

SET_TITLES: Mapping[str, str] = {
    "test": "test set (never seen in training)",
    "holdout": "hold-out set (never seen in training)",
    "validation": "validation set (chose the epoch)",
    "valid": "validation set (chose the epoch)",
    "training": "training set",
    "train": "training set",
    "forgetting": "crystals of other elements",
    "replay_valid": "replay data, validation",
}

ORDER = ("test", "holdout", "validation", "valid", "training", "train")
"""Sets that come first, in this order."""

HIDDEN = ("forgetting",)
"""Sets without labels."""

SAME = 0.02
"""Relative change below which an error is called unchanged."""


@dataclass(frozen=True)
class Cell:
    """One error before and after, in the unit of the error tables; None where there is none."""

    before: float | None
    after: float | None

    @property
    def change(self) -> float | None:
        """Return after / before - 1."""
        return change(self.before, self.after)

    @property
    def verdict(self) -> str:
        """Return ``better``, ``worse``, ``same``, or nothing where it cannot be told."""
        if self.change is None:
            return ""
        return "same" if abs(self.change) < SAME else "better" if self.change < 0 else "worse"


@dataclass(frozen=True)
class Row:
    """Errors of one configuration type or element; ``cells``: metric -> quantity -> cell."""

    name: str
    frames: int
    cells: Mapping[str, Mapping[str, Cell]]


@dataclass(frozen=True)
class ErrorSet:
    """Errors on one data set."""

    name: str
    total: Row
    types: tuple[Row, ...]
    elements: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Return the name a reader knows it by."""
        return SET_TITLES.get(self.name, f"{self.name} set")

    @property
    def quantities(self) -> tuple[str, ...]:
        """Return the kinds of labels that have errors."""
        return tuple(key for key in QUANTITIES if self.total.cells["rmse"][key].after is not None)

    @property
    def compared(self) -> bool:
        """Return whether there is a before."""
        return any(cell.before is not None for cell in self.total.cells["rmse"].values())


def error_sets(subject: Subject, member: str | None = None) -> tuple[ErrorSet, ...]:
    """Return the errors of a process on each of its labelled sets, the test set first.

    :param member: the member that is "after"; None: the one that counts.
    """
    before, after = _tables(subject, member or subject.best)
    names = sorted(after, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    return tuple(
        error_set(name, before.get(name), after[name])
        for name in names
        if name not in HIDDEN and any(key in after[name]["all"] for key in QUANTITIES)
    )


def _tables(subject: Subject, member: str | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return set -> error table, before and after; before the end of a fine-tuning, the baseline is all there is."""
    if not subject.evaluations:
        return {}, results(subject.trainings.get(member or "")).get("errors", {})
    before = results(subject.evaluations.get(BASELINE)).get("errors", {})
    after = results(subject.evaluations.get(member or "")).get("errors", {})
    return (before, after) if after else ({}, before)


def between(subject: Subject) -> tuple[str, str] | None:
    """Return the names of before and after, where these are two generations of a loop."""
    if subject.loop is None or BASELINE not in subject.evaluations:
        return None
    best, measured = (subject.best or "").replace("_", " "), subject.loop.measured
    return f"{best} of {measured[0].title}", f"{best} of {measured[-1].title}"


def error_set(name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> ErrorSet:
    """Return the errors of two tables of :func:`aiida_mlip.science.errors.error_table` side by side."""
    before = before or {}
    return ErrorSet(
        name=name,
        total=_row("all", before.get("all", {}), after["all"]),
        types=tuple(_rows(before.get("config_types", {}), after["config_types"])),
        elements=tuple(_rows(before.get("elements", {}), after["elements"])),
    )


def _rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Row]:
    for name, cell in sorted(after.items()):
        yield _row(name, before.get(name, {}), cell)


def _row(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Row:
    cells = {
        metric: {key: Cell(before.get(key, {}).get(metric), after.get(key, {}).get(metric)) for key in QUANTITIES}
        for metric in METRICS
    }
    return Row(name, int(after.get("frames", 0)), cells)
