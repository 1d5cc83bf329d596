"""A window of processes: as soon as one ends, the next is submitted.

A work chain of AiiDA that waits for several processes goes on when the last of them has ended, so that a window that is
filled again and again waits for its slowest member each time. :class:`WindowedWorkChain` goes on when the first one has
ended. In an outline::

    while_(cls.has_work)(cls.keep_window_full)

where the step takes the processes that have ended, submits others, and returns :meth:`WindowedWorkChain.wait_for_any`.
"""

from __future__ import annotations

import functools
from typing import Any

from aiida import orm
from aiida.engine import ProcessSpec, ToContext
from plumpy import ProcessState

from aiida_mlip.workchains.once import SubmitsOnce

WINDOW = "window"
"""Entry of the context that holds the processes of the window while they run."""


def define_max_concurrent(spec: ProcessSpec) -> None:
    """Define the input ``max_concurrent``."""
    spec.input(
        "max_concurrent",
        valid_type=orm.Int,
        required=False,
        serializer=orm.to_aiida_type,
        help="Jobs at a time; without it, what the computer's file says.",
    )


class WindowedWorkChain(SubmitsOnce):
    """A work chain that can wait for the first of several processes.

    It overrides how AiiDA acts on the end of a process that is waited for, and nothing else: what is waited for is
    stored in the checkpoint as in any work chain, so that it goes on after a stop of the daemon. Steps that return
    another ``ToContext`` wait for all, as usual.
    """

    _awaitables: list[Any]

    def setup_window(self) -> None:
        """Begin with an empty window; call it in the first step of the outline."""
        self.ctx.running = {}

    def enter_window(self, label: str, node: orm.ProcessNode) -> None:
        """Note a process that has just been submitted.

        :param label: unique in the window; letters, digits and underscores.
        """
        self.ctx.running = {**self.ctx.running, label: node.pk}

    def leave_window(self) -> list[tuple[str, orm.ProcessNode]]:
        """Take the processes that have ended out of the window, and return them with their labels."""
        self.ctx.pop(WINDOW, None)
        nodes = [(label, orm.load_node(pk)) for label, pk in self.ctx.running.items()]
        ended = [(label, node) for label, node in nodes if node.is_terminated]
        gone = {label for label, _ in ended}
        self.ctx.running = {label: pk for label, pk in self.ctx.running.items() if label not in gone}
        return ended

    def wait_for_any(self) -> Any:
        """Return what a step has to return in order to go on when the first process of the window has ended."""
        return ToContext(**{f"{WINDOW}.{label}": orm.load_node(pk) for label, pk in self.ctx.running.items()})

    def _action_awaitables(self) -> None:
        """Watch what is waited for; called when the work chain begins to wait, and after a restart of the daemon."""
        if not self._waits_for_any():
            super()._action_awaitables()
            return
        watched: set[int] = self.__dict__.setdefault("_watched", set())
        for awaitable in self._awaitables:
            ended = functools.partial(self.call_soon, self._on_window_process_ended, awaitable.pk)
            if awaitable.pk not in watched:
                watched.add(awaitable.pk)
                self.runner.call_on_process_finish(awaitable.pk, ended)
            elif orm.load_node(awaitable.pk).is_terminated:  # it ended while the last step was running
                ended()

    def _waits_for_any(self) -> bool:
        return all(awaitable.key.startswith(f"{WINDOW}.") for awaitable in self._awaitables)

    def _on_window_process_ended(self, pk: int) -> None:
        """Go on, unless the work chain is not waiting for this process."""
        waited = {awaitable.pk for awaitable in self._awaitables}
        if self.state == ProcessState.WAITING and pk in waited and self._waits_for_any():
            self._awaitables = []
            self.resume()


__all__ = ("WindowedWorkChain",)
