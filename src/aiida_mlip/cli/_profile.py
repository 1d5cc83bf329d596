"""Loading the AiiDA profile that a command was asked to use."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile

P = ParamSpec("P")
R = TypeVar("R")


def _make_verdi_findable() -> None:
    """Put the folder of the running Python on the PATH: AiiDA looks for `verdi` there, once, when it is imported."""
    folder, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if folder not in path.split(os.pathsep):
        os.environ["PATH"] = f"{folder}{os.pathsep}{path}"


def load(name: str | None = None) -> None:
    """Load an AiiDA profile, unless one is loaded already and none is named.

    :param name: the profile; None means the loaded one, or else the default of the AiiDA configuration.
    :raises click.ClickException: if there is no such profile.
    """
    _make_verdi_findable()
    from aiida.common.exceptions import ConfigurationError
    from aiida.manage import get_manager
    from aiida.manage.configuration import load_profile

    if name is None and get_manager().get_profile() is not None:
        return
    try:
        load_profile(name, allow_switch=True)
    except ConfigurationError as error:
        message = (
            f"no AiiDA profile could be loaded: {error}. List the profiles with `verdi profile list` and choose one "
            "with `aiida-mlip --profile NAME`, or make one for this machine with `aiida-mlip setup --local`."
        )
        raise click.ClickException(message) from error


def with_profile(function: Callable[P, R]) -> Callable[P, R]:
    """Load the profile given to the root command before the decorated command runs."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        root = click.get_current_context().find_root()
        load((root.obj or {}).get("profile"))
        return function(*args, **kwargs)

    return wrapper


def make(name: str) -> None:
    """Load the profile, and create it first where there is none: SQLite, and a ZeroMQ broker that needs no service.

    Only the AiiDA configuration that ``AIIDA_PATH`` points to is touched, and a default profile is left as it is.
    """
    _make_verdi_findable()
    from aiida.manage.configuration import create_profile, get_config
    from aiida.plugins import BrokerFactory

    config = get_config(create=True)
    if name not in config.profile_names:
        broker = "core.zeromq"
        create_profile(
            config,
            name=name,
            email="aiida@localhost",
            storage_backend="core.sqlite_dos",
            storage_config={},
            broker_backend=broker,
            broker_config=BrokerFactory(broker).get_default_config(),
        )
        config.set_option("runner.poll.interval", 1, scope=name)
        config.set_option("daemon.timeout", 60, scope=name)  # a busy laptop takes longer than AiiDA's 2 s
        config.set_default_profile(name, overwrite=False)
        config.store()
        _let_readers_and_writers_coexist(config.get_profile(name))
        click.echo(f"profile     {name} (new, in {config.dirpath})")
    load(name)


def _let_readers_and_writers_coexist(profile: Profile) -> None:
    """Put the SQLite database into write-ahead mode, which it keeps.

    Otherwise a command that reads, such as ``status --watch``, can hold up a commit of the daemon until it gives up.
    """
    file = Path(profile.storage_config["filepath"]) / "database.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


CACHED = tuple(f"aiida.calculations:mlip.{name}" for name in ("property", "md", "liquid"))
"""What is not computed twice: settings hold every number that results depend on, seeds included."""


def reuse_results() -> None:
    """Let AiiDA take what was computed before from the database, unless the profile says otherwise."""
    from aiida.manage.caching import get_use_cache
    from aiida.manage.configuration import get_config, get_profile

    config, profile = get_config(), get_profile()
    disabled: list[str] = config.get_option("caching.disabled_for", scope=profile.name)
    wanted = [name for name in CACHED if not any(fnmatchcase(name, pattern) for pattern in disabled)]
    added = [name for name in wanted if not get_use_cache(identifier=name)]
    if not added:
        return
    enabled: list[str] = config.get_option("caching.enabled_for", scope=profile.name)
    config.set_option("caching.enabled_for", [*enabled, *added], scope=profile.name)
    config.store()
    names = ", ".join(name.rpartition(":")[2] for name in added)
    click.echo(f"cache       on for {names}, once the daemon is started anew")


def start_daemon() -> None:
    """Start the daemon of the loaded profile; one that runs is restarted, since it would go on with the old code.

    :raises click.ClickException: if it does not start.
    """
    from aiida.common.exceptions import ConfigurationError
    from aiida.engine.daemon.client import DaemonException, get_daemon_client

    client = get_daemon_client()
    try:
        if client.is_daemon_running:
            client.stop_daemon(wait=True)
            _keep_processes_alive()
        _forget_dead_broker()
        client.start_daemon()
    except (ConfigurationError, DaemonException) as error:
        raise click.ClickException(f"the daemon did not start: {error}. Its log: {client.daemon_log_file}") from error
    click.echo(f"daemon      running, log in {client.daemon_log_file}")


def _forget_dead_broker() -> None:
    """Remove what a broker that was killed left of its address: a worker that reads it waits for ever."""
    from aiida.brokers.zeromq.broker import ZeromqBroker
    from aiida.brokers.zeromq.service import ZeromqBrokerService
    from aiida.manage import get_manager
    from aiida.manage.configuration import get_config

    manager = get_manager()
    broker, profile = manager.get_broker(), manager.get_profile()
    if isinstance(broker, ZeromqBroker) and not broker.check_service_reachable():
        folder = get_config().filepaths(profile)["broker_service"]["dir"]
        address = ZeromqBrokerService.FilepathLayout(folder).sockets_file
        if address.exists() and (sockets := Path(address.read_text().strip())).name.startswith("aiida_zeromq_"):
            shutil.rmtree(sockets, ignore_errors=True)
        address.unlink(missing_ok=True)


def _keep_processes_alive() -> None:
    """Repair processes that the daemon, when it stopped, had accepted and not begun: they would wait for ever."""
    from aiida.engine.processes.control import get_active_processes
    from aiida.manage.configuration import get_profile

    if get_active_processes(project="id"):
        command = ["verdi", "-p", get_profile().name, "process", "repair", "--force"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip()
            click.echo(f"processes   may wait for ever: `{' '.join(command)}` failed: {reason}", err=True)
