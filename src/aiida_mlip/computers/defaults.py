"""What launch scripts and work chains ask of a computer that was set up: its job options and its worker."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_mlip.computers.config import JobDefaults, parse_walltime
from aiida_mlip.computers.local import available_cpus

PROPERTY = "aiida_mlip"
"""Name of the property of an AiiDA computer that holds its :class:`JobDefaults`."""

DIRECT, LOCAL = "core.direct", "core.local"
"""Scheduler and transport of AiiDA that start a job at once, and on this machine."""

WORKER_PREFIX = "mlip-worker-"


def job_defaults(computer: orm.Computer) -> JobDefaults:
    """Return the job defaults that `aiida-mlip setup` stored on a computer.

    :raises ValueError: if the computer was not set up with `aiida-mlip setup`.
    """
    stored = computer.get_property(PROPERTY, None)
    if stored is None:
        raise ValueError(
            f"computer = {computer.label!r} has no job defaults: describe it in a YAML file "
            "(examples in examples/computers/) and run `aiida-mlip setup FILE.yaml`"
        )
    return JobDefaults.model_validate(stored)


def job_options(computer: orm.Computer, walltime: int | str | None = None) -> dict[str, Any]:
    """Return `metadata.options` for one job of the worker on a computer.

    :param walltime: longest run time [s], or ``HH:MM:SS``; None means the computer's default.
    :raises ValueError: if the computer was not set up with `aiida-mlip setup`.
    """
    jobs = job_defaults(computer)
    options: dict[str, Any] = {
        "resources": {
            "num_machines": jobs.machines,
            "num_mpiprocs_per_machine": jobs.mpiprocs,
            "num_cores_per_mpiproc": jobs.cpus,
        },
        "withmpi": False,
    }
    lines = list(jobs.scheduler_lines)
    if jobs.gpus and computer.scheduler_type == "core.slurm":
        lines.insert(0, jobs.gpu_request.format(gpus=jobs.gpus))
    optional = {
        "max_wallclock_seconds": jobs.walltime if walltime is None else parse_walltime(walltime),
        "queue_name": jobs.queue,
        "account": jobs.account,
        "qos": jobs.qos,
        "max_memory_kb": None if jobs.memory_gb is None else int(jobs.memory_gb * 1e9 / 1024),
        "custom_scheduler_commands": "\n".join(lines) or None,
    }
    return options | {key: value for key, value in optional.items() if value is not None}


def find_worker(computer: orm.Computer) -> orm.PortableCode:
    """Return the newest worker that was registered for a computer and is not hidden.

    :raises ValueError: if there is none.
    """
    query = orm.QueryBuilder()
    query.append(orm.Computer, filters={"id": computer.pk}, tag="computer")
    query.append(
        orm.PortableCode, with_computer="computer", filters={"label": {"like": f"{WORKER_PREFIX}%"}}, tag="code"
    )
    query.order_by({"code": [{"ctime": "desc"}, {"id": "desc"}]})
    found = next((code for (code,) in query.iterall() if not code.is_hidden), None)
    if found is None:
        raise ValueError(
            f"no worker is registered for computer = {computer.label!r}: run `aiida-mlip setup FILE.yaml` "
            "with its file, or `aiida-mlip setup --local` for this machine"
        )
    return found


def max_concurrent(computer: orm.Computer) -> int | None:
    """Return how many jobs of the worker one work chain may have on a computer at a time; None: any number.

    It is ``jobs.max_concurrent`` of the computer's file. Without it, a queue takes care; where there is none, as many
    jobs run as have their threads on this machine, at least one.
    """
    jobs = JobDefaults.model_validate(computer.get_property(PROPERTY, None) or {})
    if jobs.max_concurrent is not None:
        return jobs.max_concurrent
    if computer.scheduler_type != DIRECT:
        return None
    return max(1, available_cpus() // jobs.cpus) if computer.transport_type == LOCAL else 1
