"""This machine as a computer: the description that `aiida-mlip setup --local` and the tests use."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from aiida_mlip.computers.config import ComputerConfig, ExtraWorker, JobDefaults, LocalTransport, Worker


def local_worker(cpus: int) -> Worker:
    """Return the environment in which the running Python also runs the worker."""
    return Worker(activate=_first_on_path(Path(sys.executable)), threads=cpus)


def _first_on_path(python: Path) -> str:
    return f"export PATH={shlex.quote(str(python.parent))}:$PATH"


def available_cpus() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def local_config(
    work_dir: Path,
    *,
    cpus: int | None = None,
    poll_interval: float = 1.0,
    backends: Mapping[str, Path] | None = None,
) -> ComputerConfig:
    """Describe this machine: no scheduler, one process for each job, a short time between polls.

    :param work_dir: folder for the files of the jobs.
    :param cpus: threads of one job; None means all cores this process may use.
    :param poll_interval: time between two looks at the running jobs [s].
    :param backends: architecture -> Python of the environment that has its package, where that is another one.
    :raises ValueError: if there is no such architecture.
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
        workers={
            name: ExtraWorker(activate=_first_on_path(python), threads=threads)
            for name, python in (backends or {}).items()
        },
    )
