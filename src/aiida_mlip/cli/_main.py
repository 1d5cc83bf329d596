"""The root of `aiida-mlip`: it finds its subcommands by file name and imports one only when it is asked for."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import cast

import click

from aiida_mlip import __version__
from aiida_mlip.cli._neighbour import conflict

NOT_COMMANDS = ("session",)
"""Public modules of this package that scripts use, and that hold no command."""


class LazyGroup(click.Group):
    """A group with one subcommand for each public module of this package but those of :data:`NOT_COMMANDS`.

    Module ``cli/<name>.py`` holds the click command ``<name>``. The modules import AiiDA and torch inside their
    functions only, so that listing the commands stays fast.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (the signature is click's)
        """Return the names of the modules beside this one that hold a command; those of others begin with _."""
        found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
        return sorted(name for name in found if not name.startswith("_") and name not in NOT_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command and return the command; None where there is no such module."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"aiida_mlip.cli.{cmd_name}")
        return cast("click.Command", getattr(module, cmd_name))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-p", "--profile", metavar="NAME", help="AiiDA profile to use instead of the default one.")
@click.version_option(__version__, prog_name="aiida-mlip")
@click.pass_context
def main(ctx: click.Context, profile: str | None) -> None:
    """Machine-learned interatomic potentials with AiiDA provenance.

    \b
    Example:
        aiida-mlip setup --local
        aiida-mlip foundation list
        aiida-mlip -p my-profile report 1234
    """
    ctx.obj = {"profile": profile}
    if problem := conflict():
        raise click.ClickException(problem)
