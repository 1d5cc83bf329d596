"""A display that follows a process until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from aiida import orm
from rich.console import Console, RenderableType
from rich.live import Live

from aiida_mlip.provenance.estimate import time_left
from aiida_mlip.provenance.generations import loop_text
from aiida_mlip.provenance.show import duration, outcome, progress_text, table
from aiida_mlip.provenance.status import State, state_of

EVERY_LINES = 30.0
"""Seconds between two plain lines of a job whose stage has not changed."""


def watch(
    node: orm.ProcessNode, console: Console | None = None, *, interval: float = 2.0, timeout: float | None = None
) -> State:
    """Show stage, epoch, errors and time left until the process ends, and return its last state.

    On a terminal the display is redrawn in place. Elsewhere (a log file, CI) a line is printed when something changes.

    :param interval: seconds between two looks.
    :param timeout: seconds after which to stop looking; the process goes on.
    """
    console = console or Console()
    if console.is_terminal:
        return _live(lambda: state_of(node), console, interval, timeout)
    last: State | None = None
    changes = Changes()
    for last in _looks(lambda: state_of(node), interval, timeout):
        for line in changes.lines(last):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if last is None:
        raise RuntimeError("a process was watched without being looked at")
    return last


def watch_view(view: Callable[[], RenderableType], console: Console, interval: float = 5.0) -> None:
    """Redraw ``view()`` until the user interrupts."""
    with Live(view(), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            live.update(view(), refresh=True)


def _looks(look: Callable[[], State], interval: float, timeout: float | None) -> Iterator[State]:
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        state = look()
        yield state
        if not state.active or (end is not None and time.monotonic() > end):
            return
        time.sleep(interval)


def _live(look: Callable[[], State], console: Console, interval: float, timeout: float | None) -> State:
    with Live(console=console, auto_refresh=False) as live:
        for state in _looks(look, interval, timeout):
            live.update(table([state]), refresh=True)
    return state


class Changes:
    """Turns a sequence of states into lines that say only what is new."""

    def __init__(self, every: float = EVERY_LINES) -> None:
        self._every = every
        self._seen: dict[int, tuple[str, str]] = {}
        self._told: dict[int, float] = {}
        self._generations: set[str] = set()

    def lines(self, state: State) -> list[str]:
        """Return one line for each process that began, ended or changed its stage, and now and then its progress.

        Those of an iterative training are followed by what is new of its generations.
        """
        found = []
        for part in state.walk():
            stage = part.progress.stage if part.progress else ""
            now, seen = (part.state if part.active else outcome(part), stage), self._seen.get(part.pk)
            due = stage and time.monotonic() - self._told.get(part.pk, 0.0) >= self._every
            if seen == now and not due:
                continue
            if seen is None or now[0] not in ACTIVE_WORDS or stage != seen[1] or due:
                found.append(_line(part))
                self._told[part.pk] = time.monotonic()
            self._seen[part.pk] = now
        new = [line for line in loop_text(state).splitlines() if line not in self._generations]
        self._generations |= set(new)
        return found + new


ACTIVE_WORDS = ("created", "running", "waiting")


def _line(state: State) -> str:
    name = f"{state.step or state.name}<{state.pk}>"
    if not state.active:
        return f"{name} {outcome(state)} after {duration(state.elapsed)}"
    if state.progress is None:
        return f"{name} {state.detail or 'started'}"
    left = time_left(state)
    return f"{name} {progress_text(state.progress)}{f' · about {duration(left)} left' if left else ''}"
