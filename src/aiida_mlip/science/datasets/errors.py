"""What goes wrong with a data set, as values that name the file, the frame, the key and the remedy."""

from __future__ import annotations


class DatasetError(ValueError):
    """A data set that cannot be read, written or split as asked; the message says what to do about it."""


class DatasetWarning(UserWarning):
    """Something was left out of a data set while it was read; the message says what and why."""
