"""The file that describes one computer: every field typed, unknown fields refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from aiida_mlip.computers.environment import BACKENDS
from aiida_mlip.schema.potential import Device
from aiida_mlip.science.models import StrictModel, explain

_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)")


def parse_walltime(value: Any) -> Any:
    """Return seconds for ``HH:MM:SS`` or ``D-HH:MM:SS``; anything else is returned as it came.

    YAML reads an unquoted ``24:00:00`` as 86400 already, so both spellings of a file mean the same.

    :raises ValueError: if a text is not of that form.
    """
    if not isinstance(value, str):
        return value
    match = _CLOCK.fullmatch(value.strip())
    if match is None:
        raise ValueError("write it as HH:MM:SS or D-HH:MM:SS, or give a number of seconds")
    parts = {key: int(text or 0) for key, text in match.groupdict().items()}
    return ((parts["days"] * 24 + parts["hours"]) * 60 + parts["minutes"]) * 60 + parts["seconds"]


Walltime = Annotated[int, BeforeValidator(parse_walltime), Field(gt=0)]


class LocalTransport(StrictModel):
    """This machine itself."""

    kind: Literal["core.local"] = "core.local"
    login_shell: bool = Field(default=False, description="run commands in a login shell, which reads ~/.profile")
    safe_interval: float = Field(default=0.0, ge=0, description="shortest time between two connections [s]")

    def auth_params(self) -> dict[str, Any]:
        """Return the keywords of ``Computer.configure``."""
        return {"use_login_shell": self.login_shell, "safe_interval": self.safe_interval}


class SshTransport(StrictModel):
    """SSH through paramiko; AiiDA holds the connection settings."""

    kind: Literal["core.ssh"]
    username: str
    port: int = Field(default=22, gt=0, lt=65536)
    key_filename: Path | None = Field(default=None, description="private key; none: the keys in ~/.ssh and the agent")
    proxy_jump: str = Field(default="", description="hosts to go through, as user@host:port, separated by commas")
    proxy_command: str = ""
    key_policy: Literal["RejectPolicy", "WarningPolicy", "AutoAddPolicy"] = "RejectPolicy"
    allow_agent: bool = True
    timeout: int = Field(default=60, gt=0, description="time to wait for a connection [s]")
    login_shell: bool = True
    safe_interval: float = Field(default=10.0, ge=0, description="shortest time between two connections [s]")

    def auth_params(self) -> dict[str, Any]:
        """Return the keywords of ``Computer.configure``."""
        return {
            "username": self.username,
            "port": self.port,
            "look_for_keys": True,
            "key_filename": str(self.key_filename.expanduser()) if self.key_filename else "",
            "timeout": self.timeout,
            "allow_agent": self.allow_agent,
            "proxy_jump": self.proxy_jump,
            "proxy_command": self.proxy_command,
            "compress": True,
            "load_system_host_keys": True,
            "key_policy": self.key_policy,
            "use_login_shell": self.login_shell,
            "safe_interval": self.safe_interval,
        }


class AsyncSshTransport(StrictModel):
    """SSH as `ssh HOST` does it: users, keys and jumps come from ~/.ssh/config."""

    kind: Literal["core.ssh_async"]
    host: str = Field(description="name of the host in ~/.ssh/config; `ssh HOST` must work without a question")
    data_node_host: str = Field(default="None", description="host for file transfers where the site has one")
    max_io_allowed: int = Field(default=8, gt=0, description="file operations at the same time")
    authentication_script: str = Field(default="None", description="script to run before a connection is opened")
    backend: Literal["asyncssh", "openssh"] = "asyncssh"
    login_shell: bool = True
    safe_interval: float = Field(default=10.0, ge=0, description="shortest time between two connections [s]")

    def auth_params(self) -> dict[str, Any]:
        """Return the keywords of ``Computer.configure``."""
        fields = self.model_dump(exclude={"kind", "login_shell"})
        return {**fields, "use_login_shell": self.login_shell}


Transport = Annotated[LocalTransport | SshTransport | AsyncSshTransport, Field(discriminator="kind")]


class JobDefaults(StrictModel):
    """What a job of this package asks the scheduler for when nothing else is said."""

    device: Device = Field(default="cpu", description="where the worker computes")
    machines: int = Field(default=1, gt=0, description="nodes of one job")
    mpiprocs: int = Field(default=1, gt=0, description="processes on each node; the worker itself is one process")
    cpus: int = Field(default=1, gt=0, description="cores of each process, and its number of threads")
    gpus: int = Field(default=0, ge=0, description="GPUs on each node")
    gpu_request: str = Field(default="#SBATCH --gres=gpu:{gpus}", description="how this site's scheduler is asked")
    memory_gb: float | None = Field(default=None, gt=0, description="memory of each node [GB = 1e9 bytes]")
    walltime: Walltime | None = Field(default=None, description="longest run time [s], or HH:MM:SS")
    queue: str | None = Field(default=None, description="partition")
    account: str | None = None
    qos: str | None = None
    scheduler_lines: tuple[str, ...] = Field(default=(), description="further lines for the head of the job script")
    max_concurrent: int | None = Field(default=None, gt=0, description="jobs a work chain may have here at one time")

    @model_validator(mode="after")
    def _gpu(self) -> JobDefaults:
        if self.device == "cuda" and self.gpus == 0:
            raise ValueError("device = 'cuda' with gpus = 0: give the number of GPUs of a job, e.g. gpus: 1")
        return self


class Worker(StrictModel):
    """The Python environment on the compute node that runs the worker."""

    activate: str = Field(description="shell lines after which `python3` is the one with mace-torch")
    environment: dict[str, str] = Field(default_factory=dict, description="environment variables of the worker")
    threads: int | None = Field(default=None, gt=0, description="threads of the worker; none: jobs.cpus")


class ExtraWorker(Worker):
    """A further environment, for potentials whose packages cannot be installed beside the others."""

    activate: str = Field(description="shell lines after which `python3` is the one with the package of the potentials")
    architectures: tuple[str, ...] = Field(
        default=(), description="potentials that it is for, e.g. [chgnet, sevennet]; none: the name of the environment"
    )


class InstalledCode(StrictModel):
    """A program that is on the computer already, such as pw.x."""

    executable: str = Field(description="absolute path on the computer", pattern=r"^/")
    plugin: str = Field(description="entry point of its calculation, e.g. quantumespresso.pw")
    activate: str = Field(default="", description="shell lines to run before the program")
    with_mpi: bool = True


class ComputerConfig(StrictModel):
    """One computer: how it is reached, how jobs are queued, and what is installed there."""

    label: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="the name the computer has in AiiDA")
    hostname: str = "localhost"
    description: str = ""
    transport: Transport
    scheduler: Literal["core.direct", "core.slurm"]
    work_dir: str = Field(pattern=r"^/", description="absolute path; {username} becomes the user's name there")
    shebang: str = Field(default="#!/bin/bash", pattern=r"^#!")
    prepend_text: str = Field(default="", description="shell lines before every job on this computer")
    append_text: str = ""
    mpirun_command: str = Field(default="mpirun -np {tot_num_mpiprocs}", description="how MPI programs are started")
    poll_interval: float | None = Field(default=None, ge=0, description="time between two looks at the queue [s]")
    jobs: JobDefaults = Field(default_factory=JobDefaults)
    worker: Worker
    workers: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], ExtraWorker] = Field(
        default_factory=dict, description="name -> further environment, for the potentials it names"
    )
    codes: dict[str, InstalledCode] = Field(default_factory=dict, description="label -> program")

    @model_validator(mode="after")
    def _consistent(self) -> ComputerConfig:
        if self.scheduler == "core.direct" and (self.jobs.queue or self.jobs.account or self.jobs.qos):
            raise ValueError(
                "jobs.queue, jobs.account and jobs.qos mean nothing to scheduler = 'core.direct': "
                "leave them out, or set scheduler: core.slurm"
            )
        return self

    @model_validator(mode="after")
    def _one_environment_for_an_architecture(self) -> ComputerConfig:
        owners: dict[str, str] = {}
        for name, worker in self.workers.items():
            for architecture in worker.architectures or (name,):
                if architecture not in BACKENDS:
                    raise ValueError(
                        f"workers.{name}: {architecture!r} is no architecture of a potential: name one or more of "
                        f"{', '.join(BACKENDS)} as architectures"
                    )
                if architecture in owners:
                    raise ValueError(
                        f"workers.{owners[architecture]} and workers.{name} are both for {architecture!r}: "
                        "name each architecture once"
                    )
                owners[architecture] = name
        return self

    @property
    def threads(self) -> int:
        """Number of threads of the worker."""
        return self.worker.threads or self.jobs.cpus


def load_config(path: Path) -> ComputerConfig:
    """Read and validate a computer file.

    :raises ValueError: naming each wrong field, its value and what would be right.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    try:
        return ComputerConfig.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error, what='computer', model=ComputerConfig)}") from error
