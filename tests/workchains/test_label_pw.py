"""``mlip.label.pw`` with the real pw.x, whose jobs are really killed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

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


def test_a_run_that_is_killed_twice_is_given_up(pw: ModuleType, localhost: orm.Computer, tmp_path: Path) -> None:
    node = label(pw, pw.pw_code(localhost, before_pw(tmp_path, "kill -9 $$")))
    assert len(runs(node)) == 2
    assert node.exit_status == 455
    assert "PwCalculation" in node.exit_message
