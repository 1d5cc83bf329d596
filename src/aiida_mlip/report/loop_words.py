"""An iterative training in a few sentences and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiida_mlip.report.cards import Card, card
from aiida_mlip.report.loop import Loop, Saving, saving
from aiida_mlip.report.numbers import QUANTITIES, change, core_hours, error, percent, plural
from aiida_mlip.report.subject import Subject

ENDED: Mapping[str, str] = {
    "converged": "converged after {generations}",
    "max_generations": "not converged after {generations}, the limit",
    "label_budget": "not converged: the label budget was used up after {generations}",
    "no_candidates": "no frame was worth a label any more after {generations}",
    "failed": "ended early, in {last}",
    "": "still at work, in {last}",
}
"""How a history ended -> in words."""

NO_EFFECT = 0.02
"""Relative change below which an error is called unchanged."""


def ended(loop: Loop) -> str:
    """Return how it ended, with the number of generations."""
    number = plural(len(loop.generations), "generation")
    return ENDED[loop.history.ended].format(generations=number, last=loop.last.title)


def sentences(subject: Subject) -> Iterator[str]:
    """Yield how it ended and why, what became of the errors, and how long the dynamics lived."""
    loop = subject.loop
    if loop is None:
        return
    labels = plural(loop.history.labels_used, "label")
    text = ended(loop)
    yield f"{text[0].upper()}{text[1:]}, with {labels}{_failures(loop)}."
    if loop.last.record.reasons and loop.history.ended != "converged" and not subject.node.exit_status:
        yield f"What the last generation says: {'; '.join(loop.last.record.reasons)}."
    if len(loop.measured) > 1:
        yield _errors(loop)
    yield from _survival(loop)
    found = saving(loop)
    if found is not None and found.core_seconds is not None:
        yield _saved(found)


def _failures(loop: Loop) -> str:
    failed = sum(len(report.failed) for _, report in loop.label_reports)
    reused = sum(report.reused for _, report in loop.label_reports)
    parts = [f"{failed} failed"] if failed else []
    parts += [f"{reused} found in the database"] if reused else []
    return f" ({', '.join(parts)})" if parts else ""


def _errors(loop: Loop) -> str:
    first, last = loop.measured[0], loop.measured[-1]
    parts = []
    for key, item in QUANTITIES.items():
        before, after = first.error(key), last.error(key)
        if before is not None and after is not None:
            moved = percent(change(before, after))
            parts.append(
                f"{item.title.lower()} {error(before, key)} → {error(after, key)} {item.unit}{moved and f' ({moved})'}"
            )
    kind = "held-out" if last.measured_on == "hold-out set" else "validation"
    frames = plural(int(last.table().get("all", {}).get("frames", 0)), f"{kind} configuration")
    return f"Errors on {frames}, first and last generation: {'; '.join(parts)}."


def _survival(loop: Loop) -> Iterator[str]:
    shown = [item for item in loop.generations if item.record.survival]
    if not shown:
        return
    first, last = shown[0], shown[-1]
    before, after = (f"{done} of {number}" for done, number in (first.survived, last.survived))
    if first is last:
        yield f"{after} walkers reached the end of their dynamics."
    else:
        yield (
            f"In generation {first.number}, {before} walkers reached the end of their dynamics; "
            f"in generation {last.number}, {after}."
        )


def _saved(found: Saving) -> str:
    return (
        f"Of {plural(found.frames, 'frame')} that passed the geometry filters, {found.asked} were asked for; labels of "
        f"the others would have cost about {core_hours(found.core_seconds)} (an estimate, see Cost of the loop)."
    )


def cards(subject: Subject) -> Iterator[Card]:
    """Yield generations, labels, errors and survival."""
    loop = subject.loop
    if loop is None:
        return
    yield card("Generations", str(len(loop.generations)), "", ended(loop))
    yield card("Labels used", str(loop.history.labels_used), "", _failures(loop).strip(" ()") or "none failed")
    if loop.measured:
        yield from _error_cards(loop)
    shown = [item for item in loop.generations if item.record.survival]
    if shown:
        first, last = shown[0].survived_share or 0.0, shown[-1].survived_share or 0.0
        moved = f"generation {shown[0].number}: {100 * first:.0f} %" if len(shown) > 1 else "of the time asked for"
        kind = "better" if last > first else "worse" if last < first else ""
        points = round(100 * (last - first))
        tag = f"{points:+d} points".replace("-", "−") if len(shown) > 1 and points else ""
        yield card("Survival, mean over walkers", f"{100 * last:.0f}", "%", moved, tag=tag, kind=kind)


def _error_cards(loop: Loop) -> Iterator[Card]:
    first, last = loop.measured[0], loop.measured[-1]
    for key in ("forces", "energy"):
        item, before, after = QUANTITIES[key], first.error(key), last.error(key)
        if after is None:
            continue
        moved = change(before, after) if first is not last else None
        title, number = f"{item.title} error, {last.measured_on}", error(after, key)
        if moved is None:
            yield card(title, number, item.unit, "root mean square")
        else:
            kind = "same" if abs(moved) < NO_EFFECT else "better" if moved < 0 else "worse"
            text = f"generation {first.number}: {error(before, key)}"
            yield card(title, number, item.unit, text, tag=percent(moved), kind=kind)
