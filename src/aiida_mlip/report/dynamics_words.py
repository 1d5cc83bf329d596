"""A job of molecular dynamics in a sentence and a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from aiida_mlip.report.cards import Card, card
from aiida_mlip.report.dynamics import walkers
from aiida_mlip.report.loop_figures import STOPS
from aiida_mlip.report.numbers import duration, plural, significant
from aiida_mlip.report.subject import Subject


def sentences(subject: Subject) -> Iterator[str]:
    """Yield how many walkers reached their end, and what stopped the others."""
    found = walkers(subject.node)
    if not found:
        return
    done = sum(walker.stopped_by is None for walker in found.values())
    stops = Counter(walker.stopped_by for walker in found.values() if walker.stopped_by is not None)
    text = f"{done} of {plural(len(found), 'walker')} reached the end"
    if stops:
        text += "; stopped by " + ", ".join(f"{STOPS[rule][0]} ({number})" for rule, number in stops.most_common())
    yield f"{text}."


def cards(subject: Subject) -> Iterator[Card]:
    """Yield walkers, steps, the largest uncertainty and the speed."""
    found = list(walkers(subject.node).values())
    if not found:
        return
    stable, asked = sum(item.stable_steps for item in found), sum(item.asked_steps for item in found)
    yield card("Stable steps", f"{100 * stable / asked:.0f}", "%", f"{stable:,} of {asked:,}")
    yield card("Frames", str(sum(item.frames for item in found)), "", "in the trajectories")
    sigmas = [item.max_forces_sigma for item in found if item.max_forces_sigma is not None]
    if sigmas:
        yield card("Largest force uncertainty", significant(max(sigmas)), "eV/Å", "of an atom in any frame")
    calls, seconds = sum(item.force_calls for item in found), sum(item.seconds for item in found)
    rate = f"{1e3 * seconds / calls:.3g} ms each" if calls and seconds else ""
    yield card("Force calls", f"{calls:,}", "", f"{rate}, {duration(seconds)} in all" if rate else "")
