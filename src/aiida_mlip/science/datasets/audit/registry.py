"""The checks, by name; a check is one function from the context to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.report import Finding

Check = Callable[[Context], Iterable[Finding]]

CHECKS: dict[str, Check] = {}
"""Name to check, in the order in which they run."""


def check(name: str) -> Callable[[Check], Check]:
    """Register a check under a name."""

    def register(function: Check) -> Check:
        if name in CHECKS:
            raise ValueError(f"check {name!r} is registered already: give the new one another name")
        CHECKS[name] = function
        return function

    return register
