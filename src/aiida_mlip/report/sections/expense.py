"""How many calls of the potentials the properties took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_mlip.report.gather import DEFECTS
from aiida_mlip.report.measured import Case, Measured, in_order
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return, for each property and case, calls, calls times atoms, seconds, and whether it came from the cache."""
    measured = subject.measured
    if measured is None or not any(case.records for case in measured.cases.values()):
        return {}
    cases = [case for element in measured.elements for case in measured.of_element(element)]
    names = in_order({name for case in cases for name in case.records})
    rows = [{"name": name, "cells": [_cell(case, name) for case in cases]} for name in names]
    return {
        "cases": [(case.element, case.potential) for case in cases],
        "rows": rows,
        "totals": [_total(case) for case in cases],
        "sum": _sum(measured),
        "cached": any(case.cached for case in cases),
    }


def _cell(case: Case, name: str) -> Mapping[str, Any] | None:
    record = case.records.get(name)
    if record is None:
        return None
    return {
        "calls": record.get("force_calls", 0),
        "atom_calls": record.get("atom_calls", 0),
        "seconds": record.get("seconds", 0.0),
        "cached": name in case.cached,
    }


def _total(case: Case) -> Mapping[str, float]:
    return {
        key: sum(record.get(key, 0) for record in case.records.values())
        for key in ("force_calls", "atom_calls", "seconds")
    }


def _sum(measured: Measured) -> Mapping[str, float]:
    totals = [_total(case) for case in measured.cases.values()]
    return {key: sum(total[key] for total in totals) for key in ("force_calls", "atom_calls", "seconds")}


SECTION = Section("Cost of each property", collect, applies=lambda subject: subject.kind == DEFECTS)
