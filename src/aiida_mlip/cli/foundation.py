"""The command `aiida-mlip foundation`: published models, listed, explained and installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_mlip.cli._profile import with_profile

if TYPE_CHECKING:
    from rich.table import Table

    from aiida_mlip.foundation.install import Installed
    from aiida_mlip.foundation.registry import FoundationModel


@click.group()
def foundation() -> None:
    """Foundation models: what there is, and how to get one.

    \b
    Example:
        aiida-mlip foundation list
        aiida-mlip foundation install mace-omat-0-small
    """


@foundation.command("list")
@click.option("--elements", metavar="W,O,...", help="Only models that know all of these elements.")
@click.option("--licence", metavar="NAME", help="Only models under this licence, e.g. MIT.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_models(elements: str | None, licence: str | None, as_json: bool) -> None:
    """List the models of the registry. Needs no AiiDA profile.

    \b
    Example:
        aiida-mlip foundation list --elements W,He --licence MIT
    """
    from rich.console import Console

    from aiida_mlip.foundation.registry import registry

    wanted = {symbol.strip() for symbol in (elements or "").split(",") if symbol.strip()}
    _check_elements(wanted)
    models = [
        model
        for model in registry().values()
        if wanted <= set(model.elements) and (licence is None or model.licence.name.lower() == licence.lower())
    ]
    if as_json:
        click.echo(json.dumps([_as_dict(model) for model in models], indent=2, ensure_ascii=False))
        return
    console = Console(width=None if click.get_text_stream("stdout").isatty() else 200)
    console.print(_table(models))
    console.print(
        "[dim]ASL: academic, non-commercial use only. `aiida-mlip foundation show NAME` tells all of one model.[/dim]"
    )


@foundation.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def show(name: str, as_json: bool) -> None:
    """Show all that is known of one model. Needs no AiiDA profile.

    \b
    Example:
        aiida-mlip foundation show mace-omat-0-small
    """
    from rich.console import Console
    from rich.table import Table

    model = _get(name)
    if as_json:
        click.echo(json.dumps(_as_dict(model), indent=2, ensure_ascii=False))
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for field, value in _facts(model).items():
        table.add_row(f"[bold]{field}[/bold]", value)
    Console(width=None if click.get_text_stream("stdout").isatty() else 160).print(table)


@foundation.command()
@click.argument("name")
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The model's file, if you have it: nothing is downloaded.",
)
@click.option("--head", metavar="NAME", help="Head of a multi-head model to use.")
@click.option("--trust", is_flag=True, help="Accept a file whose checksum is unknown; the node records that you did.")
@with_profile
def install(name: str, path: Path | None, head: str | None, trust: bool) -> None:
    """Fetch a model and store it in the AiiDA profile as a potential.

    The file comes from the official address, or else from a mirror on PyPI, or else from --file.

    \b
    Example:
        aiida-mlip foundation install mace-omat-0-small
        aiida-mlip foundation install mace-mp-0-medium --file 2023-12-03-mace-128-L1_epoch-199.model
    """
    from aiida_mlip.cli._reporting import transfer_bar
    from aiida_mlip.foundation.errors import FoundationError
    from aiida_mlip.foundation.install import install as install_model

    model = _get(name)
    if model.licence.restricts_use:
        licence = model.licence
        click.echo(f"Licence of {model.name}: {licence.title} ({licence.name}), {licence.url}: {licence.summary}.")
    try:
        with transfer_bar() as report:
            done = install_model(model.name, path=path, head=head, trust=trust, report=report)
    except FoundationError as error:
        raise click.ClickException(str(error)) from error
    echo_installed(done)


def echo_installed(done: Installed) -> None:
    """Say which node a potential is, whether it is new, and what is known of it."""
    for problem in done.problems:
        click.echo(f"Note: {problem}.", err=True)
    node, info = done.node, done.node.info
    how = f"stored, from {done.source}" if done.created else "was there already"
    click.echo(f"PotentialData<{node.pk}> {info.name} {how}.")
    click.echo(
        f"{info.architecture}, head {info.head}, {len(info.elements)} elements, r_max {info.r_max:g} Å, "
        f"{info.num_parameters:,} parameters, {info.dtype}; {info.level_of_theory}; licence {info.licence}."
    )
    click.echo(f"Dispersion: {info.dispersion_words}.")
    if node.trusted:
        click.echo("The node records that you vouched for the file (--trust).")


def _get(name: str) -> FoundationModel:
    from aiida_mlip.foundation.errors import UnknownModelError
    from aiida_mlip.foundation.registry import get

    try:
        return get(name)
    except UnknownModelError as error:
        raise click.ClickException(str(error)) from error


def _check_elements(symbols: set[str]) -> None:
    from ase.data import atomic_numbers

    if wrong := sorted(symbols - atomic_numbers.keys()):
        raise click.ClickException(f"--elements: {', '.join(wrong)} is no chemical symbol; write them like W,O,Si")


def _table(models: list[FoundationModel]) -> Table:
    from rich.table import Table

    from aiida_mlip.foundation.fetch import cached_path

    table = Table(header_style="bold")
    for heading in ("name", "other name", "elements", "r_max [Å]", "level of theory", "licence", "size", "downloaded"):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("elements", "size") else "left")
    for model in models:
        table.add_row(
            model.name,
            _name_in_package(model),
            str(len(model.elements)),
            f"{model.r_max:g}" if model.r_max else "?",
            model.level_of_theory,
            f"[yellow]{model.licence.name}[/yellow]" if model.licence.restricts_use else model.licence.name,
            f"{model.nbytes / 1e6:.0f} MB" if model.nbytes else "?",
            "yes" if cached_path(model).exists() else "",
        )
    return table


def _name_in_package(model: FoundationModel) -> str:
    """Return the name that the package of the model knows it by, and which of mace's functions loads it."""
    if model.mace_name is None:
        return f"{model.architecture}: {', '.join(model.aliases)}".removesuffix(": ")
    return model.mace_name if model.mace_function == "mace_mp" else f"{model.mace_function}: {model.mace_name}"


def _facts(model: FoundationModel) -> dict[str, str]:
    """Return what `show` prints, in order."""
    licence = model.licence
    checksum = {
        "measured": "computed by this project from the file",
        "recorded": "the same in several unrelated records of the official file",
        "unknown": "install needs --trust",
    }[model.checksum]
    facts = {
        "name": model.name,
        "other names": ", ".join(model.names[1:]),
        "backend": model.architecture,
        "mace": f"{model.mace_function}(model={model.mace_name!r})" if model.mace_name else "",
        "licence": f"{licence.title} ({licence.name}), {licence.url}: {licence.summary}",
        "level of theory": model.level_of_theory,
        **{f"  head {head}": level for head, level in model.head_levels.items()},
        "dispersion": model.dispersion,
        **{f"  dispersion of head {head}": statement for head, statement in model.head_dispersion.items()},
        "trained on": model.training_data,
        "elements": f"{len(model.elements)}: {' '.join(model.elements)}",
        "r_max": f"{model.r_max:g} Å" if model.r_max else "not stated; the installed file tells",
        "heads": ", ".join(model.heads),
        "cite": ", ".join(model.citation),
        "official address": model.url,
        "mirrors": ", ".join(f"PyPI {mirror.requirement}" for mirror in model.mirrors),
        "size": f"{model.nbytes:,} bytes" if model.nbytes else "",
        "sha256": f"{model.sha256 or 'unknown'} ({checksum})",
        "note": model.note,
    }
    return {field: value for field, value in facts.items() if value}


def _as_dict(model: FoundationModel) -> dict[str, Any]:
    return {**model.model_dump(mode="json"), "names": list(model.names)}
