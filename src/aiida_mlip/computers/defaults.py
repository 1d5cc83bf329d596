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

WORKER_EXTRA = "aiida_mlip_worker"
"""Name of the extra of a worker's code that says which environment it is and for which potentials.

The main worker has none.
"""


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


def registered_workers(computer: orm.Computer) -> list[orm.PortableCode]:
    """Return the workers of a computer that are not hidden, newest first."""
    query = orm.QueryBuilder()
    query.append(orm.Computer, filters={"id": computer.pk}, tag="computer")
    query.append(
        orm.PortableCode, with_computer="computer", filters={"label": {"like": f"{WORKER_PREFIX}%"}}, tag="code"
    )
    query.order_by({"code": [{"ctime": "desc"}, {"id": "desc"}]})
    return [code for code in query.all(flat=True) if not code.is_hidden]


def worker_extra(code: orm.PortableCode) -> dict[str, Any]:
    """Return ``name``, ``architectures`` and ``worker`` of an extra environment; empty for the main one."""
    return dict(code.base.extras.get(WORKER_EXTRA, {}))


def find_worker(computer: orm.Computer, architecture: str = "mace") -> orm.PortableCode:
    """Return the newest worker for potentials of an architecture on a computer.

    That is the one whose environment was set up for the architecture, or else the main one.

    :param architecture: that of the potential, ``PotentialData.info.architecture``.
    :raises ValueError: if there is none.
    """
    codes = [(code, worker_extra(code)) for code in registered_workers(computer)]
    special = (code for code, extra in codes if architecture in extra.get("architectures", ()))
    main = (code for code, extra in codes if not extra)
    found: orm.PortableCode | None = next(special, None) or next(main, None)
    if found is None:
        raise ValueError(
            f"no worker is registered for computer = {computer.label!r}: run `aiida-mlip setup FILE.yaml` "
            "with its file, or `aiida-mlip setup --local` for this machine"
        )
    return found


def max_concurrent(computer: orm.Computer, cores: int | None = None) -> int | None:
    """Return how many jobs one work chain may have on a computer at a time; None: any number.

    It is ``jobs.max_concurrent`` of the computer's file. Without it, a queue takes care; where there is none, as many
    jobs run as have their threads on this machine, at least one.

    :param cores: of one job; None: those of a job of the worker.
    """
    jobs = JobDefaults.model_validate(computer.get_property(PROPERTY, None) or {})
    if jobs.max_concurrent is not None:
        return jobs.max_concurrent
    if computer.scheduler_type != DIRECT:
        return None
    return max(1, available_cpus() // (cores or jobs.cpus)) if computer.transport_type == LOCAL else 1
