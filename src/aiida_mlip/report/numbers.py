"""Numbers as they are printed: the unit a reader expects, and as many digits as mean something."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from html import escape
from typing import Any, NamedTuple

from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA


class Quantity(NamedTuple):
    """How errors of one kind of label are shown.

    :param factor: from the unit of the error tables (eV/atom, eV/Å, eV/Å^3) to ``unit``.
    """

    key: str
    title: str
    symbol: str
    unit: str
    factor: float
    axis_unit: str
    axis_factor: float


QUANTITIES: Mapping[str, Quantity] = {
    item.key: item
    for item in (
        Quantity("energy", "Energy", "E", "meV/atom", 1e3, "eV/atom", 1.0),
        Quantity("forces", "Forces", "F", "meV/Å", 1e3, "eV/Å", 1.0),
        Quantity("stress", "Stress", "σ", "GPa", EV_PER_ANGSTROM3_IN_GPA, "GPa", EV_PER_ANGSTROM3_IN_GPA),
    )
}
"""Kind of label -> how it is shown; ``axis_*`` are the unit and factor of the values themselves."""

UNIT_NAMES = {
    "angstrom": "Å",
    "angstrom^3/atom": "Å³/atom",
    "eV/angstrom": "eV/Å",
    "eV/angstrom^3": "eV/Å³",
    "J/m^2": "J/m²",
    "a sqrt(3) / 2 along [111]": "a√3/2 along [111]",
    "1": "",
}

DECIMALS = {
    "angstrom": 4, "GPa": 1, "eV": 3, "eV/atom": 4, "angstrom^3/atom": 3, "J/m^2": 3, "eV per b": 4, "1": 3,
    "atomic volumes": 3,
}  # fmt: skip


def unit(name: str) -> str:
    """Return a unit as it is typeset."""
    return UNIT_NAMES.get(name, name)


def value(number: float | None, unit_name: str = "") -> str:
    """Return a property with the digits that its unit deserves; a dash where there is none."""
    if number is None or not math.isfinite(number):
        return "–"
    decimals = DECIMALS.get(unit_name)
    text = significant(number, 4) if decimals is None else f"{number:.{decimals}f}"
    return text.replace("-", "−")


def significant(number: float | None, digits: int = 3) -> str:
    """Return a number with ``digits`` significant digits and no exponent between 1e-4 and 1e6."""
    if number is None or not math.isfinite(number):
        return "–"
    if number == 0:
        return "0"
    size = math.floor(math.log10(abs(number)))
    if -5 < size < 6:
        rounded = round(number, digits - 1 - size)
        size = math.floor(math.log10(abs(rounded)))
        return f"{rounded:.{max(digits - 1 - size, 0)}f}"
    return f"{number:.{digits - 1}e}"


def error(number: float | None, quantity: str) -> str:
    """Return an error of an error table in the unit of :data:`QUANTITIES`, three significant digits."""
    return significant(None if number is None else number * QUANTITIES[quantity].factor)


def change(before: float | None, after: float | None) -> float | None:
    """Return after / before - 1, or None where that means nothing."""
    if before is None or after is None or not before > 0:
        return None
    return after / before - 1.0


def deviation(value: float | None, reference: float) -> float | None:
    """Return by how many percent ``value`` is above ``reference``."""
    return None if value is None else 100.0 * (value / reference - 1.0)


def signed(number: float | None) -> str:
    """Return a percentage with its sign and one decimal; nothing where there is none."""
    if number is None:
        return ""
    text = f"{number:+.1f} %"
    return text.replace("-", "−") if text not in ("+0.0 %", "-0.0 %") else "0.0 %"


def plural(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun: 1 frame, 2 frames."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def percent(fraction: float | None) -> str:
    """Return a relative change: −83 %, +12 %, or ×3.4 where it more than doubled."""
    if fraction is None or not math.isfinite(fraction):
        return ""
    if fraction > 1.0:
        return f"× {1.0 + fraction:.2g}" if fraction < 99 else f"× {1.0 + fraction:.0f}"
    text = f"{100.0 * fraction:+.0f} %".replace("-", "−")
    return text if text[1:] != "0 %" else "0 %"


def duration(seconds: float | None) -> str:
    """Return a time: 0.8 s, 41 s, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    minutes, secs = divmod(rest, 60)
    if whole.days:
        return f"{whole.days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {secs:02d} s" if minutes else f"{secs} s"


def core_hours(seconds: float | None) -> str:
    """Return core-seconds as core-hours, or as core-seconds where they are few."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    return f"{significant(seconds / 3600, 3)} core-h" if seconds >= 360 else f"{significant(seconds, 3)} core-s"


def plain(item: Any) -> str:
    """Return a setting as text: lists with commas, booleans in words, floats without noise."""
    if isinstance(item, bool):
        return "yes" if item else "no"
    if item is None:
        return "–"
    if isinstance(item, float):
        return f"{item:.10g}"
    if isinstance(item, list | tuple):
        return ", ".join(plain(part) for part in item) or "none"
    return str(item)


def brief(item: Any, most: int = 8) -> str:
    """Return a value as text, long lists and mappings as their length, empty ones as a dash."""
    if isinstance(item, Mapping):
        text = ", ".join(f"{key} {plain(part)}" for key, part in item.items())
        return (text if len(item) <= most else f"{len(item)} items") or "–"
    if isinstance(item, list | tuple):
        return (plain(item) if len(item) <= most else f"{len(item)} items") if item else "–"
    return f"{item:.6g}" if isinstance(item, float) else plain(item)


_SYMBOLS = (
    (re.compile(r"\bC(\d\d)\b"), r"C<sub>\1</sub>"),
    (re.compile(r"\b([EγΔ])_(\w+)\b"), r"\1<sub>\2</sub>"),
    (re.compile(r"(?<![\w<])([aBE])(?=$| \(|\()"), r"<i>\1</i>"),
)


def coded(text: str) -> str:
    """Return text in which what stands between back-ticks is code, as HTML; the text itself is escaped."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def wrappable(name: str) -> str:
    """Return a name that may be broken after underscores and hyphens, as HTML; the text itself is escaped."""
    return re.sub(r"([_-])(?=\w)", r"\1<wbr>", escape(name))


def typeset(label: str) -> str:
    """Return a label of a property with sub-scripts and italics, as HTML; the text itself is escaped."""
    text = escape(label).replace(" - ", " − ")
    for pattern, typed in _SYMBOLS:
        text = pattern.sub(typed, text)
    return text
