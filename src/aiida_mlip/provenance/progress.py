"""How far a running job is: the last line of its progress file, read through the computer's transport."""

from __future__ import annotations

import logging
import shlex
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from aiida import orm
from aiida.common.exceptions import AiidaException
from pydantic import ValidationError

from aiida_mlip.schema.job import PROGRESS_FILE, Progress

LOGGER = logging.getLogger(__name__)

TAIL_BYTES = 8192
"""Enough for the last line: a progress line has a few hundred bytes."""


def last_progress(node: orm.CalcJobNode) -> Progress | None:
    """Return the last progress line of a job, or None where it has not written one or the file is gone."""
    return progress_of([node]).get(node.pk)


def progress_of(nodes: Iterable[orm.CalcJobNode]) -> dict[int, Progress]:
    """Return pk -> last progress line, with one connection for each computer.

    Jobs without a line, and computers that cannot be reached, are left out; the latter are logged.
    """
    by_computer: dict[int, list[orm.CalcJobNode]] = defaultdict(list)
    for node in nodes:
        if node.get_remote_workdir() and node.computer is not None:
            by_computer[node.computer.pk].append(node)
    found: dict[int, Progress] = {}
    for jobs in by_computer.values():
        try:
            with jobs[0].get_transport() as transport:
                for job in jobs:
                    if (line := _read(transport, job.get_remote_workdir())) is not None:
                        found[job.pk] = line
        except (OSError, AiidaException) as error:
            LOGGER.warning("no progress from computer %s: %s", jobs[0].computer.label, error)
    return found


def _read(transport: Any, directory: str) -> Progress | None:
    path = shlex.quote(f"{directory}/{PROGRESS_FILE}")
    status, text, _ = transport.exec_command_wait(f"tail -c {TAIL_BYTES} {path} 2>/dev/null")
    return parse_last(text) if status == 0 else None


def parse_last(text: str) -> Progress | None:
    """Return the last valid line of a progress file; a line that is still being written is skipped."""
    for line in reversed(text.splitlines()):
        try:
            return Progress.model_validate_json(line)
        except ValidationError:
            continue
    return None
