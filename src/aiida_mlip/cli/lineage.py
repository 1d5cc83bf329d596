"""`aiida-mlip lineage`: what a potential, a data set or any node was made from."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aiida_mlip.cli._nodes import load_any
from aiida_mlip.cli._profile import with_profile


@click.command()
@click.argument("identifier", metavar="PK|UUID")
@click.option("--full", is_flag=True, help="List each node of a group with its uuid, not only their number.")
@click.option("--settings", is_flag=True, help="Also show dictionaries, numbers and texts.")
@click.option("--json", "as_json", is_flag=True, help="Print every node and link as JSON.")
@click.option(
    "--graph",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw it: .svg, .pdf or .png (the last two need graphviz).",
)
@with_profile
def lineage(identifier: str, full: bool, settings: bool, as_json: bool, graph: Path | None) -> None:
    """Show what a node was made from, down to each label calculation.

    Calculations of one kind are one line ("83 × PwCalculation"). A workflow stands for the potential it returned.

    \b
    Example:
        aiida-mlip lineage 1234
        aiida-mlip lineage 1234 --full
        aiida-mlip lineage 1234 --graph lineage.svg
    """
    from rich.console import Console

    from aiida_mlip.provenance.ancestry import ancestry
    from aiida_mlip.provenance.draw import GraphvizMissingError, draw
    from aiida_mlip.provenance.summary import summary_lines
    from aiida_mlip.provenance.tree import lineage_document, lineage_tree

    found = ancestry(load_any(identifier))
    if graph is not None:
        try:
            draw(found, graph, settings=settings)
        except (GraphvizMissingError, ValueError) as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(lineage_document(found), indent=1))
        return
    console = Console()
    console.print(lineage_tree(found, full=full, settings=settings))
    for line in summary_lines(found):
        console.print(line, highlight=False)
    if graph is not None:
        console.print(f"graph: {graph}", highlight=False)
