"""The command `aiida-mlip`. Every other module here whose name has no leading underscore is one subcommand."""

from aiida_mlip.cli._main import main

__all__ = ["main"]
