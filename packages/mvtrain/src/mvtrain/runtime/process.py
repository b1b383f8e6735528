"""One process at a time in a folder."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout


@contextmanager
def locked_folder(folder: Path, lock_file: Path, *, what: str, busy: str) -> Iterator[None]:
    """Make a folder and keep other processes out of it; the lock goes with the process, however it ends.

    Args:
        folder: made with its parents when it does not exist.
        lock_file: on the same disk; removed afterwards.
        what: the folder's name in messages.
        busy: the message when another process holds the lock.

    Raises:
        ValueError: another process is there, or the folder cannot be made or written to.
    """
    lock = FileLock(lock_file, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise ValueError(busy) from error
    except OSError as error:
        raise ValueError(f"{what} cannot be written to: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
        lock_file.unlink(missing_ok=True)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class RunInterruptedError(Exception):
    """A run that was asked to stop, and has saved where it is.

    Attributes:
        exit_status: what a shell expects of a process that ended by the signal.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


class Interruption:
    """Within the block the first SIGINT or SIGTERM is only noted; a second one acts as it always did.

    Attributes:
        signal_number: the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Python hands signals to the main thread only, and only there may handlers be set.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal_number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
