"""Density, temperature, voids and intact molecules over time, a figure for each stage."""

from __future__ import annotations

from aiida_mlip.report.electrolyte import STAGES
from aiida_mlip.report.liquid_figures import BLOCKS, over_time
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject

WORDS = {"npt": "At constant pressure", "nvt": "At constant volume", "nve": "At constant energy"}
"""Stage -> heading."""


def collect(subject: Subject) -> Content:
    """Return the figures by stage."""
    liquids = subject.liquids
    if liquids is None:
        return {}
    stages = [(WORDS[stage], list(over_time(liquids, stage))) for stage in STAGES]
    shown = [(words, figures) for words, figures in stages if figures]
    return {"stages": shown, "blocks": BLOCKS} if shown else {}


SECTION = Section("Over time", collect)
