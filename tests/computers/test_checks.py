"""Trying out a computer: real jobs on this machine, in a temporary profile."""

from __future__ import annotations

from aiida_mlip.computers.checks import CHECKS, try_out
from aiida_mlip.computers.codes import register_worker
from aiida_mlip.computers.config import Worker
from aiida_mlip.computers.register import register_computer


def outcomes(computer, worker, **options) -> dict:
    """Run the checks; name -> outcome."""
    return {outcome.name: outcome for outcome in try_out(computer, worker, **options)}


def test_this_machine_passes_every_check_and_is_left_clean(localhost, worker_code, tmp_path):
    found = outcomes(localhost, worker_code, job=True, job_wait=120)
    assert set(found) == {"connection", *CHECKS}
    assert {name: outcome.message for name, outcome in found.items() if not outcome.ok} == {}
    assert "mace-torch 0.3.16" in found["job"].message
    assert list((tmp_path / "work").iterdir()) == []


def test_an_environment_without_mace_is_reported_and_the_other_checks_go_on(localhost, worker_zipapp):
    bare = register_worker(localhost, Worker(activate="export PATH=/usr/bin:/bin", threads=1), worker_zipapp)
    found = outcomes(localhost, bare, job=False)
    assert [name for name, outcome in found.items() if not outcome.ok] == ["python"]
    assert "mace-torch" in found["python"].message or "3.11" in found["python"].message


def test_an_activation_that_fails_is_quoted(localhost, worker_zipapp):
    broken = register_worker(localhost, Worker(activate="exit 3", threads=1), worker_zipapp)
    found = outcomes(localhost, broken, job=True, job_wait=30)
    assert "printed no report" in found["python"].message
    assert "printed no report" in found["job"].message


def test_a_queue_that_is_not_there_is_reported(clean_profile, worker_zipapp, tmp_path, slurm_config):
    computer = register_computer(slurm_config(work_dir=str(tmp_path / "work")))
    worker = register_worker(computer, slurm_config().worker, worker_zipapp)
    found = outcomes(computer, worker, job=False)
    assert found["connection"].ok
    assert not found["queue"].ok
    assert "squeue" in found["queue"].message


def test_a_host_that_cannot_be_reached_is_one_failed_check(clean_profile, worker_zipapp, slurm_config):
    transport = {"kind": "core.ssh", "username": "nobody", "timeout": 5}
    computer = register_computer(slurm_config(hostname="no-such-host.invalid", transport=transport))
    worker = register_worker(computer, slurm_config().worker, worker_zipapp)
    found = outcomes(computer, worker, job=False)
    assert [outcome.ok for outcome in found.values()] == [False]
    assert set(found) == {"connection"}
