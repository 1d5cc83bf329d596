"""Warnings of all steps: what went wrong on the way and was survived, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiida_mlip.report.calibration import uncertainty_result
from aiida_mlip.report.dynamics import walkers
from aiida_mlip.report.loop import Loop
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject, results


def collect(subject: Subject) -> Content:
    """Return warning -> where it was given, each text once."""
    found: dict[str, list[str]] = {}
    for text, where in _all(subject):
        places = found.setdefault(text, [])
        if where and where not in places:
            places.append(where)
    return {"remarks": found} if found or subject.loop is not None else {}


def _all(subject: Subject) -> Iterator[tuple[str, str]]:
    if subject.loop is not None:
        yield from _of_loop(subject.loop)
        return
    for text in results(subject.node).get("warnings", ()):
        yield str(text), ""
    for name, walker in walkers(subject.node).items():
        if walker.stopped_by == "not_finite":
            yield walker.message or "energy or forces became NaN or infinite", name


def _of_loop(loop: Loop) -> Iterator[tuple[str, str]]:
    for item in loop.generations:
        estimate = uncertainty_result(item.record.uncertainty)
        own: Mapping[str, object] = results(item.steps.get("select"))
        listed = own.get("warnings", ())
        said = item.record.warnings
        texts = [f"uncertainty: {text}" for text in (estimate.warnings if estimate is not None else ())]
        texts += [f"selection: {text}" for text in listed] if isinstance(listed, list | tuple) else []
        for text in dict.fromkeys((*said, *texts)):  # the record has them too
            yield text, item.title


SECTION = Section("Warnings", collect)
