"""Properties of materials, computed with any ASE calculator: one module each, found by name.

A property is a module of this package whose name has no leading underscore and which defines ``PROPERTY``. Adding
one touches no other file.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from aiida_mlip.science.properties._base import (
    Flag,
    Meter,
    Outcome,
    Property,
    PropertyError,
    PropertyFailure,
    PropertyRecord,
    PropertyResult,
    Quantity,
    Series,
    compute,
    parse_inputs,
)
from aiida_mlip.science.properties._journal import Cost, Journal, Notebook

__all__ = [
    "Cost",
    "Flag",
    "Journal",
    "Meter",
    "Notebook",
    "Outcome",
    "Property",
    "PropertyError",
    "PropertyFailure",
    "PropertyRecord",
    "PropertyResult",
    "Quantity",
    "Series",
    "compute",
    "get",
    "names",
    "parse_inputs",
]


@cache
def names() -> tuple[str, ...]:
    """Return the names of all properties, in alphabetical order."""
    modules = pkgutil.iter_modules(__path__)
    return tuple(sorted(module.name for module in modules if not module.name.startswith("_")))


def get(name: str) -> Property[Any, Any]:
    """Return the property called ``name``.

    :raises ValueError: where there is none; the message lists those there are.
    """
    if name not in names():
        raise ValueError(f"property = {name!r} is not known: known are {', '.join(names())}")
    prop = importlib.import_module(f"{__name__}.{name}").PROPERTY
    if not isinstance(prop, Property):
        raise TypeError(f"{__name__}.{name}.PROPERTY is not a Property")
    return prop
