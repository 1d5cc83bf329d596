"""What came out, in one sentence and a few numbers; or why nothing did."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm

from aiida_mlip.provenance.estimate import time_left
from aiida_mlip.provenance.show import outcome, progress_text
from aiida_mlip.provenance.status import State, state_of
from aiida_mlip.report.compare import ErrorSet, error_sets
from aiida_mlip.report.gather import DEFECTS
from aiida_mlip.report.measured import before_after
from aiida_mlip.report.numbers import QUANTITIES, change, deviation, duration, error, percent, significant
from aiida_mlip.report.remedies import remedy
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.stories import STORIES
from aiida_mlip.report.subject import Subject
from aiida_mlip.report.verdict import overall

WORSE = 700
"""Exit code of a fine-tuning that made something worse."""

WARNINGS = range(700, 800)
"""Exit codes of processes whose result can be used."""

LOG_LINES = 12

HEADLINE = 300
"""Letters of the headline."""

Distance = tuple[int, float, float]
"""Number of properties, and their mean deviation from the reference [%] before and after."""


def collect(subject: Subject) -> Content:
    """Return state, verdict, key numbers and, where it went wrong, the steps that failed."""
    state = state_of(subject.node)
    sets, distance = error_sets(subject), _distance(subject)
    level, story = _level(state), STORIES.get(subject.kind)
    cards = list(_cards(subject, sets, distance)) if sets else []
    sentences = list(_sentences(subject, sets, distance)) if state.exit_status in (0, *WARNINGS) else []
    return {
        "level": level,
        "headline": _headline(subject, state, level),
        "sentences": sentences if story is None else list(story.sentences(subject)),
        "cards": cards if story is None else list(story.cards(subject)),
        "failures": list(_failures(state)) if level == "error" else [],
        "worse": [_readable(text) for text in subject.summary.get("verdict", {}).get("worse", [])],
        "remedy": remedy(state.name, state.exit_status) if level in ("error", "warning") else "",
        "running": list(_running(state)) if state.active else [],
        "left": time_left(state) if state.active else None,
        "log": _log(subject.node) if level == "error" else [],
    }


def _level(state: State) -> str:
    if state.active:
        return "running"
    if state.failed:
        return "warning" if state.exit_status in WARNINGS else "error"
    return "good"


def _headline(subject: Subject, state: State, level: str) -> str:
    if level == "running":
        return f"Still {state.state}, for {duration(state.elapsed)}. What is there so far is below."
    if level == "good":
        return "" if subject.kind == "mlip.finetune" else f"Finished in {duration(state.elapsed)}."
    worse = subject.summary.get("verdict", {}).get("worse", [])
    if state.exit_status == WORSE and worse:
        places = "1 place" if len(worse) == 1 else f"{len(worse)} places"
        return f"Finished with exit code {WORSE}: worse than the foundation model in {places}."
    text = outcome(state)
    return _shortened(text[0].upper() + text[1:])


def _shortened(text: str) -> str:
    """Return a headline without the last of many reasons, which the sections below give."""
    if len(text) <= HEADLINE:
        return text
    if "; " in text[:HEADLINE]:
        return text[: text.rfind("; ", 0, HEADLINE)].rstrip() + "; … (see below)"
    return text[:HEADLINE].rpartition(" ")[0] + " … (see below)"


_ROW = re.compile(r"(?P<name>.+): (?P<key>\w+) (?P<before>\S+) -> (?P<after>\S+) \S+$")


def _readable(text: str) -> str:
    """Return a line of :func:`aiida_mlip.science.comparison.describe_row` in the units of this report."""
    found = _ROW.match(text)
    if found is None or found["key"] not in QUANTITIES:
        return text
    item, before, after = QUANTITIES[found["key"]], float(found["before"]), float(found["after"])
    numbers = f"{error(before, item.key)} → {error(after, item.key)} {item.unit}"
    return f"{found['name']}: {item.title.lower()} {numbers} ({percent(change(before, after))})"


def _sentences(subject: Subject, sets: tuple[ErrorSet, ...], distance: Distance | None) -> Iterator[str]:
    """Yield the verdict on a fine-tuning, or on each potential of an evaluation of defects, in words."""
    if subject.kind == DEFECTS and subject.measured is not None:
        yield from overall(subject.measured)
    if subject.kind != "mlip.finetune" or not sets:
        return
    errors = sets[0]
    name = subject.foundation.label if subject.foundation is not None else ""
    where = f"{errors.total.frames} {'unseen ' if errors.name == 'test' else ''}{subject.element} configurations"
    parts = [_moved(errors, key) for key in errors.quantities]
    yield f"Fine-tuning {name or 'the foundation model'} {_verb(errors)} the errors on {where}: {'; '.join(parts)}."
    if subject.summary.get("verdict", {}).get("worse") == []:
        yield "No configuration type became worse than the limits accept."
    if distance:
        number, before, after = distance
        yield (
            f"The mean deviation of {number} properties from DFT went from {significant(before, 2)} % to "
            f"{significant(after, 2)} %."
        )
    drift = subject.summary.get("forgetting", {}).get(subject.best or "", {}).get("all")
    if drift:
        yield (
            f"On crystals of other elements, forces moved by {significant(drift['forces_rmse'] * 1e3)} meV/Å from "
            f"the foundation model's{_relative(drift)}."
        )


def _distance(subject: Subject) -> Distance | None:
    """Return the number of properties with a reference, and their mean deviation from it [%] before and after."""
    measured = subject.measured if subject.properties else None
    rows = before_after(measured) if measured is not None else []
    pairs = [
        (abs(deviation(row["before"], row["reference"]) or 0.0), abs(deviation(row["after"], row["reference"]) or 0.0))
        for row in rows
        if row["reference"] and not row["again"] and row["before"] is not None and row["after"] is not None
    ]
    if not pairs:
        return None
    before, after = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    return len(pairs), before, after


def _verb(errors: ErrorSet) -> str:
    verdicts = {errors.total.cells["rmse"][key].verdict for key in errors.quantities}
    return "lowered" if verdicts == {"better"} else "raised" if verdicts == {"worse"} else "changed"


def _relative(drift: Mapping[str, Any]) -> str:
    size = drift.get("forces_relative")
    return f", {significant(100 * size, 2)} % of their size" if size is not None else ""


def _moved(errors: ErrorSet, key: str) -> str:
    cell, item = errors.total.cells["rmse"][key], QUANTITIES[key]
    if cell.before is None:
        return f"{item.title.lower()} {error(cell.after, key)} {item.unit}"
    return (
        f"{item.title.lower()} {error(cell.before, key)} → {error(cell.after, key)} {item.unit} "
        f"({percent(cell.change)})"
    )


def _cards(subject: Subject, sets: tuple[ErrorSet, ...], distance: Distance | None) -> Iterator[Mapping[str, Any]]:
    """Yield the key numbers."""
    errors = sets[0]
    only_before = subject.kind == "mlip.finetune" and not errors.compared
    alone = "of the foundation model" if only_before else "root mean square"
    for key in errors.quantities:
        cell, item = errors.total.cells["rmse"][key], QUANTITIES[key]
        yield {
            "name": f"{item.title} error, {errors.title.split(' (')[0]}",
            "number": error(cell.after, key),
            "unit": item.unit,
            "from": f"before {error(cell.before, key)}" if cell.before is not None else alone,
            "tag": percent(cell.change),
            "kind": cell.verdict,
        }
    if distance:
        number, before, after = distance
        yield {
            "name": f"Mean deviation from DFT, {number} properties",
            "number": significant(after, 2),
            "unit": "%",
            "from": f"before {significant(before, 2)}",
            "tag": percent(change(before, after)),
            "kind": "better" if after < before else "worse",
        }
    drift = subject.summary.get("forgetting", {}).get(subject.best or "", {}).get("all")
    if drift:
        yield {
            "name": "Forces, other elements",
            "number": significant(drift["forces_rmse"] * 1e3),
            "unit": "meV/Å",
            "from": f"rms change on {drift['frames']} cells",
            "tag": "",
            "kind": "",
        }


def _failures(state: State) -> Iterator[Mapping[str, Any]]:
    """Yield the steps that failed, the innermost (where the reason is) first."""
    failed = [part for part in state.walk() if part.failed and part.pk != state.pk]
    for part in reversed(failed):
        yield {
            "name": f"{part.step or part.name} ({part.name} {part.pk})",
            "text": outcome(part),
            "remedy": remedy(part.name, part.exit_status),
        }


def _running(state: State) -> Iterator[Mapping[str, Any]]:
    for part in state.walk():
        if part.active and (part.step or part.progress) and not any(child.active for child in part.children):
            text = progress_text(part.progress) if part.progress else part.detail or part.state
            yield {"name": f"{part.step or part.name} ({part.name} {part.pk})", "text": text, "left": time_left(part)}


def _log(node: orm.ProcessNode) -> list[str]:
    """Return the last lines that the process reported."""
    entries = orm.Log.collection.get_logs_for(node)
    return [f"{entry.time:%Y-%m-%d %H:%M:%S}  {entry.message}" for entry in entries][-LOG_LINES:]


SECTION = Section("Summary", collect)
