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
@click.option("--text", is_flag=True, help="Print the numbers as tables instead of writing the page.")
@with_profile
def report(identifier: str, output: Path | None, figure: Path | None, *, text: bool) -> None:
    """Write one HTML file about a finished, failed or running process; it opens without a network.

    Beside that of mlip.defects, the numbers are written as .csv and the whole summary as .json.

    \b
    Example:
        aiida-mlip report 1234
        aiida-mlip report 1234 -o tungsten.html
        aiida-mlip report 1234 --figure errors.png
        aiida-mlip report 1234 --text
    """
    from rich.console import Console

    from aiida_mlip.report import key_figure, write_report
    from aiida_mlip.report.subject import Subject
    from aiida_mlip.report.tables import write_tables
    from aiida_mlip.report.text import print_summary

    node = load_process(identifier)
    try:
        paths = [key_figure(node, figure)] if figure is not None else []
        if output is not None or (figure is None and not text):
            paths.append(write_report(node, output or Path(f"report-{node.pk}.html")))
            paths += write_tables(Subject(node), paths[-1]).values()
        if text:
            print_summary(node, Console())
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    for path in paths:
        click.echo(path)
