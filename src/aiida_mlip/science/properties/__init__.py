"""Properties of materials, computed with any ASE calculator: one module each, found by name.

A property is a module of this package whose name has no leading underscore and which defines ``PROPERTY``. Adding
one touches no other file.
"""

from __future__ import annotations

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
from aiida_mlip.science.registry import Registry

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

_PROPERTIES: Registry[Property[Any, Any]] = Registry(__name__, "PROPERTY", Property, "property")
names, get = _PROPERTIES.names, _PROPERTIES.get
