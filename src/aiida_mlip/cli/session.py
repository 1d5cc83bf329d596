"""Run a workflow from a script: submit it, follow it, and leave its report; what all examples end with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from aiida.orm import ProcessNode
    from rich.console import Console


def session_console() -> Console:
    """Return a console for a terminal, or one of 120 columns for a log file."""
    from rich.console import Console

    return Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=120, soft_wrap=True)


def submit_and_watch(builder: Any, console: Console | None = None) -> ProcessNode:
    """Submit a workflow to the daemon and show its progress until it ends; leaving does not stop it.

    :raises click.ClickException: where inputs are wrong, or no daemon can be reached.
    """
    from aiida.common.exceptions import InvalidOperation
    from aiida.engine import submit

    from aiida_mlip.provenance.watch import watch

    console = console or session_console()
    try:
        node = submit(builder)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except InvalidOperation as error:
        raise click.ClickException(f"{error} Start the daemon: verdi daemon start") from error
    name = f"{node.process_label}<{node.pk}>{f': {node.label}' if node.label else ''}"
    console.print(f"Submitted {name}. It goes on if you leave: `aiida-mlip status {node.pk}`.", markup=False)
    watch(node, console)
    return node


def report_on(node: ProcessNode, out: Path, console: Console | None = None, *, finished: str = "Finished.") -> None:
    """Print the summary of a process that ended, and write its report, tables, key figure and graph.

    :param out: folder, which is made where it does not exist.
    :param finished: what to say of a process that ended with exit code 0.
    """
    from aiida_mlip.report.outcome import write_outcome
    from aiida_mlip.report.text import print_summary

    console = console or session_console()
    print_summary(node, console)
    write_outcome(node, out, console)
    ended = node.exception if node.is_excepted else node.exit_message
    console.print(f"[{node.exit_status}] {ended or finished}", markup=False)


def run_and_report(builder: Any, out: Path, *, needs: str, finished: str = "Finished.") -> ProcessNode:
    """Submit a workflow, follow it to its end, and report on it.

    :param needs: output without which the script ends with exit status 1.
    :raises click.ClickException: where it cannot be submitted.
    :raises SystemExit: where the output is missing.
    """
    console = session_console()
    node = submit_and_watch(builder, console)
    report_on(node, out, console, finished=finished)
    if needs not in node.outputs:
        raise SystemExit(1)
    return node
