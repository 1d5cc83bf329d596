"""Structures to look at in three dimensions and to download."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from aiida_mlip.report import structures
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject

PLAIN = ("eos", "elastic")
"""Properties whose structures are perfect crystals: others are shown first."""


def collect(subject: Subject) -> Content:
    """Return the data of the views and the files."""
    kept = structures.kept(subject)
    if not kept:
        return {}
    sets: list[dict[str, Any]] = [
        {"e": item.element, "m": item.potential, "k": item.name.replace("_", " "),
         "s": [shown.as_json() for shown in shown_of]}
        for item, shown_of in structures.views(kept)
    ]  # fmt: skip
    interesting = [place for place, item in enumerate(sets) if not str(item["k"]).startswith(PLAIN)] or [0]
    first = interesting[0]
    twins = [
        place
        for place, item in enumerate(sets)
        if (item["e"], item["k"]) == (sets[first]["e"], sets[first]["k"]) and place != first
    ]
    files = [
        {"item": item, "name": name, "address": address, "frames": len(item.frames)}
        for item, name, address in structures.files(kept)
    ]
    return {
        "data": Markup(json.dumps(sets, separators=(",", ":")).replace("</", "<\\/")),  # noqa: S704 - JSON, escaped here
        "starts": [first, *twins[:1]],
        "files": files,
        "most": structures.MOST_ATOMS,
    }


SECTION = Section("Structures", collect)
