"""Which sections make the report of which process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A report: what it is called and what is in it, from top to bottom."""

    title: str
    sections: tuple[str, ...]


_END = ("settings", "cost", "lineage", "licences")

_DYNAMICS = Page("Molecular dynamics", ("outcome", "walkers", "series", "remarks", *_END))

_LABELS = Page("Labels", ("outcome", "labels", "remarks", *_END))

_LIQUID = Page(
    "Liquids",
    (
        "outcome", "verdicts", "accuracy", "liquid_series", "reactions", "liquid_boxes", "liquid_structure",
        "liquid_transport", "liquid_energy", "liquid_cost",
        *_END,
    ),
)  # fmt: skip

PAGES: Mapping[str, Page] = {
    "mlip.finetune": Page(
        "Fine-tuning",
        (
            "outcome", "errors", "properties", "curves", "parity", "learning", "forgetting", "committee", "strategy",
            "audit",
            *_END,
        ),
    ),
    "mlip.train.base": Page("Training", ("outcome", "errors", "learning", "strategy", *_END)),
    "mlip.train": Page("Training", ("outcome", "errors", "learning", "strategy", *_END)),
    "mlip.evaluate": Page("Evaluation", ("outcome", "errors", "parity", *_END)),
    "mlip.defects": Page(
        "Defects", ("outcome", "verdict", "bars", "curves", "warnings", "structures", "expense", *_END)
    ),
    "mlip.electrolyte": Page(
        "Electrolyte stability",
        (
            "outcome", "verdicts", "accuracy", "liquid_series", "reactions", "liquid_boxes", "force_tests",
            "liquid_structure", "liquid_transport", "liquid_energy", "liquid_cost",
            *_END,
        ),
    ),
    "mlip.liquid": _LIQUID,
    "mlip.liquid.base": _LIQUID,
    "mlip.iterative_training": Page(
        "Iterative training",
        (
            "outcome", "generations", "holdout", "errors", "calibration", "parity", "survival", "asked", "frames",
            "labels", "budget", "remarks", "learning", "strategy",
            *_END,
        ),
    ),
    "mlip.md": _DYNAMICS,
    "mlip.md.base": _DYNAMICS,
    "mlip.uncertainty": Page("Uncertainty", ("outcome", "calibration", "remarks", *_END)),
    "mlip.select": Page("Selection", ("outcome", "selection", "asked", "frames", "remarks", *_END)),
    "mlip.label": _LABELS,
    "mlip.label.base": _LABELS,
    "mlip.property": Page("Properties", ("outcome", "properties", "bars", "curves", "structures", *_END)),
    "mlip.property.base": Page("Properties", ("outcome", "properties", "bars", "curves", "structures", *_END)),
}  # fmt: skip
"""Entry point of a process -> its page."""


def page_of(kind: str) -> Page:
    """Return the page of a process.

    :param kind: its entry point.
    :raises ValueError: where there is no page for it; the message lists the processes that have one.
    """
    if kind not in PAGES:
        raise ValueError(
            f"there is no report for a process of kind {kind or 'unknown'!r}: reports exist for {', '.join(PAGES)}. "
            "For data, and for other processes, use `aiida-mlip lineage`"
        )
    return PAGES[kind]
