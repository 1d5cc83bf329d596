"""The command `aiida-mlip potential`: the potentials of the profile, and files of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from aiida_mlip.cli._profile import with_profile


@click.group()
def potential() -> None:
    """Potentials in the AiiDA profile.

    \b
    Example:
        aiida-mlip potential import my-mace.model --name my-mace --trust
        aiida-mlip potential list
    """


@potential.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", metavar="TEXT", help="Label of the node (default: the file's name).")
@click.option("--trust", is_flag=True, help="You vouch for the file: loading a model file runs the code inside it.")
@click.option("--head", metavar="NAME", help="Head of a multi-head model to use.")
@click.option("--architecture", metavar="NAME", help="Backend to read the file with (default: told from the file).")
@click.option("--licence", metavar="TEXT", help="Terms of use of the weights.")
@click.option("--level-of-theory", metavar="TEXT", help="What the training labels were computed with.")
@with_profile
def import_file(file: Path, **options: Any) -> None:
    """Store a model file of your own as a potential.

    Files of the registry, and files that a node of this profile holds already, need no --trust.

    \b
    Example:
        aiida-mlip potential import my.model --trust --level-of-theory PBE --licence MIT
    """
    from aiida_mlip.cli._reporting import transfer_bar
    from aiida_mlip.cli.foundation import echo_installed
    from aiida_mlip.foundation.errors import FoundationError
    from aiida_mlip.foundation.install import import_potential

    try:
        with transfer_bar() as report:
            done = import_potential(file, report=report, **options)
    except FoundationError as error:
        raise click.ClickException(str(error)) from error
    echo_installed(done)


@potential.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@with_profile
def list_potentials(as_json: bool) -> None:
    """List the potentials of the profile, newest first.

    \b
    Example:
        aiida-mlip potential list --json
    """
    from aiida.orm import QueryBuilder
    from rich.console import Console
    from rich.table import Table

    from aiida_mlip.data.potential import PotentialData

    query = QueryBuilder().append(PotentialData, tag="potential").order_by({"potential": {"id": "desc"}})
    rows = [_row(node) for node in query.all(flat=True)]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not rows:
        click.echo("No potentials yet: `aiida-mlip foundation install NAME` or `aiida-mlip potential import FILE`.")
        return
    table = Table(*rows[0], header_style="bold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(width=None if click.get_text_stream("stdout").isatty() else 160).print(table)


def _row(node: Any) -> dict[str, Any]:
    info = node.info
    return {
        "pk": node.pk,
        "name": info.name,
        "architecture": info.architecture,
        "elements": len(info.elements),
        "head": info.head,
        "level of theory": info.level_of_theory,
        "licence": info.licence,
        "trusted by hand": "yes" if node.trusted else "",
        "sha256": info.sha256[:12],
    }
