"""``mlip.liquid.base`` with real jobs, in which each failure is brought about for real."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.workchains.liquid_base import LiquidBaseWorkChain

Run = Callable[..., tuple[dict[str, Any], orm.WorkChainNode]]

STOP = "(until [ -e findings/short.json ]; do sleep 0.05; done; pkill -TERM -P $me -f mlip-worker) &"
"""End the worker when it has read the first walker."""


@pytest.fixture
def run(worker_code: orm.PortableCode, localhost: orm.Computer, emt_trajectory: Callable[..., str]) -> Run:
    """A function that reads trajectories: ``repeats`` of the short one are the long one; options of the job."""
    text = emt_trajectory(300, 20)

    def function(repeats: int = 1, *names: str, **options: Any) -> tuple[dict[str, Any], orm.WorkChainNode]:
        texts = {name: text * (1 if name == "short" else repeats) for name in names or ("short", "very_long")}
        trajectories = {name: MDTrajectoryData(io.BytesIO(item.encode())) for name, item in texts.items()}
        facts = {"ensemble": "nvt", "temperature": 300.0}
        given = {
            "code": worker_code,
            "metadata": {"computer": localhost, "options": options},
            "settings": {"walkers": dict.fromkeys(texts, facts), "only": ["transport"], "keep_frames": 3},
            "structures": DatasetData([next(iter(trajectories["very_long"].frames()))]),
            "trajectories": trajectories,
        }
        outputs, node = run_get_node(LiquidBaseWorkChain, liquid=given)
        return outputs, node

    return function


def jobs(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return sorted(node.called, key=lambda job: job.pk)


def test_a_job_that_was_ended_goes_on_with_what_is_left(run: Run, tmp_path: Path) -> None:
    once = tmp_path / "ended"
    end = f"me=$$; [ -e {once} ] || {{ touch {once}; {STOP} }}"
    outputs, node = run(repeats=400, prepend_text=end)
    assert node.is_finished_ok, node.exit_message
    first, second = jobs(node)
    assert first.exit_status == 400
    assert set(first.outputs.results["walkers"]) == {"short"}
    assert len(first.outputs.frames) == 3
    assert second.inputs.restart_folder.uuid == first.outputs.remote_folder.uuid
    walkers = outputs["results"]["walkers"]
    assert set(walkers) == {"short", "very_long"}
    assert walkers["short"] == first.outputs.results["walkers"]["short"]
    assert walkers["very_long"]["frames"] == 8000
    assert len(outputs["frames"]) == 6


def test_a_job_that_is_lost_is_submitted_again_once(run: Run) -> None:
    _, node = run(prepend_text="exit 1")
    assert [job.exit_status for job in jobs(node)] == [300, 300]
    assert node.exit_status == 455


@pytest.mark.slow
def test_a_trajectory_that_is_too_long_for_every_job_ends_the_chain_with_the_others(run: Run) -> None:
    outputs, node = run(repeats=5000, prepend_text=f"me=$$; {STOP}")
    assert [job.exit_status for job in jobs(node)] == [400, 400]
    assert node.exit_status == 451
    assert set(outputs["results"]["walkers"]) == {"short"}


@pytest.mark.slow
def test_what_was_found_by_a_job_that_was_killed_is_kept(run: Run, tmp_path: Path) -> None:
    """Signal 9 leaves no result; findings on the disk become nodes, and the next job goes on from them."""
    once = tmp_path / "killed"
    kill = STOP.replace("-TERM", "-9")
    outputs, node = run(repeats=400, prepend_text=f"me=$$; [ -e {once} ] || {{ touch {once}; {kill} }}")
    first, *_ = jobs(node)
    assert first.exit_status in (300, 340)
    assert set(first.outputs.results["walkers"]) == {"short"}
    assert node.is_finished_ok, node.exit_message
    assert set(outputs["results"]["walkers"]) == {"short", "very_long"}


@pytest.mark.slow
def test_time_for_nothing_says_so(run: Run) -> None:
    _, node = run(5000, "very_long", max_wallclock_seconds=1)
    assert [job.exit_status for job in jobs(node)] == [401]
    assert node.exit_status == 452


@pytest.mark.slow
def test_what_the_worker_refuses_is_not_tried_again(run: Run) -> None:
    _, node = run(prepend_text="echo '{' > job.json")
    assert [job.exit_status for job in jobs(node)] == [310]
    assert node.exit_status == 450


@pytest.mark.slow
def test_out_of_memory_stops_the_chain(run: Run) -> None:
    words = "slurmstepd: error: Detected 1 oom_kill event"
    _, node = run(prepend_text=f"bash -c 'kill -9 $$'; echo '{words}'; exit 137")
    assert [job.exit_status for job in jobs(node)] == [340]
    assert node.exit_status == 453
