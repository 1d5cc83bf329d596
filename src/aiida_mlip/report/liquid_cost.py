"""What a look at liquids cost: steps per second of the dynamics, and the time of each check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from aiida_mlip.report.electrolyte import Dynamics, Liquids
from aiida_mlip.report.lights import title_of
from aiida_mlip.schema.dynamics import MDSettings


def dynamics_rows(liquids: Liquids) -> list[Mapping[str, Any]]:
    """Return for each potential and stage: walkers, steps, speed, wall time, and picoseconds in an hour."""
    return [_row(item) for item in liquids.dynamics]


def _row(item: Dynamics) -> Mapping[str, Any]:
    walkers = item.walkers.values()
    steps, seconds = sum(walker.steps for walker in walkers), sum(walker.seconds for walker in walkers)
    speed = steps / seconds if seconds > 0 else None
    timestep = _timestep(item)
    return {
        "potential": item.potential,
        "stage": item.stage,
        "walkers": len(item.walkers),
        "formulas": sorted({walker.formula for walker in walkers}),
        "steps": steps,
        "asked": sum(walker.asked_steps for walker in walkers),
        "stopped": sum(walker.stopped_by is not None for walker in walkers),
        "seconds": seconds or None,
        "speed": speed,
        "hour": speed * timestep * 3.6 if speed is not None and timestep is not None else None,
    }


def _timestep(item: Dynamics) -> float | None:
    """Return the time step [fs], or None where the settings are not in this database."""
    for label in ("md__settings", "settings"):
        found = item.node.base.links.get_incoming(link_label_filter=label).all_nodes()
        if found:
            return MDSettings(**found[0].get_dict()).timestep
    return None


def check_rows(liquids: Liquids) -> list[Mapping[str, Any]]:
    """Return for each check its CPU time over all trajectories, and the time for a frame; the longest first."""
    seconds: dict[str, float] = defaultdict(float)
    frames: dict[str, int] = defaultdict(int)
    for run in liquids.runs:
        for check, spent in run.findings.seconds.items():
            seconds[check] += spent
            frames[check] += run.findings.frames
    return [
        {
            "title": title_of(check),
            "seconds": spent,
            "frames": frames[check],
            "each": spent / frames[check] if frames[check] else None,
        }
        for check, spent in sorted(seconds.items(), key=lambda item: -item[1])
    ]
