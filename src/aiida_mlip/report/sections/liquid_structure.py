"""Radial distribution functions, between molecules and within them, and what is around ions."""

from __future__ import annotations

from typing import Any

from aiida_mlip.report.electrolyte import Run
from aiida_mlip.report.lights import light_of
from aiida_mlip.report.liquid_structure_figures import MOST_LINES, coordination, distributions, pair_name
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject
from aiida_mlip.science.liquids.findings import CheckResult


def collect(subject: Subject) -> Content:
    """Return the figures of the stage that says most, and the coordination numbers of all trajectories."""
    liquids = subject.liquids
    if liquids is None:
        return {}
    runs = [run for run in liquids.telling() if "structure_r" in run.curves]
    if not runs:
        return {}
    rows = [
        _coordination(run, result)
        for run in liquids.runs
        for result in run.results("structure")
        if result.quantity.startswith("coordination")
    ]
    return {
        "stage": runs[0].condition.stage.upper(),
        "inter": distributions(liquids, runs, "inter"),
        "intra": distributions(liquids, runs, "intra"),
        "ions": coordination(liquids, runs),
        "rows": rows,
        "neighbours": list(dict.fromkeys(name for row in rows for name in row["numbers"])),
        "hidden": max(len(runs) - MOST_LINES, 0),
    }


def _coordination(run: Run, result: CheckResult) -> dict[str, Any]:
    begin = "coordination_"
    numbers = {
        pair_name(key.removeprefix(begin).rpartition("_")[2]): value
        for key, value in result.numbers.items()
        if key.startswith(begin)
    }
    ion = pair_name(result.quantity.rpartition(" ")[2])
    return {"run": run.name, "ion": ion, "light": light_of([result]), "numbers": numbers}


SECTION = Section("Structure", collect)
