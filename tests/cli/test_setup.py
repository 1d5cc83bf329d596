"""`aiida-mlip setup` in a temporary profile, and from nothing in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from aiida import orm
from aiida.manage.caching import get_use_cache
from aiida.manage.configuration import get_config, get_profile
from click.testing import CliRunner

from aiida_mlip.cli import main
from aiida_mlip.cli._profile import CACHED
from aiida_mlip.cli.setup import LOCAL_PROFILE
from aiida_mlip.computers.defaults import find_worker, job_options


@pytest.fixture
def computer_file(tmp_path):
    """This machine, as a file, with a code."""
    content = {
        "label": "here",
        "transport": {"kind": "core.local"},
        "scheduler": "core.direct",
        "work_dir": str(tmp_path / "work"),
        "poll_interval": 0.1,
        "jobs": {"cpus": 1},
        "worker": {"activate": f"export PATH={Path(sys.executable).parent}:$PATH"},
        "codes": {"add": {"executable": "/bin/bash", "plugin": "core.arithmetic.add", "with_mpi": False}},
    }
    path = tmp_path / "here.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(autouse=True)
def _same_options(aiida_profile):
    """Leave the options of the profile, which other tests share, as they were."""
    yield
    for option in ("caching.enabled_for", "caching.disabled_for"):
        get_config().unset_option(option, scope=get_profile().name)


def invoke(*arguments: object):
    """Run the command in this process, with the profile that is loaded."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_file_becomes_a_computer_with_worker_and_codes(clean_profile, computer_file):
    result = invoke("setup", computer_file)
    assert result.exit_code == 0, result.output
    computer = orm.load_computer("here")
    worker = find_worker(computer)
    assert f"{worker.label}@here" in result.output
    assert orm.load_code("add@here").default_calc_job_plugin == "core.arithmetic.add"
    assert job_options(computer)["resources"]["num_cores_per_mpiproc"] == 1
    assert "python" in result.output
    assert "FAILED" not in result.output

    again = invoke("setup", computer_file, "--no-test")
    assert again.exit_code == 0
    assert find_worker(computer).pk == worker.pk
    assert orm.QueryBuilder().append(orm.Computer).count() == 1


def test_properties_are_not_computed_twice_unless_the_profile_says_so(clean_profile, computer_file):
    config, profile = get_config(), get_profile()
    config.set_option("caching.enabled_for", ["aiida.calculations:core.*"], scope=profile.name)
    assert "cache       on for" in invoke("setup", computer_file, "--no-test").output
    assert all(get_use_cache(identifier=name) for name in CACHED)
    assert get_use_cache(identifier="aiida.calculations:core.arithmetic.add")
    assert not get_use_cache(identifier="aiida.calculations:mlip.train")
    assert "cache" not in invoke("setup", computer_file, "--no-test").output
    config.unset_option("caching.enabled_for", scope=profile.name)
    config.set_option("caching.disabled_for", ["aiida.calculations:mlip.*"], scope=profile.name)
    assert "cache" not in invoke("setup", computer_file, "--no-test").output
    assert not any(get_use_cache(identifier=name) for name in CACHED)


def test_failed_checks_are_an_error_and_the_computer_stays(clean_profile, computer_file):
    content = yaml.safe_load(computer_file.read_text())
    content["worker"]["activate"] = "export PATH=/usr/bin:/bin"
    computer_file.write_text(yaml.safe_dump(content))
    result = invoke("setup", computer_file)
    assert result.exit_code == 1
    assert "here is registered, but 1 check(s) failed" in result.output
    assert orm.load_computer("here").is_configured


def test_bad_files_and_bad_uses_are_refused(clean_profile, computer_file):
    content = yaml.safe_load(computer_file.read_text()) | {"sheduler": "core.slurm"}
    computer_file.write_text(yaml.safe_dump(content))
    result = invoke("setup", computer_file)
    assert result.exit_code == 1
    assert "computer.sheduler is not a known field" in result.output
    assert orm.QueryBuilder().append(orm.Computer).count() == 0
    assert invoke("setup").exit_code == 2
    both = invoke("setup", computer_file, "--local")
    assert both.exit_code == 2
    assert "examples/computers/" in both.output


def environment(aiida_path: Path) -> dict[str, str]:
    """The environment of a process whose AiiDA configuration is in another folder."""
    return {**os.environ, "AIIDA_PATH": str(aiida_path)}


SETUP_LOCAL = [sys.executable, "-c", "from aiida_mlip.cli import main; main()", "setup", "--local"]


def test_local_makes_a_profile_from_nothing_and_twice_is_once(tmp_path):
    runs = [
        subprocess.run(
            [*SETUP_LOCAL, "--no-daemon"], env=environment(tmp_path), capture_output=True, text=True, check=False
        )
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    first, second = (run.stdout for run in runs)
    assert "profile     mlip (new" in first
    assert "(new" not in second
    assert first.splitlines()[-1] == second.splitlines()[-1]
    assert (tmp_path / ".aiida" / "config.json").is_file()


def test_a_file_names_further_environments_and_each_is_tried_out(clean_profile, computer_file):
    content = yaml.safe_load(computer_file.read_text())
    content["workers"] = {
        "analytic": {**content["worker"], "architectures": ["emt", "lj"]},
        "sevennet": {"activate": "export PATH=/usr/bin:/bin"},
    }
    computer_file.write_text(yaml.safe_dump(content))
    result = invoke("setup", computer_file)
    assert result.exit_code == 1
    assert "-analytic@here (for emt, lj)" in result.output
    assert "1 check(s) failed" in result.output
    assert "sevenn~=0.13.0" in result.output


def test_a_wrong_backend_is_refused_before_a_profile_is_made(clean_profile):
    for wrong, words in (("sevennet", "NAME=PYTHON"), (f"sevenet={sys.executable}", "'sevenet' is no architecture")):
        result = invoke("setup", "--local", "--no-daemon", "--backend", wrong)
        assert result.exit_code == 2
        assert words in result.output
    assert orm.QueryBuilder().append(orm.Computer).count() == 0
    assert LOCAL_PROFILE not in get_config().profile_names


@pytest.mark.slow
def test_the_daemon_runs_after_local_setup(tmp_path):
    verdi = [str(Path(sys.executable).parent / "verdi"), "-p", "mlip", "daemon"]
    try:
        done = subprocess.run(SETUP_LOCAL, env=environment(tmp_path), capture_output=True, text=True, check=False)
        assert "daemon      running" in done.stdout, done.stderr
        end = time.monotonic() + 60  # a broker on a busy machine needs a while to write its address
        while True:
            status = subprocess.run(
                [*verdi, "status"], env=environment(tmp_path), capture_output=True, text=True, check=False
            )
            assert "Daemon is running" in status.stdout
            if "Broker is running" in status.stdout:
                break
            assert time.monotonic() < end, status.stdout
            time.sleep(1.0)
    finally:
        subprocess.run([*verdi, "stop"], env=environment(tmp_path), capture_output=True, check=False)
