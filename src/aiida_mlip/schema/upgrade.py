"""Reading files of older contracts: one function lifts a document from version n to n + 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.job import CONTRACT

Document = dict[str, Any]

UPGRADES: Mapping[int, Callable[[Document], Document]] = {}
"""Version -> the function that makes the next version of it."""


def upgrade(
    document: Document, *, to: int = CONTRACT, upgrades: Mapping[int, Callable[[Document], Document]] = UPGRADES
) -> Document:
    """Return ``document`` in contract version ``to``.

    :raises TaskError: of kind ``contract`` where the version is missing, newer, or has no way up.
    """
    version = document.get("contract")
    if not isinstance(version, int):
        raise TaskError(
            ErrorKind.CONTRACT, f"contract = {version!r} is not a version number.", "Use a matching worker."
        )
    while version < to:
        if version not in upgrades:
            raise TaskError(ErrorKind.CONTRACT, f"contract = {version} is too old.", "Make the job again.")
        document = {**upgrades[version](document), "contract": version + 1}
        version += 1
    if version > to:
        raise TaskError(
            ErrorKind.CONTRACT,
            f"contract = {version} is newer than {to}, the newest known here.",
            "Run `aiida-mlip setup` so that worker and package are of one version.",
        )
    return document
