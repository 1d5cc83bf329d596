"""Finding the node that a user means by a pk, a uuid or a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from aiida.orm import Node, ProcessNode

NodeT = TypeVar("NodeT", bound="Node")


def find_node(identifier: str, node_type: type[NodeT], what: str) -> NodeT:
    """Return the node with this pk, uuid or label; of several with one label, the newest.

    :param identifier: what the user wrote.
    :param node_type: the type it has to be of.
    :param what: name of the argument, for messages.
    :raises click.ClickException: if there is none, or it is of another type.
    """
    from aiida.common.exceptions import MultipleObjectsError, NotExistent
    from aiida.orm import QueryBuilder, load_node

    if not identifier.isdigit():
        query = QueryBuilder().append(node_type, filters={"label": identifier}, tag="node")
        query.order_by({"node": [{"ctime": "desc"}, {"id": "desc"}]})
        if (found := query.first(flat=True)) is not None:
            return found  # type: ignore[no-any-return]
    try:
        node = load_node(identifier)
    except (NotExistent, MultipleObjectsError, ValueError) as error:
        raise click.ClickException(
            f"{what} = {identifier!r} is no pk, uuid or label of a {node_type.__name__} in this profile"
        ) from error
    if not isinstance(node, node_type):
        raise click.ClickException(f"{what} = {identifier!r} is a {type(node).__name__}: give a {node_type.__name__}")
    return node


def load_any(identifier: str) -> Node:
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


def load_process(identifier: str) -> ProcessNode:
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
