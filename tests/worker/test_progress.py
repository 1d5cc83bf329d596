import json
import math
import time

from aiida_mlip.schema.job import Progress
from aiida_mlip.worker.progress import Reporter


def lines(path):
    return [Progress.model_validate_json(line) for line in path.read_text().splitlines()]


def test_first_and_last_step_are_always_written(tmp_path):
    reporter = Reporter(tmp_path / "p", interval=1000)
    reporter.stage("work", 3)
    for step in (1, 2, 3):
        reporter.update(step)
    assert [line.step for line in lines(tmp_path / "p")] == [0, 3]


def test_the_time_left_counts_only_what_this_job_did(tmp_path):
    reporter = Reporter(tmp_path / "p", interval=0)
    reporter.stage("work", 110, done=100)
    time.sleep(0.2)
    reporter.update(102)
    eta = lines(tmp_path / "p")[-1].eta
    assert 0.7 < eta < 3.0  # eight steps more at 0.1 s each


def test_metrics_that_are_not_finite_are_left_out_and_the_last_ones_stay(tmp_path):
    reporter = Reporter(tmp_path / "p", interval=0)
    reporter.stage("work", 3)
    reporter.update(1, {"loss": 2.5, "rmse": math.nan})
    reporter.update(2)
    assert lines(tmp_path / "p")[-1].metrics == {"loss": 2.5}
    reporter.stage("more")
    assert lines(tmp_path / "p")[-1].metrics == {}


def test_stages_are_timed_and_a_repeated_one_adds_up(tmp_path):
    reporter = Reporter(tmp_path / "p")
    for name in ("a", "b", "a"):
        reporter.stage(name)
        time.sleep(0.05)
    timings = reporter.timings
    assert set(timings) == {"a", "b"}
    assert timings["a"] > timings["b"] >= 0.05


def test_every_line_is_json_by_itself(tmp_path):
    reporter = Reporter(tmp_path / "p")
    reporter.stage("work\nwith a line break", 1)
    assert json.loads((tmp_path / "p").read_text())["stage"] == "work\nwith a line break"
