"""Saying why nothing advances: a profile without a broker, or a daemon that does not run or does not reach it."""

from __future__ import annotations

import os


def idle_reason() -> str | None:
    """Return why processes of the loaded profile do not advance, with the remedy; None where a daemon runs.

    With RabbitMQ a process can be submitted while no daemon runs, and then waits without a word.
    """
    from aiida.engine.daemon.client import get_daemon_client
    from aiida.manage.configuration import get_profile

    profile = get_profile()
    if profile is None:
        return None
    if profile.process_control_backend is None:
        return (
            f"the profile {profile.name} has no message broker, which the daemon needs: "
            f"`verdi profile configure-broker core.rabbitmq {profile.name}` where RabbitMQ runs, or else "
            f"`verdi profile configure-broker core.zeromq {profile.name}`, and then "
            f"`verdi -p {profile.name} daemon start`"
        )
    pid = get_daemon_client(profile.name).get_daemon_pid()
    if pid is not None and _exists(pid):
        return _unreached(profile.name)
    return f"the daemon of the profile {profile.name} is not running: `verdi -p {profile.name} daemon start`"


def _unreached(profile: str) -> str | None:
    """Return that no worker of the daemon has reached its broker, with the remedy; None where one has.

    A worker that is started after a kill may look for the broker where the one before it was, and then waits for ever.
    """
    from aiida.brokers.zeromq.broker import ZeromqBroker
    from aiida.manage import get_manager

    broker = get_manager().get_broker()
    if not isinstance(broker, ZeromqBroker) or not broker.check_service_reachable():
        return None
    if broker.probe_service_status().get("task_subscribers") != 0:
        return None
    return (
        f"the daemon of the profile {profile} runs, but no worker of it has reached its broker, as happens after a "
        f"kill: if it stays so for half a minute, `verdi -p {profile} daemon restart`"
    )


def _exists(pid: int) -> bool:
    """Return whether there is such a process; the file with its number stays when a daemon is killed."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
