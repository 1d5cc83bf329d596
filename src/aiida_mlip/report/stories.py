"""What processes say of themselves at the top of their pages, in sentences and key numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from aiida_mlip.report import (
    calibration_words,
    dynamics_words,
    electrolyte_words,
    label_words,
    loop_words,
    selection_words,
)
from aiida_mlip.report.cards import Card
from aiida_mlip.report.subject import Subject


@dataclass(frozen=True)
class Story:
    """How a process is told; both yield nothing where there is nothing to tell yet."""

    sentences: Callable[[Subject], Iterator[str]]
    cards: Callable[[Subject], Iterator[Card]]


_DYNAMICS = Story(dynamics_words.sentences, dynamics_words.cards)

_LIQUIDS = Story(electrolyte_words.sentences, electrolyte_words.cards)

_LABELS = Story(label_words.sentences, label_words.cards)

STORIES: Mapping[str, Story] = {
    "mlip.iterative_training": Story(loop_words.sentences, loop_words.cards),
    "mlip.electrolyte": _LIQUIDS,
    "mlip.liquid": _LIQUIDS,
    "mlip.liquid.base": _LIQUIDS,
    "mlip.md": _DYNAMICS,
    "mlip.md.base": _DYNAMICS,
    "mlip.uncertainty": Story(calibration_words.sentences, calibration_words.cards),
    "mlip.select": Story(selection_words.sentences, selection_words.cards),
    "mlip.label": _LABELS,
    "mlip.label.base": _LABELS,
}
"""Entry point of a process -> how it is told."""
