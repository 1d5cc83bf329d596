"""A look at liquids in a few sentences and numbers: the verdict on each potential."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from aiida_mlip.report.cards import Card, card
from aiida_mlip.report.electrolyte import Liquids, Run
from aiida_mlip.report.lights import SIGNS, readable, with_error
from aiida_mlip.report.numbers import plural, significant
from aiida_mlip.report.subject import Subject
from aiida_mlip.science.liquids.findings import Status, worst

MOST_CARDS = 4
"""Potentials that have a card."""


def sentences(subject: Subject) -> Iterator[str]:
    """Yield the verdict on each potential; of checks alone, what failed."""
    liquids = subject.liquids
    if liquids is None:
        return
    for name in liquids.potentials:
        verdict = liquids.verdicts.get(name)
        if verdict is not None:
            yield f"{SIGNS[verdict.answer]} {verdict.answer.upper()}: {closed(readable(verdict.sentence))}"
        elif name and (liquids.of(name) or name in liquids.forces):
            yield f"{name}: there is no verdict yet; {_so_far(liquids, name)}"
    if liquids.potentials == ("",):
        yield _so_far(liquids, "")


def closed(sentence: str) -> str:
    """Return a sentence that ends in a full stop."""
    return sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."


def _so_far(liquids: Liquids, potential: str) -> str:
    runs = liquids.of(potential)
    if not runs:
        return "the tests of forces are done, and no trajectory has been looked at."
    counts = Counter(worst(run.findings.checks) for run in runs)
    words: tuple[tuple[Status, str], ...] = (
        ("fail", "with a check that fails"),
        ("inconclusive", "inconclusive"),
        ("pass", "that pass all checks"),
    )
    told = ", ".join(f"{counts[status]} {text}" for status, text in words if counts[status])
    first = next((run for run in runs if worst(run.findings.checks) == "fail"), None)
    return f"Trajectories that were looked at: {len(runs)}; {told}.{_why(first)}"


def _why(run: Run | None) -> str:
    if run is None:
        return ""
    result = next(item for item in run.findings.checks if item.status == "fail" and item.aspect == "stability")
    return f" {run.condition.words}: {closed(readable(result.reason))}"


def cards(subject: Subject) -> Iterator[Card]:
    """Yield the answers, the time that was looked at, the reactions and the speed."""
    liquids = subject.liquids
    if liquids is None:
        return
    for name in list(liquids.verdicts)[:MOST_CARDS]:
        verdict = liquids.verdicts[name]
        text = plural(len(verdict.reasons), "failure") if verdict.reasons else f"{len(verdict.missing)} missing"
        if verdict.answer == "stable":
            text = "nothing failed, nothing is missing"
        yield card(name, SIGNS[verdict.answer], verdict.answer, text)
    runs = liquids.runs
    if runs:
        longest = max(run.findings.time_ps for run in runs)
        total = sum(run.findings.time_ps for run in runs)
        what = plural(len(runs), "trajectory", "trajectories")
        yield card("Looked at", significant(total), "ps", f"{what}, the longest {longest:.3g} ps")
        events = sum(len(run.findings.events) for run in runs)
        hit = sum(bool(run.findings.events) for run in runs)
        yield card("Reactions", str(events), "", f"in {hit} of {what}")
    yield from _density(liquids)
    if rate := speed(liquids):
        yield card("Speed", significant(rate), "steps/s", "of one walker, mean over all dynamics")


def _density(liquids: Liquids) -> Iterator[Card]:
    runs = [run for run in liquids.telling() if run.condition.stage == "npt"]
    if len(liquids.potentials) > 1 or not runs:
        return
    for result in runs[0].results("density"):
        if result.aspect == "stability" and result.value is not None:
            number, _, error = with_error(result.value, result.error).partition(" ± ")
            text = f"± {error}; {runs[0].condition.words}" if error else runs[0].condition.words
            yield card("Density", number, "g/cm³", text, tag="" if result.status == "pass" else result.status)


def speed(liquids: Liquids) -> float | None:
    """Return the steps of one walker in a second, over all dynamics; None where no time is known."""
    walkers = [walker for item in liquids.dynamics for walker in item.walkers.values()]
    seconds = sum(walker.seconds for walker in walkers)
    return sum(walker.steps for walker in walkers) / seconds if seconds > 0 else None
