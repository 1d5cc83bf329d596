"""Checks of a liquid's trajectory: one module each, found by name.

A check is a module of this package whose name has no leading underscore and which defines ``CHECK``. Adding one touches
no other file.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from aiida_mlip.science.liquids.checks._base import Check, Finding, Pass, Run

__all__ = ["Check", "Finding", "Pass", "Run", "get", "names"]


@cache
def names() -> tuple[str, ...]:
    """Return the names of all checks, in alphabetical order."""
    modules = pkgutil.iter_modules(__path__)
    return tuple(sorted(module.name for module in modules if not module.name.startswith("_")))


def get(name: str) -> Check[Any]:
    """Return the check called ``name``.

    :raises ValueError: where there is none; the message lists those there are.
    """
    if name not in names():
        raise ValueError(f"check = {name!r} is not known: known are {', '.join(names())}")
    check = importlib.import_module(f"{__name__}.{name}").CHECK
    if not isinstance(check, Check):
        raise TypeError(f"{__name__}.{name}.CHECK is not a Check")
    return check
