"""Why a process did not finish well, in words."""

from __future__ import annotations

from aiida import orm


def reason_of(node: orm.ProcessNode) -> str:
    """Return why a process did not finish well."""
    if node.is_excepted:
        return f"{node.process_label}<{node.pk}> excepted: {node.exception}"
    if node.is_killed:
        return f"{node.process_label}<{node.pk}> was killed: {node.process_status}"
    return f"{node.process_label}<{node.pk}> ended with [{node.exit_status}] {node.exit_message}"
