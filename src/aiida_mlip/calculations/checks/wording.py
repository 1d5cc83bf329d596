"""The form of a refusal, and what the checks need to know of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class LabelledSet(Protocol):
    """What the checks ask of a data set; :class:`~aiida_mlip.data.dataset.DatasetData` has it."""

    def __len__(self) -> int:
        """Return the number of configurations."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the chemical symbols present."""

    @property
    def config_types(self) -> dict[str, int]:
        """Return the number of configurations of each type."""

    @property
    def labels(self) -> dict[str, int]:
        """Return for each label key the number of configurations that carry it."""

    def isolated_atoms(self, cutoff: float) -> list[tuple[str, bool]]:
        """Return element, and whether it has an energy, of each frame that is one atom without neighbours."""

    @property
    def not_finite(self) -> list[int]:
        """Return the indices of the first configurations with a number that is NaN or infinite."""

    @property
    def max_force(self) -> float | None:
        """Return the largest force component in absolute value [eV/Å], None without forces."""

    def fingerprints(self) -> dict[str, int]:
        """Return the digest of each geometry and the index of the first configuration that has it."""


def refusal(field: str, value: Any, problem: str, remedy: str) -> str:
    """Return the sentence that refuses an input.

    :param field: name of the input as the user knows it.
    :param value: what was given.
    :param problem: why it cannot be used.
    :param remedy: what to do.
    """
    return f"{field} = {_short(value)}: {problem}. {remedy}."


def listed(items: Iterable[str]) -> str:
    """Return the items in one line, in order, or 'none'."""
    return ", ".join(items) or "none"


def _short(value: Any, length: int = 120) -> str:
    text = value if isinstance(value, str) and value.startswith("<") else repr(value)
    if isinstance(value, Mapping):
        text = repr(dict(value))
    return text if len(text) <= length else f"{text[: length - 3]}..."


def describe(data: LabelledSet) -> str:
    """Return a data set in a few words, as the value of a field."""
    return f"<data set of {len(data)} configurations of {listed(data.elements)}>"
