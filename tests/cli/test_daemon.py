"""Work that nothing would advance says so: the profile has no broker, or its daemon does not run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine.daemon.client import get_daemon_client
from aiida.manage import get_manager
from aiida.manage.configuration import get_config
from aiida.manage.configuration.profile import Profile
from click.testing import CliRunner

from aiida_mlip.cli import main
from aiida_mlip.cli._daemon import idle_reason
from aiida_mlip.cli._profile import _forget_dead_broker


@pytest.fixture
def profile(aiida_profile_clean) -> Iterator[Profile]:
    """The profile of the tests, as one that was made without a broker."""
    backend, config = aiida_profile_clean.process_control_backend, aiida_profile_clean.process_control_config
    aiida_profile_clean.set_process_controller(None, None)
    yield aiida_profile_clean
    aiida_profile_clean.set_process_controller(backend, config)


@pytest.fixture
def pid_file(profile) -> Iterator[Path]:
    """Where the daemon of the profile, which has a broker now, writes its number."""
    profile.set_process_controller("core.rabbitmq", {})
    file = Path(get_daemon_client(profile.name).circus_pid_file)
    file.parent.mkdir(parents=True, exist_ok=True)
    yield file
    file.unlink(missing_ok=True)


def test_a_profile_without_a_broker_is_told_how_to_get_one(profile):
    reason = idle_reason()
    assert reason is not None
    assert f"the profile {profile.name} has no message broker" in reason
    assert f"verdi profile configure-broker core.rabbitmq {profile.name}" in reason


def test_a_daemon_that_runs_is_no_reason_and_one_that_was_killed_is(profile, pid_file):
    remedy = f"`verdi -p {profile.name} daemon start`"
    assert remedy in (idle_reason() or "")
    pid_file.write_text(str(os.getpid()))
    assert idle_reason() is None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    pid_file.write_text(str(ended.pid))
    assert remedy in (idle_reason() or "")


@pytest.fixture
def broker(profile) -> Iterator[Path]:
    """The folder of a ZeroMQ broker that runs; this process stands for it, and for the daemon."""
    profile.set_process_controller("core.zeromq", {"supervised_by_daemon": True})
    get_manager().reset_broker()
    circus = Path(get_daemon_client(profile.name).circus_pid_file)
    folder = Path(get_config().filepaths(profile)["broker_service"]["dir"])
    for file in (circus, folder / "broker.pid"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(os.getpid()))
    yield folder
    circus.unlink()
    get_manager().reset_broker()


def test_a_worker_that_does_not_reach_the_broker_is_named(profile, broker) -> None:
    for workers in (0, 1):
        (broker / "broker.status").write_text(json.dumps({"task_subscribers": workers}))
        reason = idle_reason()
        assert (reason is None) == (workers == 1)
        assert workers or f"`verdi -p {profile.name} daemon restart`" in reason


def test_the_address_of_a_broker_is_forgotten_when_it_is_dead(broker) -> None:
    address, sockets = broker / "broker.sockets", broker / "aiida_zeromq_test"
    sockets.mkdir()
    address.write_text(str(sockets))
    _forget_dead_broker()
    assert address.is_file()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (broker / "broker.pid").write_text(str(ended.pid))
    _forget_dead_broker()
    assert not address.exists()
    assert not sockets.exists()


def test_status_says_so_of_what_has_not_ended_and_of_nothing_else(profile):
    node = orm.WorkChainNode(process_type="aiida.workflows:mlip.defects")
    node.set_process_state("created")
    node.store()
    for arguments in (["status"], ["status", str(node.pk)]):
        output = CliRunner().invoke(main, arguments).output
        assert "nothing advances: the profile" in output, output
    node.set_process_state("finished")
    node.set_exit_status(0)
    node.seal()
    for arguments in (["status"], ["status", str(node.pk)]):
        assert "nothing advances" not in CliRunner().invoke(main, arguments).output
