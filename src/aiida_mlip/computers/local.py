"""This machine as a computer: the description that `aiida-mlip setup --local` and the tests use."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from aiida_mlip.computers.config import ComputerConfig, JobDefaults, LocalTransport, Worker


def local_worker(cpus: int) -> Worker:
    """Return the environment in which the running Python also runs the worker."""
    return Worker(activate=f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH", threads=cpus)


def available_cpus() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def local_config(work_dir: Path, *, cpus: int | None = None, poll_interval: float = 1.0) -> ComputerConfig:
    """Describe this machine: no scheduler, one process for each job, a short time between polls.

    :param work_dir: folder for the files of the jobs.
    :param cpus: threads of one job; None means all cores this process may use.
    :param poll_interval: time between two looks at the running jobs [s].
    """
    threads = cpus or available_cpus()
    return ComputerConfig(
        label="localhost",
        description="this machine",
        transport=LocalTransport(),
        scheduler="core.direct",
        work_dir=str(work_dir.resolve()),
        poll_interval=poll_interval,
        jobs=JobDefaults(cpus=threads),
        worker=local_worker(threads),
    )
