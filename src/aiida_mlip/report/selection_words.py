"""A selection in a sentence and a few numbers."""

from __future__ import annotations

from collections.abc import Iterator

from aiida_mlip.report.cards import Card, card
from aiida_mlip.report.numbers import plural
from aiida_mlip.report.subject import Subject, results
from aiida_mlip.schema.selection import SelectionResult


def selection_of(subject: Subject) -> SelectionResult | None:
    """Return what the selection found, without versions and timings; None where there are no results."""
    content = results(subject.node)
    known = {name: content[name] for name in SelectionResult.model_fields if name in content}
    return SelectionResult.model_validate(known) if "counts" in known else None


def sentences(subject: Subject) -> Iterator[str]:
    """Yield what the frames were and how many were chosen."""
    found = selection_of(subject)
    if found is None:
        return
    counts = found.counts
    known = f", {counts.known} of them too like what is known" if counts.known else ""
    filtered = f", {counts.filtered} refused by a geometry filter" if counts.filtered else ""
    yield (
        f"{counts.selected} of {plural(counts.frames, 'frame')} were chosen: {counts.accurate} accurate, "
        f"{counts.candidate} candidates{known}, {counts.failed} failed{filtered}."
    )
    if not counts.selected and found.message:
        yield found.message


def cards(subject: Subject) -> Iterator[Card]:
    """Yield the counts."""
    found = selection_of(subject)
    if found is None:
        return
    counts = found.counts
    yield card("Selected", str(counts.selected), "", f"of {plural(counts.frames, 'frame')}")
    yield card("Worth a label", f"{100 * found.candidate_fraction:.1f}", "%", "candidates and failed")
    for name, text in (("accurate", "below the lower level"), ("candidate", "between the levels"),
                       ("failed", "above the upper level")):  # fmt: skip
        yield card(name.capitalize(), str(getattr(counts, name)), "", text)
