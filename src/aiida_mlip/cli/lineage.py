"""`aiida-mlip lineage`: what a potential, a data set or any node was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_mlip.cli._nodes import load_any
from aiida_mlip.cli._profile import with_profile

if TYPE_CHECKING:
    from aiida.orm import Node


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
@click.option("--frame", type=int, metavar="N", help="Of a data set: the way of its configuration N, counted from 0.")
@with_profile
def lineage(  # noqa: PLR0917 - one for each option
    identifier: str, full: bool, settings: bool, as_json: bool, graph: Path | None, frame: int | None
) -> None:
    """Show what a node was made from, down to each label calculation.

    Calculations of one kind are one line ("83 × PwCalculation"). A workflow stands for the potential it returned.
    With --frame, one configuration is traced to its label and to the dynamics and the uncertainty that asked for it.

    \b
    Example:
        aiida-mlip lineage 1234
        aiida-mlip lineage 1234 --full
        aiida-mlip lineage 1234 --graph lineage.svg
        aiida-mlip lineage 1234 --frame 17
    """
    from rich.console import Console

    from aiida_mlip.provenance.ancestry import ancestry
    from aiida_mlip.provenance.draw import GraphvizMissingError, draw
    from aiida_mlip.provenance.summary import summary_lines
    from aiida_mlip.provenance.tree import lineage_document, lineage_tree

    if frame is not None:
        _print_frame(load_any(identifier), frame, as_json=as_json)
        return
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


def _print_frame(node: Node, index: int, *, as_json: bool) -> None:
    """Print the way of one configuration."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from aiida_mlip.provenance.frame import frame_way, way_document, way_lines

    try:
        way = frame_way(node, index)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(way_document(way), indent=1))
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for what, text in way_lines(way):
        table.add_row("" if what == before else what, escape(text))
        before = what
    Console().print(table, highlight=False)
