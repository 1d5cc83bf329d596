"""Sections of the reports, one module each, found by name.

A section is a module of this package whose name has no leading underscore and which defines ``SECTION``. A page names
the sections it has (:mod:`aiida_mlip.report.pages`); adding one touches no other section.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from aiida_mlip.report.sections._base import Content, Section

__all__ = ["Content", "Section", "get", "names"]


@cache
def names() -> tuple[str, ...]:
    """Return the names of all sections, in alphabetical order."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def get(name: str) -> Section:
    """Return the section called ``name``.

    :raises ValueError: where there is none; the message lists those there are.
    """
    if name not in names():
        raise ValueError(f"section = {name!r} is not known: known are {', '.join(names())}")
    section = importlib.import_module(f"{__name__}.{name}").SECTION
    if not isinstance(section, Section):
        raise TypeError(f"{__name__}.{name}.SECTION is not a Section")
    return section
