"""Putting a described computer into AiiDA's database, or bringing the one that is there up to date."""

from __future__ import annotations

import shlex

from aiida import orm
from aiida.common.exceptions import NotExistent

from aiida_mlip.computers.config import ComputerConfig
from aiida_mlip.computers.defaults import PROPERTY

_FIXED = {"hostname": "hostname", "transport_type": "transport.kind", "scheduler_type": "scheduler"}


def register_computer(config: ComputerConfig) -> orm.Computer:
    """Create the computer, or update the one with this label, and configure it for the default user.

    What decides how earlier jobs are to be understood (host name, transport, scheduler) is never changed.

    :raises ValueError: if the label belongs to a computer with another host name, transport or scheduler.
    """
    wanted = {
        "hostname": config.hostname,
        "transport_type": config.transport.kind,
        "scheduler_type": config.scheduler,
    }
    try:
        computer = orm.load_computer(config.label)
    except NotExistent:
        computer = orm.Computer(label=config.label, workdir=config.work_dir, **wanted)
    for attribute, value in wanted.items():
        if (current := getattr(computer, attribute)) != value:
            raise ValueError(
                f"{_FIXED[attribute]} = {value!r}: the computer {config.label!r} exists with {current!r}, and its "
                f"finished jobs ran there. Choose another label, or rename the old one: "
                f"verdi computer relabel {config.label} {config.label}-old"
            )
    _write(computer, config)
    computer.configure(**config.transport.auth_params())
    return computer


def _write(computer: orm.Computer, config: ComputerConfig) -> None:
    """Write everything that may change from one set-up to the next, and store."""
    computer.description = config.description
    computer.set_workdir(config.work_dir)
    computer.set_shebang(config.shebang)
    computer.set_prepend_text(config.prepend_text)
    computer.set_append_text(config.append_text)
    computer.set_mpirun_command(shlex.split(config.mpirun_command))
    computer.set_default_mpiprocs_per_machine(config.jobs.mpiprocs)
    if config.poll_interval is not None:
        computer.set_minimum_job_poll_interval(config.poll_interval)
    computer.set_property(PROPERTY, config.jobs.model_dump(mode="json"))
    computer.store()
