"""The comment line of extended XYZ: ``key=value`` pairs to Python values and back.

ASE's own parser turns ``config_type=1`` into a number and ``config_type=T`` into a boolean, and refuses a stress of six
numbers. Here text stays text: only what looks like numbers and is not named in ``text_keys`` becomes numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

import numpy as np

from aiida_mlip.science import keys

_PAIR = re.compile(
    r"""\s*(?P<key>[^\s=]+)          # the name
        (?:\s*=\s*
          (?:"(?P<double>(?:\\.|[^"\\])*)"
            |'(?P<single>(?:\\.|[^'\\])*)'
            |(?P<brace>[{\[][^}\]]*[}\]])
            |(?P<plain>\S*)))?""",
    re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(.)")
_INTEGER = re.compile(r"[+-]?\d+")
_BOOLEAN = {"T": True, "F": False, "True": True, "False": False, "TRUE": True, "FALSE": False}

TEXT_KEYS = frozenset({keys.CONFIG_TYPE, keys.GROUP, keys.SOURCE, keys.ORIGIN, "Properties"})

_JSON = "_JSON "
"""What ASE writes before values that are neither numbers nor text, such as a matrix under any name but ``stress``."""

_MATRIX_KEY = re.compile(r"stress|virial|lattice", re.IGNORECASE)


def split_pairs(line: str) -> dict[str, str]:
    """Return the ``key=value`` pairs of a comment line as text, quotes and escapes removed.

    A bare word is a key whose value is ``T``.
    """
    pairs: dict[str, str] = {}
    for match in _PAIR.finditer(line.strip()):
        if (quoted := match["double"] if match["double"] is not None else match["single"]) is not None:
            pairs[match["key"]] = _ESCAPED.sub(lambda m: "\n" if m[1] == "n" else m[1], quoted)
        elif match["brace"] is not None:
            pairs[match["key"]] = match["brace"][1:-1].replace(",", " ")
        else:
            pairs[match["key"]] = match["plain"] if match["plain"] is not None else "T"
    return pairs


def to_value(text: str) -> Any:
    """Return an int, a float, a bool or an array of floats where the text reads as one, otherwise the text."""
    if text in _BOOLEAN or text.startswith(_JSON):
        return _BOOLEAN[text] if text in _BOOLEAN else _from_json(text)
    if _INTEGER.fullmatch(text):
        return int(text)
    parts = text.replace(",", " ").split()
    if parts and all(part in _BOOLEAN for part in parts):
        return [_BOOLEAN[part] for part in parts]
    try:
        numbers = [float(re.sub(r"(?<=\d)[dD](?=[+-]?\d)", "e", part)) for part in parts]
    except ValueError:
        return text
    if not numbers:
        return text
    return numbers[0] if len(numbers) == 1 else np.array(numbers)


def _from_json(text: str) -> Any:
    """Return numbers of any shape as an array, other JSON as it is, and the text where it is no JSON."""
    try:
        value = json.loads(text.removeprefix(_JSON))
        array = np.array(value)
    except ValueError:
        return text
    return array if array.dtype.kind in "iuf" else value


def parse_comment(line: str, text_keys: Collection[str] = TEXT_KEYS) -> dict[str, Any]:
    """Return the values of a comment line in the form that ASE's reader expects.

    Nine numbers of a key that names a lattice, a stress or a virial become a (3, 3) array whose columns are the three
    triples, which is what ASE does.

    :param line: the second line of a frame.
    :param text_keys: keys whose value is never taken for a number or a boolean.
    """
    values: dict[str, Any] = {}
    for key, text in split_pairs(line).items():
        value = text if key in text_keys else to_value(text)
        if isinstance(value, np.ndarray) and value.shape == (9,) and _MATRIX_KEY.search(key):
            value = value.reshape((3, 3), order="F")
        values[key] = value
    return values


def quote(text: str) -> str:
    """Return text in double quotes, with backslashes, quotes and line ends escaped."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", "\\n") + '"'
