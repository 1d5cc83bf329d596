"""The command `aiida-mlip potential`: the potentials of the profile, and files of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_mlip.cli._profile import with_profile

if TYPE_CHECKING:
    from aiida_mlip.data.potential import PotentialData


@click.group()
def potential() -> None:
    """Potentials in the AiiDA profile.

    \b
    Example:
        aiida-mlip potential import my-mace.model --name my-mace --trust
        aiida-mlip potential add-dispersion my-mace --functional pbe
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
@click.option(
    "--dispersion",
    type=click.Choice(["included", "none"]),
    help="Whether the training labels had dispersion (D3, D4, VV10, ...); nobody can tell from the file.",
)
@with_profile
def import_file(file: Path, **options: Any) -> None:
    """Store a model file of your own as a potential.

    Files of the registry, and files that a node of this profile holds already, need no --trust.

    \b
    Example:
        aiida-mlip potential import my.model --trust --level-of-theory PBE --dispersion none --licence MIT
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


@potential.command("add-dispersion")
@click.argument("potential_node", metavar="POTENTIAL")
@click.option("--method", metavar="NAME", help="Damping of D3: d3bj (default) or d3zero.")
@click.option("--functional", metavar="NAME", help="Functional of the training labels (default: pbe).")
@click.option("--three-body", is_flag=True, default=None, help="Also the three-body term.")
@click.option("--cutoff", type=float, metavar="Å", help="Cut-off of pairs [Å].")
@with_profile
def add_dispersion(potential_node: str, **options: Any) -> None:
    """Store a potential with DFT-D3 added to everything that it predicts.

    POTENTIAL is a pk, uuid or label. One whose training labels had dispersion is refused.

    \b
    Example:
        aiida-mlip potential add-dispersion mace-omat-0-small --functional pbe
    """
    from aiida.orm import Dict

    from aiida_mlip.calculations.dispersion import with_dispersion

    settings = {name: value for name, value in options.items() if value is not None}
    try:
        node = with_dispersion(_potential(potential_node), Dict(settings))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"PotentialData<{node.pk}> {node.info.name} stored. Dispersion: {node.info.dispersion_words}.")


@potential.command("state-dispersion")
@click.argument("potential_node", metavar="POTENTIAL")
@click.argument("statement", type=click.Choice(["included", "none", "unknown"]))
@with_profile
def state(potential_node: str, statement: str) -> None:
    """Say whether the training labels of a potential had dispersion. Nothing that it predicts changes.

    \b
    Example:
        aiida-mlip potential state-dispersion my-mace none
    """
    from aiida.orm import Str

    from aiida_mlip.calculations.dispersion import state_dispersion

    try:
        node = state_dispersion(_potential(potential_node), Str(statement))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"PotentialData<{node.pk}> {node.info.name} stored. Dispersion: {statement}.")


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


def _potential(identifier: str) -> PotentialData:
    from aiida_mlip.cli._nodes import find_node
    from aiida_mlip.data.potential import PotentialData

    return find_node(identifier, PotentialData, "POTENTIAL")


def _row(node: Any) -> dict[str, Any]:
    info = node.info
    return {
        "pk": node.pk,
        "name": info.name,
        "architecture": info.architecture,
        "elements": len(info.elements),
        "head": info.head,
        "level of theory": info.level_of_theory,
        "dispersion": info.dispersion_words,
        "licence": info.licence,
        "trusted by hand": "yes" if node.trusted else "",
        "sha256": info.sha256[:12],
    }
