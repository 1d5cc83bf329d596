"""Both SSH transports against a real server on this machine: a computer file is enough to reach it."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiida_mlip.computers.checks import CHECKS, try_out
from aiida_mlip.computers.codes import register_worker
from aiida_mlip.computers.config import ComputerConfig
from aiida_mlip.computers.register import register_computer

pytestmark = pytest.mark.slow

SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
Subsystem sftp internal-sftp
"""
CLIENT = """\
Host mlip-test-host
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {folder}/client_key
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/home/.ssh/known_hosts
"""


class Server:
    """An SSH server on a free port, with its keys in one folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.home = folder / "home"

    def write_files(self) -> None:
        """Make the keys, and a home with a client configuration and the known host key."""
        for name in ("host_key", "client_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(command, check=True)
        values = {"folder": self.folder, "port": self.port, "user": getpass.getuser()}
        (self.folder / "sshd_config").write_text(SERVER.format(**values))
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True, mode=0o700)
        (ssh / "config").write_text(CLIENT.format(**values))
        kind, key = (self.folder / "host_key.pub").read_text().split()[:2]
        (ssh / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")


@pytest.fixture(scope="module")
def server(free_port) -> Iterator[Server]:
    """A server that runs while these tests do."""
    sshd = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/bin")
    if sshd is None:
        pytest.skip("not installed: sshd (make system-deps)")
    with tempfile.TemporaryDirectory(prefix="mlip-ssh-") as name:
        running = Server(Path(name), free_port())
        running.write_files()
        if getpass.getuser() == "root":
            Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)
        log = (running.folder / "log").open("w")
        process = subprocess.Popen([sshd, "-D", "-e", "-f", str(running.folder / "sshd_config")], stderr=log)
        time.sleep(1.0)
        assert process.poll() is None, (running.folder / "log").read_text()
        yield running
        process.terminate()
        process.wait(30)
        log.close()


def config(transport: dict, work_dir: Path) -> ComputerConfig:
    """A computer that is reached through the server."""
    return ComputerConfig.model_validate(
        {
            "label": transport["kind"].replace(".", "-"),
            "hostname": "127.0.0.1",
            "transport": {**transport, "safe_interval": 0, "login_shell": False},
            "scheduler": "core.direct",
            "work_dir": str(work_dir),
            "poll_interval": 0.2,
            "worker": {"activate": f"export PATH={Path(sys.executable).parent}:$PATH"},
        }
    )


def transports(server: Server) -> dict[str, dict]:
    """The `transport` sections for the server."""
    paramiko = {
        "kind": "core.ssh",
        "username": getpass.getuser(),
        "port": server.port,
        "key_filename": str(server.folder / "client_key"),
        "key_policy": "AutoAddPolicy",
        "allow_agent": False,
    }
    asynchronous = {"kind": "core.ssh_async", "host": "mlip-test-host"}
    return {"core.ssh": paramiko, "core.ssh_async": asynchronous}


@pytest.mark.parametrize("kind", ["core.ssh", "core.ssh_async"])
@pytest.mark.usefixtures("clean_profile")
def test_every_check_passes_through_a_real_server(kind, server, worker_zipapp, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(server.home))
    described = config(transports(server)[kind], tmp_path / "work")
    computer = register_computer(described)
    worker = register_worker(computer, described.worker, worker_zipapp)
    found = {outcome.name: outcome for outcome in try_out(computer, worker, job=True, job_wait=120)}
    assert {name: outcome.message for name, outcome in found.items() if not outcome.ok} == {}
    assert set(found) == {"connection", *CHECKS}


def test_a_wrong_key_is_one_failed_check_that_says_so(server, clean_profile, worker_zipapp, tmp_path):
    transport = transports(server)["core.ssh"] | {"key_filename": str(server.folder / "host_key")}
    described = config(transport, tmp_path / "work")
    computer = register_computer(described)
    worker = register_worker(computer, described.worker, worker_zipapp)
    (outcome,) = try_out(computer, worker, job=False)
    assert not outcome.ok
    assert "uthentication" in outcome.message
