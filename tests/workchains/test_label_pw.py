"""``mlip.label.pw`` with the real pw.x, whose jobs are really killed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_mlip.schema.labelling import LABEL_EXTRA
from aiida_mlip.workchains.label_pw import PwLabelWorkChain


def label(pw: ModuleType, code: orm.InstalledCode, **options: Any) -> orm.WorkChainNode:
    """Label a strained primitive cell of aluminium."""
    atoms = bulk("Al", "fcc", a=4.0)
    inputs = pw.pw_inputs(code, "Al", **options)
    inputs["pw"]["structure"] = orm.StructureData(ase=atoms)
    return run_get_node(PwLabelWorkChain, address="here", **inputs)[1]


def runs(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return sorted((child for child in node.called if isinstance(child, orm.CalcJobNode)), key=lambda job: job.pk)


def before_pw(folder: Path, lines: str) -> str:
    """A program that runs some lines, with `$PW` the real one, and then pw.x."""
    script = folder / "pw_with_accident.sh"
    script.write_text(f'#!/bin/bash\n{lines}\nexec pw.x "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_a_killed_run_is_submitted_again_once(pw: ModuleType, localhost: orm.Computer, tmp_path: Path) -> None:
    """Signal 9 while pw.x runs, the first time; the address is on the run that made the label, and on no other."""
    once = tmp_path / "killed"
    kill = f'[ -e {once} ] || {{ touch {once}; pw.x "$@" & sleep 0.15; kill -9 $!; wait $!; exit 137; }}'
    node = label(pw, pw.pw_code(localhost, before_pw(tmp_path, kill)))
    first, second = runs(node)
    assert first.exit_status in (303, 305, 312)
    assert second.is_finished_ok
    assert node.is_finished_ok, node.exit_message
    assert LABEL_EXTRA not in first.base.extras.all
    assert second.base.extras.get(LABEL_EXTRA) == "here"


@pytest.mark.slow
def test_a_run_out_of_time_is_continued(pw: ModuleType, localhost: orm.Computer) -> None:
    """pw.x stops itself near the end of its wall time, and goes on from its files in the next job."""
    inputs = pw.pw_inputs(pw.pw_code(localhost), "Al", max_wallclock_seconds=2)
    atoms = bulk("Al", "fcc", a=4.0, cubic=True)
    atoms.rattle(0.1, seed=4)
    parameters = inputs["pw"]["parameters"].get_dict()
    parameters["SYSTEM"] |= {"ecutwfc": 16.0}
    inputs["pw"] |= {"structure": orm.StructureData(ase=atoms), "parameters": orm.Dict(parameters)}
    inputs |= {"kpoints_distance": orm.Float(0.2), "max_iterations": orm.Int(30)}
    node = run_get_node(PwLabelWorkChain, address="long", **inputs)[1]
    assert node.is_finished_ok, node.exit_message
    *stopped, last = runs(node)
    assert stopped
    assert {run.exit_status for run in stopped} == {400}
    assert [LABEL_EXTRA in run.base.extras.all for run in (*stopped, last)] == [False] * len(stopped) + [True]


def test_a_run_that_is_killed_twice_is_given_up(pw: ModuleType, localhost: orm.Computer, tmp_path: Path) -> None:
    node = label(pw, pw.pw_code(localhost, before_pw(tmp_path, "kill -9 $$")))
    assert len(runs(node)) == 2
    assert node.exit_status == 455
    assert "PwCalculation" in node.exit_message
