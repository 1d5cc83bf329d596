"""The table of stop rules in the documentation names every rule, and its numbers are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from aiida_mlip.schema.dynamics import StopRule, StopRules
from aiida_mlip.schema.job import Task
from aiida_mlip.science.dynamics.stop_rules import BOND_FACTOR, temperature_factor
from aiida_mlip.worker.dynamics.integrators import INTEGRATORS


def test_rules_ensembles_and_limits(repository: Path) -> None:
    text = (repository / "docs/source/topics/dynamics.md").read_text(encoding="utf-8")
    rows = {match[1]: match[2] for match in re.finditer(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)}
    assert set(rows) == set(get_args(StopRule)) | set(INTEGRATORS)
    default = StopRules()
    assert f"below {default.distance} Å" in rows["distance"]
    assert f"{default.temperature:g} times" in rows["temperature"]
    assert "{:g} to {:g} times".format(*default.density) in rows["density"]
    off = {name for name, row in rows.items() if ", off" in row}
    assert off == {name for name in get_args(StopRule) if getattr(default, name, "on") is None}
    assert f"{BOND_FACTOR} sums of covalent radii" in text
    for atoms, factor in ((2, "14.9"), (4, "6.7"), (8, "4.1")):
        assert f"{temperature_factor(1.0, 3 * atoms - 3):.1f}" == factor
        assert f"{factor} for {atoms}" in text
    assert temperature_factor(3.0, 45) == 3.0 < temperature_factor(3.0, 39)


def test_the_page_of_the_worker_names_every_task(repository: Path) -> None:
    text = (repository / "docs/source/topics/worker.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `task` \| (.*) \|$", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(get_args(Task))
