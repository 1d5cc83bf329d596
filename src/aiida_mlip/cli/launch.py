"""The command `aiida-mlip launch`: submit a workflow described by one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_mlip.cli._nodes import find_node
from aiida_mlip.cli._profile import with_profile

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder

    from aiida_mlip.cli._launch_file import FinetuneFile


@click.group()
def launch() -> None:
    """Submit a workflow to the daemon.

    \b
    Example:
        aiida-mlip launch finetune my-finetune.yaml --watch
    """


@launch.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check everything and print the inputs; submit nothing.")
@click.option("--watch", "follow", is_flag=True, help="Show the progress until it ends; leaving does not stop it.")
@with_profile
def finetune(file: Path, dry_run: bool, follow: bool) -> None:
    """Fine-tune a foundation model, as FILE says.

    \b
    Example:
        aiida-mlip launch finetune examples/finetune.yaml --dry-run
        aiida-mlip launch finetune examples/finetune.yaml --watch
    """
    from aiida.common.exceptions import InvalidOperation
    from aiida.engine import submit
    from rich.console import Console
    from rich.pretty import Pretty

    from aiida_mlip.cli._launch_file import read_finetune

    console = Console()
    try:
        described = read_finetune(file)
        builder = _finetune_builder(described)
        problem = _problem(builder)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if problem:
        raise click.ClickException(problem)
    if dry_run:
        console.print(Pretty(_readable(builder._inputs(prune=True)), expand_all=True))
        click.echo("The inputs are valid; nothing was submitted.")
        return
    try:
        node = submit(builder)
    except InvalidOperation as error:
        raise click.ClickException(f"nothing was submitted: {error} Start the daemon: verdi daemon start") from error
    click.echo(f"Submitted FinetuneWorkChain<{node.pk}>. Follow it with `aiida-mlip status {node.pk}`.")
    if follow:
        from aiida_mlip.provenance.watch import watch
        from aiida_mlip.report.text import print_summary

        watch(node, console)
        print_summary(node, console)
        click.echo(f"[{node.exit_status}] {node.exit_message or 'finished'}. Next: aiida-mlip report {node.pk}")


def _readable(inputs: Any) -> Any:
    """Return inputs with the values of settings instead of their nodes, and one line for each other node."""
    from aiida.orm import BaseType, Data
    from aiida.orm import Dict as DictNode

    if isinstance(inputs, DictNode):
        return inputs.get_dict()
    if isinstance(inputs, BaseType):
        return inputs.value
    if isinstance(inputs, Data):
        return f"{type(inputs).__name__}<{inputs.pk}> {inputs.label}"
    return {name: _readable(value) for name, value in inputs.items()} if isinstance(inputs, Mapping) else inputs


def _finetune_builder(described: FinetuneFile) -> ProcessBuilder:
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    from aiida_mlip.computers.defaults import find_worker, job_defaults, job_options
    from aiida_mlip.data.dataset import DatasetData
    from aiida_mlip.data.potential import PotentialData
    from aiida_mlip.workchains.finetune import FinetuneWorkChain

    try:
        computer = orm.load_computer(described.computer)
    except NotExistent as error:
        raise ValueError(
            f"computer = {described.computer!r} is not in this profile: run `aiida-mlip setup` with its file"
        ) from error
    overrides: dict[str, Any] = dict(described.overrides)
    overrides["training"] = {"device": job_defaults(computer).device} | dict(overrides.get("training", {}))
    dataset = described.dataset
    builder = FinetuneWorkChain.get_builder_from_protocol(
        code=find_worker(computer),
        potential=find_node(described.potential, PotentialData, "potential"),
        dataset=None if dataset is None else find_node(dataset, DatasetData, "dataset"),
        sets={name: find_node(text, DatasetData, f"sets.{name}") for name, text in described.sets.items()} or None,
        options=job_options(computer, walltime=described.walltime),
        protocol=described.protocol,
        overrides=overrides,
    )
    if described.replay_pool is not None:
        builder.replay_pool = find_node(described.replay_pool, DatasetData, "replay_pool")
    builder.metadata.label = described.label
    return builder


def _problem(builder: ProcessBuilder) -> str | None:
    """Return what the process would refuse, or None."""
    spec = builder.process_class.spec()
    error = spec.inputs.validate(spec.inputs.pre_process(builder._inputs(prune=True)))
    return None if error is None else str(error.message)
