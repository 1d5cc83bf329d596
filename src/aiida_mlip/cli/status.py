"""`aiida-mlip status`: what is running, how far it is, and what has just ended."""

from __future__ import annotations

from datetime import timedelta

import click

from aiida_mlip.cli._daemon import idle_reason
from aiida_mlip.cli._nodes import load_process
from aiida_mlip.cli._profile import with_profile


@click.command()
@click.argument("identifier", metavar="[PK|UUID]", required=False)
@click.option("--watch", "follow", is_flag=True, help="Keep showing it until it ends (or until Ctrl-C).")
@click.option("--interval", default=5.0, show_default=True, help="Seconds between two looks with --watch.")
@click.option("--days", default=1.0, show_default=True, help="How far back 'ended recently' goes.")
@with_profile
def status(identifier: str | None, follow: bool, interval: float, days: float) -> None:
    """Show running work with stage, epoch, errors and time left, and what ended recently.

    \b
    Example:
        aiida-mlip status
        aiida-mlip status 1234 --watch
    """
    from rich.console import Console, Group, RenderableType
    from rich.text import Text

    from aiida_mlip.provenance.show import overview, table
    from aiida_mlip.provenance.status import finished_since, running, state_of
    from aiida_mlip.provenance.watch import watch, watch_view

    console = Console()

    def idle(*, active: bool) -> list[RenderableType]:
        reason = idle_reason() if active else None
        return [Text(f"nothing advances: {reason}", style="yellow")] if reason else []

    def everything() -> RenderableType:
        active = running()
        return Group(overview(active, finished_since(timedelta(days=days))), *idle(active=bool(active)))

    try:
        if identifier is not None:
            node = load_process(identifier)
            state = state_of(node)
            if not follow:
                console.print(table([state]))
            for line in idle(active=state.active):
                console.print(line)
            if follow:
                watch(node, console, interval=interval)
        elif follow:
            watch_view(everything, console, interval)
        else:
            console.print(everything())
    except KeyboardInterrupt:
        console.print("stopped watching; the work goes on")
