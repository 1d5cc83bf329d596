"""What runs, how far it is, and how long it takes: on processes whose states are set by hand."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiida import orm
from aiida.common.datastructures import CalcJobState
from aiida.schedulers.datastructures import JobState
from rich.console import Console

from aiida_mlip.provenance.cases import cases_text
from aiida_mlip.provenance.estimate import time_left
from aiida_mlip.provenance.progress import last_progress, parse_last, progress_of
from aiida_mlip.provenance.show import clock, duration, overview, progress_text, table
from aiida_mlip.provenance.status import State, finished_since, running, state_of
from aiida_mlip.provenance.watch import Changes, watch
from aiida_mlip.schema.job import PROGRESS_FILE, Progress

START = datetime(2026, 1, 1, tzinfo=UTC)


def line(stage: str, step: int, total: int, **metrics: float) -> str:
    return Progress(time=1.0, stage=stage, step=step, total=total, eta=7.0, metrics=metrics).model_dump_json()


def state(step: str = "", *, active: bool = True, seconds: float = 0.0, eta: float | None = None, children=(), pk=1):
    progress = Progress(time=0.0, stage="training", step=1, total=4, eta=eta) if eta is not None else None
    return State(
        pk=pk, name="Process", label="", step=step, state="running" if active else "finished", detail="",
        exit_status=None if active else 0, exit_message="", started=START, changed=START + timedelta(seconds=seconds),
        progress=progress, children=tuple(children),
    )  # fmt: skip


@pytest.fixture
def job(clean_profile, graphs, aiida_localhost, tmp_path):
    """A fine-tuning whose training job is running in ``tmp_path``."""
    foundation = graphs.potential("foundation").store()
    chain = graphs.start(
        orm.WorkChainNode, "FinetuneWorkChain", {"potential": foundation}, kind="aiida.workflows:mlip.finetune"
    )
    train = graphs.start(
        orm.CalcJobNode, "TrainCalculation", {"potential": foundation}, kind="aiida.calculations:mlip.train",
        caller=chain, step="train_00", computer=aiida_localhost,
    )  # fmt: skip
    train.set_remote_workdir(str(tmp_path))
    train.set_scheduler_state(JobState.RUNNING)
    return train


def test_the_last_line_of_a_running_job_is_read_through_its_transport(job, tmp_path):
    path = tmp_path / PROGRESS_FILE
    path.write_text(line("setup", 0, 0) + "\n" + line("training", 3, 40, loss=0.5) + "\n")
    progress = last_progress(job)
    assert progress is not None
    assert (progress.stage, progress.step, progress.metrics) == ("training", 3, {"loss": 0.5})


def test_a_line_that_is_being_written_is_skipped():
    whole = line("training", 3, 40)
    found = parse_last(whole + "\n" + whole[: len(whole) // 2])
    assert found is not None
    assert found.step == 3
    assert parse_last("") is None
    assert parse_last('{"time": 1}') is None


def test_a_long_file_is_read_from_its_end(job, tmp_path):
    lines = "\n".join(line("training", i, 5000, loss=0.1, rmse_forces=0.2) for i in range(5000))
    (tmp_path / PROGRESS_FILE).write_text(lines + "\n")
    progress = last_progress(job)
    assert progress is not None
    assert progress.step == 4999


def test_no_file_no_folder_and_no_computer_give_no_progress(job, graphs):
    assert last_progress(job) is None
    job.set_remote_workdir("/nowhere/at all")
    assert last_progress(job) is None
    assert progress_of([orm.CalcJobNode()]) == {}


def test_running_work_is_one_tree_with_the_progress_inside(job, tmp_path, graphs):
    (tmp_path / PROGRESS_FILE).write_text(line("training", 10, 40, rmse_energy=0.0042, train_loss=0.3) + "\n")
    graphs.end(graphs.start(orm.CalcJobNode, "TrainCalculation", kind="aiida.calculations:mlip.train"))
    graphs.start(orm.CalcJobNode, "PwCalculation", kind="aiida.calculations:quantumespresso.pw")
    (top,) = running()
    assert top.name == "FinetuneWorkChain"
    (child,) = top.children
    assert (child.pk, child.step, child.detail) == (job.pk, "train_00", "running")
    assert child.progress is not None
    assert child.progress.step == 10
    assert time_left(top) == 7.0
    text = rendered(overview([top], []))
    assert "train_00" in text
    assert "training 10/40" in text
    assert "E 4.2 meV/atom" in text
    assert "~0:07" in text


def test_what_ended_is_listed_with_the_message_of_its_exit_code(clean_profile, graphs):
    failed = graphs.start(orm.CalcJobNode, "TrainCalculation", kind="aiida.calculations:mlip.train")
    graphs.end(failed, status=430, message="The training diverged at epoch 3.")
    (found,) = finished_since(timedelta(days=1))
    assert (found.pk, found.exit_status, found.failed) == (failed.pk, 430, True)
    text = rendered(table([found]))
    assert "exit code 430" in text
    assert "diverged at epoch 3" in text
    assert finished_since(timedelta(days=-1)) == ()
    assert running() == ()
    assert "nothing is running" in rendered(overview([], []))


def test_a_killed_process_says_who_killed_it(clean_profile, graphs):
    node = graphs.start(orm.WorkChainNode, "FinetuneWorkChain", kind="aiida.workflows:mlip.finetune")
    node.set_process_state("killed")
    node.set_process_status("Killed through `verdi process kill`")
    node.seal()
    text = rendered(table([state_of(node)]))
    assert "killed" in text
    assert "Killed through `verdi process kill`" in text


def test_a_long_exception_leaves_the_other_columns_their_width(clean_profile, graphs):
    node = graphs.start(orm.WorkChainNode, "DefectsWorkChain", kind="aiida.workflows:mlip.defects")
    node.set_process_state("excepted")
    node.set_exception("ImportError: cannot import name 'crystal_energy' from '/a/long/path/to/site-packages/x.py'\n")
    node.seal()
    text = rendered(table([state_of(node)]), width=80)
    assert f"DefectsWorkChain {node.pk}  excepted" in text
    assert "site-packages" in text


@pytest.mark.parametrize(
    ("job", "scheduler", "shown"),
    [
        ("uploading", None, "uploading"),
        ("unstashing", None, "submitting"),
        ("withscheduler", None, "submitted"),
        ("withscheduler", JobState.QUEUED, "queued"),
        ("withscheduler", JobState.DONE, "done"),
        ("stashing", JobState.DONE, "retrieving"),
        ("parsing", JobState.DONE, "parsing"),
    ],
)
def test_a_job_says_where_it_is(clean_profile, graphs, job, scheduler, shown):
    node = graphs.start(orm.CalcJobNode, "PropertyCalculation", kind="aiida.calculations:mlip.property")
    node.set_state(CalcJobState(job))
    if scheduler is not None:
        node.set_scheduler_state(scheduler)
    assert state_of(node).detail == shown


def test_a_label_that_repeats_the_step_is_printed_once():
    assert rendered(table([replace(state("vacancy_W"), label="vacancy_W")])).count("vacancy_W") == 1
    assert "by hand" in rendered(table([replace(state("vacancy_W"), label="by hand")]))


def test_a_work_chain_takes_as_long_as_its_slowest_member_and_what_comes_again():
    before = state("baseline_evaluation", active=False, seconds=50)
    other = state("baseline_properties", active=False, seconds=80)
    slow, fast = state("train_00", eta=300.0), state("train_01", eta=100.0)
    assert time_left(state(children=[before, other, slow, fast])) == 380.0
    done = state("train_00", active=False, seconds=9)
    after = state("properties_00", eta=20.0)
    assert time_left(state(children=[before, other, done, after, state("evaluation_00", eta=5.0)])) == 20.0


def test_where_nothing_tells_the_time_left_none_is_given():
    assert time_left(state()) is None
    assert time_left(state(children=[state("train_00")])) is None
    assert time_left(state(active=False)) == 0.0


def test_lines_are_printed_only_when_something_changes():
    changes = Changes(every=1e9)
    assert len(changes.lines(state("train_00", eta=10.0))) == 1
    assert changes.lines(state("train_00", eta=9.0)) == []
    (last,) = changes.lines(state("train_00", active=False, seconds=61))
    assert last == "train_00<1> finished after 1 min 01 s"


def test_progress_is_printed_again_after_a_while():
    changes = Changes(every=0.0)
    changes.lines(state("train_00", eta=10.0))
    (again,) = changes.lines(state("train_00", eta=9.0))
    assert again == "train_00<1> training 1/4 · about 9 s left"


def test_watching_ends_with_the_process(clean_profile, graphs):
    node = graphs.start(orm.WorkChainNode, "FinetuneWorkChain", kind="aiida.workflows:mlip.finetune")
    graphs.end(node, status=700, message="Finished, but worse.")
    console = Console(record=True, width=200, force_terminal=False, file=io.StringIO())
    last = watch(node, console, interval=0.01)
    assert last.exit_status == 700
    assert "exit code 700: Finished, but worse." in console.export_text()


@pytest.mark.parametrize("terminal", [True, False])
def test_watching_can_be_limited_in_time(clean_profile, graphs, terminal):
    node = graphs.start(orm.WorkChainNode, "FinetuneWorkChain", kind="aiida.workflows:mlip.finetune")
    console = Console(width=120, force_terminal=terminal, file=io.StringIO())
    began = time.monotonic()
    assert watch(node, console, interval=0.01, timeout=0.05).active
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (-3, "0 s")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (200, "3:20"), (7500, "2:05:00")])
def test_clocks(seconds, text):
    assert clock(seconds) == text


def test_a_metric_nobody_knows_is_printed_as_it_is():
    progress = Progress.model_validate(json.loads(line("x", 0, 0, temperature=300.0, pt_head_rmse_forces=0.0614)))
    assert progress_text(progress) == "x · temperature 300 · pt_head F 61.4 meV/Å"


def rendered(what, width: int = 200) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_an_evaluation_of_defects_says_how_far_each_case_is() -> None:
    """One name of a potential ends like another; settings are no jobs."""
    job = state("iteration_01")
    chain = [
        state("bulk_b_W", active=False, children=[job], pk=2),
        state("bulk_a_b_W", active=False, children=[job], pk=3),
        state("bulk_settings", active=False, pk=4),
        state("settings_a_b_W", active=False, pk=5),
        state("vacancy_a_b_W", active=False, children=[job], pk=6),
        state("gamma_line_a_b_W", children=[job], pk=7),
        replace(state("vacancy_b_W", active=False, children=[job], pk=8), exit_status=710),
    ]
    evaluation = replace(state(children=chain), name="DefectsWorkChain")
    assert cases_text(evaluation) == "b_W: 1 done, 1 failed\na_b_W: 2 done, 1 running"
    assert cases_text(state(children=chain)) == ""
