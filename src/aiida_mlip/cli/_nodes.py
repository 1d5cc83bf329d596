"""Finding the node that a command was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from aiida import orm


def load_any(identifier: str) -> orm.Node:
    """Return the node with this pk, uuid or label.

    :raises click.ClickException: if there is none, or more than one.
    """
    from aiida.common.exceptions import MultipleObjectsError, NotExistent
    from aiida.orm import load_node

    try:
        return load_node(identifier)
    except (NotExistent, ValueError) as error:
        raise click.ClickException(
            f"PK = {identifier!r}: no such node in this profile. List processes with `aiida-mlip status` or "
            "`verdi process list -a`, and choose another profile with `aiida-mlip --profile NAME`."
        ) from error
    except MultipleObjectsError as error:
        raise click.ClickException(
            f"PK = {identifier!r} is the beginning of several uuids: give more of it."
        ) from error


def load_process(identifier: str) -> orm.ProcessNode:
    """Return the process with this pk, uuid or label.

    :raises click.ClickException: if there is none, or the node is data.
    """
    from aiida.orm import ProcessNode

    node = load_any(identifier)
    if not isinstance(node, ProcessNode):
        raise click.ClickException(
            f"PK = {identifier!r} is a {type(node).__name__}, not a process: for data use `aiida-mlip lineage`."
        )
    return node
