"""Key numbers at the top of a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Card = Mapping[str, Any]
"""``name``, ``number``, ``unit``, ``from`` (what it was before, or what it is), ``tag`` and ``kind`` of the tag."""


def card(name: str, number: str, unit: str = "", text: str = "", *, tag: str = "", kind: str = "") -> Card:
    """Return a key number.

    :param text: what stands below the number.
    :param tag: a change, in the colour of ``kind`` (``better``, ``worse``, ``same`` or nothing).
    """
    return {"name": name, "number": number, "unit": unit, "from": text, "tag": tag, "kind": kind}
