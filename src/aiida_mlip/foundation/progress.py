"""How a long step tells its caller how far it is."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Called several times a second while something is going on."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Take note of how far a stage is.

        :param stage: what is going on, in a few words.
        :param done: bytes so far.
        :param total: bytes in all; None where nobody knows.
        """


def silent(stage: str, done: int, total: int | None) -> None:
    """Tell nobody."""
