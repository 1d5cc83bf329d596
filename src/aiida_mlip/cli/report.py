"""`aiida-mlip report`: what came out of a process, as one page."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_mlip.cli._nodes import load_process
from aiida_mlip.cli._profile import with_profile


@click.command()
@click.argument("identifier", metavar="PK|UUID")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="HTML file; default: report-PK.html."
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the key figure instead of the page: .png, .svg or .pdf.",
)
@with_profile
def report(identifier: str, output: Path | None, figure: Path | None) -> None:
    """Write one HTML file about a finished, failed or running process; it opens without a network.

    \b
    Example:
        aiida-mlip report 1234
        aiida-mlip report 1234 -o tungsten.html
        aiida-mlip report 1234 --figure errors.png
    """
    from aiida_mlip.report import key_figure, write_report

    node = load_process(identifier)
    try:
        paths = [key_figure(node, figure)] if figure is not None else []
        if output is not None or figure is None:
            paths.append(write_report(node, output or Path(f"report-{node.pk}.html")))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    for path in paths:
        click.echo(path)
