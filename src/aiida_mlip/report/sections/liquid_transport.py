"""How molecules move: mean squared displacements, whether they diffuse yet, and how fast."""

from __future__ import annotations

from dataclasses import replace

from aiida_mlip.report import lights
from aiida_mlip.report.electrolyte import Run
from aiida_mlip.report.liquid_structure_figures import displacements
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject
from aiida_mlip.science.liquids.findings import CheckResult


def collect(subject: Subject) -> Content:
    """Return the figure and what the check says."""
    liquids = subject.liquids
    if liquids is None:
        return {}
    runs = [run for run in liquids.telling() if "transport_lag_ps" in run.curves]
    quantities: dict[str, None] = {}
    for run in liquids.runs:
        quantities |= dict.fromkeys(result.quantity for result in run.results("transport"))
    rows = [
        {"name": run.name, "lights": _lights(run, list(quantities))} for run in liquids.runs if run.results("transport")
    ]
    made = displacements(liquids, runs) if runs else None
    if made is None and not rows:
        return {}
    return {"figure": made, "rows": rows, "quantities": [lights.readable(name) for name in quantities]}


def _lights(run: Run, quantities: list[str]) -> list[lights.Light | None]:
    """Return a light for each quantity; what is missing is said once."""
    found = {result.quantity: _light(result) for result in run.results("transport")}
    shown: list[lights.Light | None] = []
    told: set[str] = set()
    for name in quantities:
        light = found.get(name)
        if light is not None and light.missing in told:
            light = replace(light, missing="")
        told |= {light.missing} if light is not None else set()
        shown.append(light)
    return shown


def _light(result: CheckResult) -> lights.Light:
    """Return a light that says the diffusion coefficient in an infinite box too, where that is known."""
    light, corrected = lights.light_of([result]), result.numbers.get("corrected")
    if not isinstance(corrected, int | float):
        return light
    return replace(light, several=f"{lights.with_error(corrected, result.error, result.unit)} in an infinite box")


SECTION = Section("Transport", collect)
