"""Finished jobs as the parsers find them: a calculation node with inputs, and what was retrieved."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.plugins import ParserFactory

DATA = Path(__file__).parent / "data"


@pytest.fixture
def result() -> Callable[[str], dict[str, Any]]:
    """A function that returns the ``result.json`` of a real run of a task, to be changed at will."""
    return lambda task: json.loads((DATA / f"{task}.json").read_text(encoding="utf-8"))


@pytest.fixture
def parse(aiida_profile, localhost: orm.Computer, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Any]]:
    """A function that parses a finished job of a task and returns outputs and parser node.

    ``parse(task, inputs, files, large, status)``: ``inputs`` by link label, ``files`` of ``retrieved`` and ``large``
    files that are retrieved for parsing only by name, ``status`` the exit status that the scheduler's plugin set.
    """

    def run(
        task: str,
        inputs: dict[str, Any],
        files: dict[str, str | dict],
        large: dict[str, bytes] | None = None,
        status: int | None = None,
    ) -> tuple[dict[str, Any], Any]:
        node = orm.CalcJobNode(computer=localhost, process_type=f"aiida.calculations:mlip.{task}")
        for name, value in (
            ("output_filename", "worker.out"),
            ("scheduler_stderr", "_scheduler-stderr.txt"),
            ("scheduler_stdout", "_scheduler-stdout.txt"),
        ):
            node.set_option(name, value)
        for label, data in inputs.items():
            node.base.links.add_incoming(data.store(), LinkType.INPUT_CALC, label)
        node.store()
        if status is not None:
            node.set_exit_status(status)
            node.set_exit_message("said by the scheduler")
        retrieved = orm.FolderData()
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            retrieved.base.repository.put_object_from_filelike(io.BytesIO(text.encode()), name)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, "retrieved")
        retrieved.store()
        folder = tmp_path / "temporary"
        folder.mkdir()
        for name, content in (large or {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        parser = ParserFactory(f"mlip.{task}")
        return parser.parse_from_node(node, store_provenance=False, retrieved_temporary_folder=str(folder))

    return run
