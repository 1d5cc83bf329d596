"""Some of the configurations that were asked for, to look at in three dimensions."""

from __future__ import annotations

import json

from markupsafe import Markup

from aiida_mlip.report import structures
from aiida_mlip.report.asked_views import views
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.sections.asked import asked_of
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return the data of the views: of each generation those of the largest uncertainty."""
    sets = list(views(asked_of(subject)))
    if not sets:
        return {}
    return {
        "data": Markup(json.dumps(sets, separators=(",", ":")).replace("</", "<\\/")),  # noqa: S704 - JSON, escaped here
        "starts": [0, len(sets) - 1] if len(sets) > 1 else [0],
        "coloured": any("q" in shown for item in sets for shown in item["s"]),
        "most": structures.MOST_ATOMS,
    }


SECTION = Section("A look at some of them", collect)
