"""Checks of a liquid's trajectory: one module each, found by name.

A check is a module of this package whose name has no leading underscore and which defines ``CHECK``. Adding one touches
no other file.
"""

from __future__ import annotations

from typing import Any

from aiida_mlip.science.liquids.checks._base import Check, Finding, Pass, Run
from aiida_mlip.science.registry import Registry

__all__ = ["Check", "Finding", "Pass", "Run", "get", "names"]

_CHECKS: Registry[Check[Any]] = Registry(__name__, "CHECK", Check, "check")
names, get = _CHECKS.names, _CHECKS.get
