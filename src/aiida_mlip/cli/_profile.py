"""Loading the AiiDA profile that a command was asked to use."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")


def load(name: str | None = None) -> None:
    """Load an AiiDA profile, unless one is loaded already and none is named.

    :param name: the profile; None means the loaded one, or else the default of the AiiDA configuration.
    :raises click.ClickException: if there is no such profile.
    """
    from aiida.common.exceptions import ConfigurationError
    from aiida.manage import get_manager
    from aiida.manage.configuration import load_profile

    if name is None and get_manager().get_profile() is not None:
        return
    try:
        load_profile(name, allow_switch=True)
    except ConfigurationError as error:
        message = (
            f"no AiiDA profile could be loaded: {error}. List the profiles with `verdi profile list` and choose one "
            "with `aiida-mlip --profile NAME`, or make one for this machine with `aiida-mlip setup --local`."
        )
        raise click.ClickException(message) from error


def with_profile(function: Callable[P, R]) -> Callable[P, R]:
    """Load the profile given to the root command before the decorated command runs."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        root = click.get_current_context().find_root()
        load((root.obj or {}).get("profile"))
        return function(*args, **kwargs)

    return wrapper
