"""A real SLURM takes the jobs that the computer files describe."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory

from aiida_mlip.computers.checks import try_out
from aiida_mlip.computers.codes import register_installed, register_worker
from aiida_mlip.computers.config import InstalledCode
from aiida_mlip.computers.defaults import job_options
from aiida_mlip.computers.register import register_computer

pytestmark = pytest.mark.slow


@pytest.fixture
def computer(slurm, clean_profile, slurm_config, tmp_path):
    """The cluster as a computer with the environment of the tests; returns a factory of computer and worker."""

    def factory(**jobs):
        config = slurm_config(
            work_dir=str(tmp_path / "work"),
            poll_interval=0.5,
            jobs={"cpus": 2, "memory_gb": 1, "walltime": "00:05:00", "queue": "short"} | jobs,
            worker={"activate": f"export PATH={Path(sys.executable).parent}:$PATH"},
        )
        registered = register_computer(config)
        return registered, register_worker(registered, config.worker)

    return factory


def failures(computer, worker) -> dict[str, str]:
    """Run all checks; name -> message of those that fail."""
    return {found.name: found.message for found in try_out(computer, worker, job=True, job_wait=120) if not found.ok}


def test_a_cluster_passes_every_check_with_a_job_through_its_queue(computer):
    assert failures(*computer()) == {}


def test_a_gpu_that_is_asked_for_and_not_seen_is_reported(computer):
    found = failures(*computer(device="cuda", gpus=1))
    assert set(found) == {"job"}
    assert "torch sees no GPU in a job" in found["job"]


def test_a_request_that_the_site_refuses_is_reported_in_its_words(computer):
    found = failures(*computer(queue="no-such-partition"))
    assert set(found) == {"job"}
    assert "nvalid partition" in found["job"]


def test_a_calculation_gets_its_resources_from_the_computer(computer):
    cluster, _ = computer(gpus=1)
    bash = InstalledCode(executable="/bin/bash", plugin="core.arithmetic.add", with_mpi=False)
    code = register_installed(cluster, "bash", bash)
    options = job_options(cluster, walltime="00:01:00")
    inputs = {"code": code, "x": orm.Int(1), "y": orm.Int(2), "metadata": {"options": options}}
    results, node = run_get_node(CalculationFactory("core.arithmetic.add"), **inputs)
    assert node.is_finished_ok
    assert results["sum"] == 3
    script = node.base.repository.get_object_content("_aiidasubmit.sh")
    lines = ("--cpus-per-task=2", "--partition=short", "--time=00:01:00", "--gres=gpu:1", "--mem=953")
    for line in lines:
        assert line in script
