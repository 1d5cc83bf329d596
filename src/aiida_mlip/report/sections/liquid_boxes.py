"""First and last frames to look at in three dimensions, and all frames to download."""

from __future__ import annotations

import json

from markupsafe import Markup

from aiida_mlip.report import liquid_views, structures
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return the data of the views and the files."""
    liquids = subject.liquids
    scenes = list(liquid_views.scenes(liquids)) if liquids is not None else []
    if liquids is None or not scenes:
        return {}
    sets = [liquid_views.as_json(scene) for scene in scenes]
    elements = dict(pair for scene in sets for view in scene["s"] for pair in view["g"])
    start = liquid_views.best_scene(scenes)
    return {
        "data": Markup(json.dumps(sets, separators=(",", ":")).replace("</", "<\\/")),  # noqa: S704 - JSON, escaped here
        "start": start,
        "frames": [0, len(sets[start]["s"]) - 1][: len(sets[start]["s"])],
        "reacted": any(scene.run.findings.events for scene in scenes),
        "elements": elements,
        "files": [
            {"item": item, "name": name, "address": address, "frames": len(item.frames)}
            for item, name, address in structures.files(liquid_views.files(liquids))
        ],
    }


SECTION = Section("A look at the boxes", collect)
