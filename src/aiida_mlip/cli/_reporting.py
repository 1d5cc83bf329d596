"""A progress bar for transfers, on the terminal only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida_mlip.foundation.progress import Report


@contextmanager
def transfer_bar() -> Iterator[Report]:
    """Show a bar with bytes, speed and time left while the block runs.

    Where stderr is no terminal, each stage is one line.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(
        TextColumn("{task.description}"), *columns, console=console, transient=True, disable=not console.is_terminal
    )
    seen: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int | None) -> None:
        if stage not in seen:
            for task in seen.values():
                bar.update(task, visible=False)
            seen[stage] = bar.add_task(stage)
            if not console.is_terminal:
                console.print(f"{stage[0].upper()}{stage[1:]} ...", highlight=False)
        bar.update(seen[stage], completed=done if total is None else min(done, total), total=total)

    with bar:
        yield report
