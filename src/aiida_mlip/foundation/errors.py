"""What can go wrong between the name of a foundation model and its file."""

from __future__ import annotations


class FoundationError(Exception):
    """The base of the errors here; the message is one the user can act on."""


class UnknownModelError(FoundationError):
    """The name is not in the registry."""


class FetchError(FoundationError):
    """The file could not be had from any source."""


class ConnectionFailedError(FetchError):
    """A server could not be reached at all, so that trying it again is of no use."""


class ChecksumError(FoundationError):
    """The file is not the one that the registry describes."""


class UntrustedFileError(FoundationError):
    """Nobody published a checksum of the file and the user has not vouched for it."""


class InspectionError(FoundationError):
    """The file is not a potential that the worker can load."""
