"""A loop whose daemon, dynamics and own process are killed, and what is left of each when it has ended."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from aiida import orm

from aiida_mlip.cli._daemon import idle_reason
from aiida_mlip.schema.iterative import History
from aiida_mlip.science import keys

pytestmark = pytest.mark.slow

MOMENTS = 3
"""Kills of the daemon at random moments, besides those that are timed."""


class Story(NamedTuple):
    """What happened: the loop, killed in its second generation, and the one that went on from it."""

    first: orm.WorkChainNode
    second: orm.WorkChainNode
    kills: int


@pytest.fixture(scope="module")
def story(house: Any, loop: Any, look: ModuleType) -> Iterator[Story]:
    first = house.submit(loop())
    _kill_within_a_step(house, look, first)
    _kill_while_a_job_runs(house, look, first, "g01_train_00")
    moments = random.Random(7)
    for _ in range(MOMENTS):
        time.sleep(moments.uniform(1.0, 8.0))
        house.kill()
        house.start()
    house.until(lambda: look.called(first, "g02_train_00"), "the second generation", first)
    house.verdi("process", "kill", str(first.pk))
    house.wait(first)
    second = house.submit(loop(previous=first))
    _kill_dynamics(house, look, second)
    house.wait(second)
    return Story(first, second, house.killed)


def _kill_within_a_step(house: Any, look: ModuleType, node: orm.WorkChainNode) -> None:
    """Kill the daemon when the first member of the committee was submitted, and the second one was not."""
    house.until(lambda: look.called(node, "start_history"), "the first history", node)
    daemon = house.daemon()
    house.until(lambda: look.called(node, "g01_train_00"), "the first training", node)
    house.kill(daemon)
    assert look.called(node, "g01_train_01") is None
    house.start()


def _kill_while_a_job_runs(house: Any, look: ModuleType, node: orm.WorkChainNode, step: str) -> None:
    house.until(lambda: (job := look.job_of(node, step)) and house.program("python", job), f"{step} runs", node)
    house.kill()
    house.start()


def _kill_dynamics(house: Any, look: ModuleType, node: orm.WorkChainNode) -> None:
    """Kill the program of the dynamics when it has written its first checkpoint."""

    def job_with_checkpoint() -> orm.CalcJobNode | None:
        job = look.job_of(node, "g02_md")
        folder = job.get_remote_workdir() if job is not None else None
        return job if folder and (Path(folder) / "walkers.json").is_file() else None

    job = house.until(job_with_checkpoint, "the dynamics", node)
    assert house.kill_program("python", job)


def test_the_loop_ends_as_if_nothing_had_happened(story: Story, look: ModuleType) -> None:
    assert story.first.is_killed
    assert story.second.exit_status == 705, look.ending(story.second)
    assert story.kills == MOMENTS + 2
    history = History(**story.second.outputs.history.get_dict())
    assert [record.generation for record in history.generations] == [1, 2]
    assert history.ended == "max_generations"
    for item in (item for record in history.generations for item in record.survival):
        assert item.survived_ps == pytest.approx(item.asked_ps), item


def test_nothing_is_computed_twice(story: Story, look: ModuleType) -> None:
    """Jobs that ended well, of both runs together: as many as one loop needs."""
    done = look.finished(story.first, story.second)
    assert done["TrainCalculation"] == 4
    assert done["EvaluateCalculation"] == 4
    assert done["UncertaintyCalculation"] == 2
    assert done["MDCalculation"] == 2
    assert done["SelectCalculation"] == 2
    assert done["LabelCalculation"] == 2
    dynamics = [job for job in look.jobs(story.second) if job.process_label == "MDCalculation"]
    assert [job.exit_status for job in sorted(dynamics, key=lambda job: job.pk)] == [340, 0]


def test_nothing_is_labelled_twice(story: Story, look: ModuleType) -> None:
    assert set(look.labels_made().values()) == {1}
    history = History(**story.second.outputs.history.get_dict())
    assert history.labels_used == sum(look.labels_made().values())
    assert history.start["reused"] == 0


def test_nothing_is_left_behind(story: Story, house: Any, look: ModuleType) -> None:
    """What a kill interrupted within a step may be listed as active for ever; the remedy of the manual ends it."""
    assert not look.excepted()
    left = look.active()
    assert all(isinstance(node, orm.CalcFunctionNode) for node in left), left
    said = house.repair()
    house.until(lambda: not look.active(), f"the end of what was revived: {said}")
    assert {node.pk for node in look.excepted()} == {node.pk for node in left}
    assert not house.processes()


def test_an_undisturbed_twin_finds_every_label(story: Story, house: Any, loop: Any, look: ModuleType) -> None:
    """The same seeds and no kill: the same frames to the last bit, so that all of its labels exist already."""
    twin = house.submit(loop())
    house.wait(twin)
    assert twin.exit_status == 705, look.ending(twin)
    assert look.finished(twin)["LabelCalculation"] == 0
    ours, theirs = story.second.outputs.training_set, twin.outputs.training_set
    assert len(ours) == len(theirs)
    for one, other in zip(ours.frames(), theirs.frames(), strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        assert one.info[keys.SOURCE] == other.info[keys.SOURCE]


def test_a_daemon_whose_broker_died_is_named_and_restarted(house: Any) -> None:
    """Circus starts another broker elsewhere, and the worker looks for the one that is dead."""
    broker = next(process for process in house.daemon() if "broker" in process.cmdline())
    broker.kill()
    house.until(lambda: "daemon restart" in (idle_reason() or ""), "the reason why nothing advances", seconds=60.0)
    house.verdi("daemon", "restart")
    assert house.works(60.0)
    assert idle_reason() is None
