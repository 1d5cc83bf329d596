"""`aiida-mlip setup`: register a computer, the worker and other programs on it, and try them out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_mlip.cli import _profile

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mlip.computers.config import ComputerConfig

LOCAL_PROFILE = "mlip"


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--local", is_flag=True, help="Set up this machine; makes a profile (SQLite, ZeroMQ) if there is none.")
@click.option("--work-dir", type=click.Path(path_type=Path), help="With --local: folder for the files of the jobs.")
@click.option("--cpus", type=click.IntRange(min=1), help="With --local: threads of one job. [default: all cores]")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME=PYTHON",
    help="With --local: another Python for potentials of an architecture, e.g. sevennet=~/venvs/sevennet/bin/python.",
)
@click.option("--daemon/--no-daemon", default=True, show_default=True, help="With --local: start AiiDA's daemon.")
@click.option("--test/--no-test", default=None, help="Try the computer out. [default: yes, except with --local]")
@click.option("--job/--no-job", default=None, help="Try it out with a small job too. [default: where there is a queue]")
@click.option("--wait", default=10.0, show_default=True, help="How long that job may wait and run [minutes].")
@click.pass_context
def setup(
    ctx: click.Context,
    file: Path | None,
    *,
    local: bool,
    work_dir: Path | None,
    cpus: int | None,
    backends: tuple[str, ...],
    daemon: bool,
    test: bool | None,
    job: bool | None,
    wait: float,
) -> None:
    """Register a computer described by a YAML FILE, or this machine with --local.

    Run it again after an upgrade of this package, or after a change of FILE: it updates the computer and registers
    the new worker; codes that finished jobs link to are kept and hidden.

    \b
    Example:
        aiida-mlip setup --local
        aiida-mlip setup --local --backend sevennet=~/venvs/sevennet/bin/python
        aiida-mlip setup examples/computers/slurm-gpu.yaml
    """
    if local == (file is not None):
        raise click.UsageError("give either a YAML FILE or --local (examples of files: examples/computers/)")
    if backends and not local:
        raise click.UsageError("--backend goes with --local; in a YAML FILE further environments are named in workers:")
    pythons = _pythons(backends)
    name: str | None = ctx.find_root().obj["profile"]
    if local:
        _profile.make(name or LOCAL_PROFILE)
    else:
        _profile.load(name)
    _profile.reuse_results()
    config = _local_config(work_dir, cpus, pythons) if file is None else _load_config(file)
    computer, workers = _register(config, keep=local)
    if test if test is not None else not local:
        queue = config.scheduler != "core.direct"
        for worker in workers:
            _try_out(computer, worker, job=queue if job is None else job, minutes=wait)
    if local and daemon:
        _profile.start_daemon()


def _pythons(backends: tuple[str, ...]) -> dict[str, Path]:
    """Return architecture -> Python of the options ``--backend``; nothing has been changed when one is wrong."""
    from aiida_mlip.computers.environment import BACKENDS

    pythons = {}
    for text in backends:
        name, _, python = text.partition("=")
        if name not in BACKENDS:
            known = ", ".join(BACKENDS)
            raise click.BadParameter(f"{name!r} is no architecture of a potential: {known}", param_hint="--backend")
        if not python or not Path(python).expanduser().is_file():
            raise click.BadParameter(f"{text!r} is not NAME=PYTHON with a Python that exists", param_hint="--backend")
        pythons[name] = Path(python).expanduser().absolute()
    return pythons


def _local_config(work_dir: Path | None, cpus: int | None, backends: dict[str, Path]) -> ComputerConfig:
    from aiida.manage.configuration import get_config

    from aiida_mlip.computers.local import local_config

    return local_config(work_dir or Path(get_config().dirpath) / "work", cpus=cpus, backends=backends)


def _load_config(file: Path) -> ComputerConfig:
    from aiida_mlip.computers.config import load_config

    try:
        return load_config(file)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _register(config: ComputerConfig, *, keep: bool) -> tuple[orm.Computer, list[orm.PortableCode]]:
    from aiida_mlip.computers.codes import register_installed, register_workers
    from aiida_mlip.computers.defaults import worker_extra
    from aiida_mlip.computers.register import register_computer

    try:
        computer = register_computer(config)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"computer    {computer.label} ({config.transport.kind}, {config.scheduler}, {config.jobs.device})")
    workers = register_workers(computer, config, keep=keep)
    for worker in workers:
        known = ", ".join(worker_extra(worker).get("architectures", ()))
        click.echo(f"worker      {worker.label}@{computer.label}" + (f" (for {known})" if known else ""))
    for label, program in config.codes.items():
        code = register_installed(computer, label, program)
        click.echo(f"code        {code.full_label} ({program.executable})")
    return computer, workers


def _try_out(computer: orm.Computer, worker: orm.PortableCode, *, job: bool, minutes: float) -> None:
    from aiida_mlip.computers.checks import try_out

    failed = 0
    for outcome in try_out(computer, worker, job=job, job_wait=minutes * 60):
        mark = click.style("ok", fg="green") if outcome.ok else click.style("FAILED", fg="red")
        click.echo(f"{outcome.name:12s}{mark}  {outcome.message}")
        failed += not outcome.ok
    if failed:
        raise click.ClickException(
            f"{computer.label} is registered, but {failed} check(s) failed: correct the file or the computer as said "
            "above and run the same command again"
        )
