"""Errors on the hold-out set by generation, of each member and of the committee."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida_mlip.report import loop_figures
from aiida_mlip.report.loop import Loop
from aiida_mlip.report.numbers import QUANTITIES
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return the figure, and the errors by configuration type of the first and of each later generation."""
    loop = subject.loop
    if loop is None or not loop.measured:
        return {}
    return {
        "figure": loop_figures.errors(loop),
        "generations": [item.number for item in loop.measured],
        "tables": list(_tables(loop)),
        "several": any(len(item.members) > 1 for item in loop.measured),
        "frames": loop.measured[-1].table().get("all", {}).get("frames", 0),
        "measured_on": loop.measured[-1].measured_on,
    }


def _tables(loop: Loop) -> Iterator[Mapping[str, Any]]:
    """Yield, for each kind of label, its error in every generation: all, by configuration type, by member."""
    last = loop.measured[-1].table()
    types = sorted({name for item in loop.measured for name in item.table().get("config_types", {})})
    members = list(dict.fromkeys(name for item in loop.measured for name in item.members))
    for key in QUANTITIES:
        if key not in last.get("all", {}):
            continue
        rows = [_line("all", [item.error(key) for item in loop.measured], last.get("all", {}), total=True)]
        for name in types:
            cells = [item.table().get("config_types", {}).get(name, {}) for item in loop.measured]
            numbers = [cell.get(key, {}).get("rmse") for cell in cells]
            rows.append(_line(name, numbers, last.get("config_types", {}).get(name, {})))
        if len(members) > 1:
            rows += [
                _line(name.replace("_", " "), [item.error(key, name) for item in loop.measured], {}, member=True)
                for name in members
            ]
        yield {"key": key, "rows": rows}


def _line(
    name: str, numbers: list[float | None], cell: Mapping[str, Any], *, total: bool = False, member: bool = False
) -> Mapping[str, Any]:
    return {"name": name, "numbers": numbers, "frames": cell.get("frames", ""), "total": total, "member": member}


SECTION = Section("Errors by generation", collect)
