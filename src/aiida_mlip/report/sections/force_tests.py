"""Tests of energies and forces without dynamics: volume scans, dimers, parity and errors by part."""

from __future__ import annotations

from typing import Any

from aiida_mlip.report import force_figures
from aiida_mlip.report.electrolyte import ForceTests
from aiida_mlip.report.numbers import plural
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject
from aiida_mlip.science.liquids.force_results import PARTS


def collect(subject: Subject) -> Content:
    """Return figures and tables; nothing where no tests were made."""
    forces = subject.liquids.forces if subject.liquids is not None else {}
    if not forces:
        return {}
    return {
        "names": list(forces),
        "scans": force_figures.volume_scans(forces),
        "dimers": force_figures.dimers(forces),
        "parity": force_figures.parity(forces),
        "errors": force_figures.errors_by_part(forces),
        "rows": _rows(forces),
        "wells": [
            {"potential": name, "scan": scan} for name, tests in forces.items() for scan in tests.result.scans
        ],
        "words": force_figures.WORDS,
        "counts": [_count(name, tests) for name, tests in forces.items()],
        "notes": list(dict.fromkeys(note for tests in forces.values() for note in tests.result.notes)),
    }  # fmt: skip


def _rows(forces: dict[str, ForceTests] | Any) -> list[dict[str, Any]]:
    """Return a row for each part with the errors of each potential."""
    made = []
    for part in PARTS:
        cells = []
        for tests in forces.values():
            found = {item.quantity: item for item in tests.result.errors if item.part == part}
            cells += [found.get("energy"), found.get("forces")]
        if any(cells):
            made.append({"part": part, "cells": cells})
    return made


def _count(name: str, tests: ForceTests) -> str:
    result = tests.result
    text = f"{name}: {plural(result.probes, 'probe')}"
    if result.failed_predicted:
        text += f", {result.failed_predicted} without a label"
    if result.failed_true:
        text += f", {result.failed_true} without one of the reference"
    if result.sigma_correlation is not None:
        text += f"; rank correlation of force uncertainty and error {result.sigma_correlation:.2f}"
    return text


SECTION = Section("Tests of forces", collect)
