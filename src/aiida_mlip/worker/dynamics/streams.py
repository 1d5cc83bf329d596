"""Files that only grow, and signals that wait for the end of a step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

Check = Callable[[], None]


class Stream:
    """A text file that grows by whole pieces, and is cut back to where a checkpoint left it.

    :param path: the file; it is made where it does not exist.
    :param size: bytes to keep.
    :raises ValueError: where the file is shorter than that.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self._handle = path.open("ab")
        if os.fstat(self._handle.fileno()).st_size < size:
            self._handle.close()
            raise ValueError(f"{path.name} has lost its end")
        self._handle.truncate(size)
        self._handle.seek(size)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.close()

    def write(self, text: str) -> None:
        """Append a piece; it is in the file when this returns."""
        self._handle.write(text.encode())
        self._handle.flush()

    def sync(self) -> int:
        """Make the disk have all pieces, and return the size of the file in bytes."""
        os.fsync(self._handle.fileno())
        return self._handle.tell()


@contextmanager
def postponed_signals() -> Iterator[Check]:
    """Keep the signals that stop a job until the function that is yielded is called.

    The handlers that were there before then run, and raise what they raise: a step of the dynamics is whole or has not
    begun. Outside the main thread there are no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[tuple[int, FrameType | None]] = []
    numbers = (signal.SIGTERM, signal.SIGALRM)
    handlers = {number: signal.signal(number, lambda number, frame: came.append((number, frame))) for number in numbers}

    def deliver() -> None:
        while came:
            number, frame = came.pop(0)
            handler = handlers[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)
            elif handler == signal.SIG_DFL:
                raise SystemExit(128 + number)

    try:
        yield deliver
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    deliver()
