"""Descriptions of computers, and a SLURM of one node that runs for the time of the tests."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from aiida_mlip.computers.config import ComputerConfig

SLURM = {
    "label": "cluster",
    "transport": {"kind": "core.local"},
    "scheduler": "core.slurm",
    "work_dir": "/scratch/{username}/aiida",
    "jobs": {
        "device": "cuda",
        "cpus": 8,
        "gpus": 2,
        "memory_gb": 64,
        "walltime": "1-02:03:04",
        "queue": "gpu",
        "account": "project",
        "scheduler_lines": ["#SBATCH --constraint=a100"],
    },
    "worker": {"activate": "source /opt/mlip/bin/activate"},
}


@pytest.fixture
def slurm_config() -> Callable[..., ComputerConfig]:
    """Describe a SLURM computer that is reached as this machine, with changes."""

    def factory(**changes) -> ComputerConfig:
        return ComputerConfig.model_validate(SLURM | changes)

    return factory


PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo")
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
MinJobAge=5
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 Gres=gpu:1 State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=60 State=UP
"""


def unused_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Slurm(AbstractContextManager):
    """Start munge and SLURM in a folder; `SLURM_CONF` in the environment points the commands to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Slurm:
        folder, host = self.folder, socket.gethostname().split(".")[0]
        folder.chmod(0o755)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (folder / "munge.key").chmod(0o400)
        text = CONFIG.format(host=host, ports=(unused_port(), unused_port()), user=getpass.getuser(), folder=folder)
        (folder / "slurm.conf").write_text(text)
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        # nothing here uses control groups; version 1 is not looked for until something does
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        self._stack.callback(os.environ.pop, "SLURM_CONF", None)
        try:
            munge = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
            self._start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge)
            self._await((folder / "munge.socket").exists, "munged made no socket")
            self._start("slurmctld", "-D", "-i")
            self._start("slurmd", "-D", "-N", host)
            self._await(lambda: "idle" in self.nodes(), "the node did not become idle")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def nodes(self) -> str:
        """The state of the node as `sinfo` prints it."""
        command = ["sinfo", "--noheader", "--format=%t"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def _start(self, *command: str) -> None:
        log = self._stack.enter_context((self.folder / f"{command[0]}.out").open("w"))
        environment = {**os.environ, "PATH": SEARCH}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self._stack.callback(process.wait, 30)
        self._stack.callback(process.terminate)

    def _await(self, condition, message: str, timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-1000:] for path in self.folder.glob("*.out"))
                raise TimeoutError(f"{message} within {timeout:.0f} s:\n{logs}")
            time.sleep(0.2)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A running SLURM with one node, two cores and one GPU that is not there. Needs neither systemd nor root."""
    if missing := [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]:
        pytest.skip(f"not installed: {', '.join(missing)} (make system-deps)")
    with tempfile.TemporaryDirectory(prefix="mlip-slurm-") as folder, Slurm(Path(folder)) as running:
        yield running


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a function that finds a port nothing listens on."""
    return unused_port
