"""mlip.md.base: a schedule that takes several jobs, and failures that are or are not repaired."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms
from ase.build import bulk

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.md_base import MDBaseWorkChain

Run = Callable[..., tuple[dict[str, Any], orm.WorkChainNode]]


def walkers(steps: int) -> dict[str, Any]:
    stage = {"steps": steps, "temperature": 500.0, "pressure": 1.0}
    return {"a": {"stages": [stage], "seed": 1}, "b": {"stages": [stage], "seed": 2}}


@pytest.fixture
def run(worker_code: orm.PortableCode, localhost: orm.Computer) -> Run:
    """A function that runs a chain for tungsten: ``options`` of the job, ``settings``, ``inputs`` of the chain."""
    known = {"architecture": "finnis_sinclair", "elements": ["W"]}
    facts = {**known, "r_max": 4.4, "dtype": "float64", "num_parameters": 0}
    potential = PotentialData(io.BytesIO(json.dumps(known).encode()), facts)
    cell = bulk("W", "bcc", a=3.2, cubic=True) * (2, 1, 1)
    cell.rattle(0.05, seed=1)

    def function(
        steps: int = 20, options: dict[str, Any] | None = None, structure: Atoms = cell, **inputs: Any
    ) -> tuple[dict[str, Any], orm.WorkChainNode]:
        given = {
            "code": worker_code,
            "metadata": {"computer": localhost, "options": options or {}},
            "settings": {"walkers": walkers(steps), "ensemble": {"kind": "npt"}, "stride": 50, "checkpoint_stride": 30},
            "potentials": {"member_00": potential},
            "structures": DatasetData([structure]),
        }
        outputs, node = run_get_node(MDBaseWorkChain, md=given, **inputs)
        return outputs, node

    return function


def jobs(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return sorted(node.called, key=lambda job: job.pk)


def test_a_job_that_was_killed_goes_on_and_the_trajectory_is_whole(run: Run, tmp_path: Path) -> None:
    """SIGTERM in the middle: the job writes a checkpoint; the second job makes the rest, bit for bit."""
    whole, node = run(800)
    assert node.is_finished_ok, node.exit_message
    once = tmp_path / "stopped"
    wait = """until grep -q '"steps":[1-9]' walkers.json; do sleep 0.05; done 2>/dev/null"""
    kill = f"[ -e {once} ] || {{ touch {once}; ({wait}; pkill -TERM -P $$ -f mlip-worker) & }}"
    broken, node = run(800, options={"prepend_text": kill})
    assert node.is_finished_ok, node.exit_message
    first, second = jobs(node)
    assert [first.exit_status, second.exit_status] == [400, 0]
    assert second.inputs.restart_folder.uuid == first.outputs.remote_folder.uuid
    for name in walkers(1):
        assert broken["trajectories"][name].content == whole["trajectories"][name].content
        assert len(broken["trajectories"][name]) == 17
        assert broken["results"]["walkers"][name]["force_calls"] == 801
        for column in whole["series"][name].get_arraynames():
            parts = [found["series"][name].get_array(column).tobytes() for found in (whole, broken)]
            assert parts[0] == parts[1]


def test_time_for_nothing_says_so(run: Run) -> None:
    many = bulk("W", "bcc", a=3.2, cubic=True) * (25, 25, 25)  # one step takes longer than the time on any machine
    _, node = run(10**8, options={"max_wallclock_seconds": 1}, structure=many)
    assert [job.exit_status for job in jobs(node)] == [401]
    assert node.exit_status == 452


def test_no_stable_step_ends_the_chain_with_its_frames(run: Run) -> None:
    atoms = Atoms("W2", positions=[[0, 0, 0], [0, 0, 0.4]], cell=[4, 5, 6], pbc=True)
    outputs, node = run(structure=atoms)
    assert node.exit_status == 420
    assert len(outputs["trajectories"]["a"]) == 1


def test_a_job_that_is_lost_is_submitted_again_once(run: Run) -> None:
    _, node = run(options={"prepend_text": "exit 1"})
    assert [job.exit_status for job in jobs(node)] == [300, 300]
    assert node.exit_status == 455


def test_what_the_worker_refuses_is_not_tried_again(run: Run) -> None:
    _, node = run(options={"prepend_text": "echo '{' > job.json"})
    assert [job.exit_status for job in jobs(node)] == [310]
    assert node.exit_status == 450


@pytest.mark.parametrize(
    ("words", "statuses"),
    [("slurmstepd: error: Detected 1 oom_kill event", [340]), ("Killed", [340, 340])],
    ids=["memory", "signal 9"],
)
def test_out_of_memory_stops_the_chain(run: Run, words: str, statuses: list[int]) -> None:
    """Where only signal 9 is known, which anybody may have sent, it is tried once more."""
    _, node = run(options={"prepend_text": f"bash -c 'kill -9 $$'; echo '{words}'; exit 137"})
    assert [job.exit_status for job in jobs(node)] == statuses
    assert node.exit_status == 453
