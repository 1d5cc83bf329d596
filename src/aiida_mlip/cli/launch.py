"""The command `aiida-mlip launch`: submit a workflow described by one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_mlip.cli._daemon import idle_reason
from aiida_mlip.cli._launch_file import read_launch
from aiida_mlip.cli._launchable import LAUNCHABLE, Launchable
from aiida_mlip.cli._profile import with_profile

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import ProcessNode


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def launch() -> None:
    """Submit a workflow to the daemon.

    \b
    Example:
        aiida-mlip launch finetune my-finetune.yaml --watch
    """


def _command(launchable: Launchable[Any]) -> click.Command:
    """Return the command that submits one workflow."""

    @click.argument("file", required=False, type=_FILE)
    @click.option("-f", "--file", "given", type=_FILE, help="The same as the argument FILE.")
    @click.option("--dry-run", is_flag=True, help="Check everything and print the inputs; submit nothing.")
    @click.option("--watch", "follow", is_flag=True, help="Show the progress until it ends; leaving does not stop it.")
    @with_profile
    def run(file: Path | None, given: Path | None, dry_run: bool, follow: bool) -> None:
        if (file is None) == (given is None):
            raise click.UsageError(f"give one FILE, e.g. {launchable.example}")
        _launch(launchable, file or given or Path(), dry_run=dry_run, follow=follow)

    example = f"aiida-mlip launch {launchable.name} {launchable.example}"
    text = f"{launchable.summary}\n\n\b\nExample:\n    {example} --dry-run\n    {example} --watch"
    return click.command(launchable.name, help=text)(run)


for _launchable in LAUNCHABLE:
    launch.add_command(_command(_launchable))


def _launch(launchable: Launchable[Any], file: Path, *, dry_run: bool, follow: bool) -> None:
    """Read a file, check it, and submit what it describes."""
    from aiida.common.exceptions import InvalidOperation
    from aiida.engine import submit
    from rich.console import Console
    from rich.pretty import Pretty

    try:
        described = read_launch(file, launchable.model, launchable.example)
        builder = launchable.build(described, file.parent)
        builder.metadata.label = described.label
        problem = _problem(builder)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if problem:
        raise click.ClickException(problem)
    console = Console()
    if dry_run:
        console.print(Pretty(_readable(builder._inputs(prune=True)), expand_all=True))
        click.echo("The inputs are valid; nothing was submitted.")
        return
    try:
        node = submit(builder)
    except InvalidOperation as error:
        raise click.ClickException(f"nothing was submitted: {idle_reason() or error}") from error
    click.echo(f"Submitted {node.process_label}<{node.pk}>. Follow it with `aiida-mlip status {node.pk}`.")
    if (reason := idle_reason()) is not None:
        click.secho(f"It waits, since {reason}", fg="yellow")
    if follow:
        _follow(node)


def _follow(node: ProcessNode) -> None:
    """Show the progress until the process ends, and then its summary."""
    from rich.console import Console

    from aiida_mlip.provenance.watch import watch
    from aiida_mlip.report.text import print_summary

    console = Console()
    watch(node, console)
    print_summary(node, console)
    click.echo(f"[{node.exit_status}] {node.exit_message or 'finished'}. Next: aiida-mlip report {node.pk}")


def _readable(inputs: Any) -> Any:
    """Return inputs with the values of settings instead of their nodes, and one line for each other node."""
    from aiida.orm import BaseType, Data, List
    from aiida.orm import Dict as DictNode

    if isinstance(inputs, DictNode):
        return inputs.get_dict()
    if isinstance(inputs, List):
        return inputs.get_list()
    if isinstance(inputs, BaseType):
        return inputs.value
    if isinstance(inputs, Data):
        return f"{type(inputs).__name__}<{inputs.pk}> {inputs.label}"
    return {name: _readable(value) for name, value in inputs.items()} if isinstance(inputs, Mapping) else inputs


def _problem(builder: ProcessBuilder) -> str | None:
    """Return what the process would refuse, or None."""
    spec = builder.process_class.spec()
    error = spec.inputs.validate(spec.inputs.pre_process(builder._inputs(prune=True)))
    return None if error is None else str(error.message)
