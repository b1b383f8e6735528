"""Locks of folders against other processes, and interruption by signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from mvgeom.errors import InputError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def locked_folder(folder: Path, lock_file: Path, *, what: str, busy: str) -> Iterator[None]:
    """Make a folder and lock it against other processes; the lock ends with the process, however it ends.

    Args:
        folder: Folder to lock; it is made with its parents if missing.
        lock_file: Path of the lock, on the same disk; it is removed afterwards.
        what: Name of the folder in messages.
        busy: Message if another process has the lock.

    Raises:
        InputError: Another process has the lock (`busy-folder`), or the folder cannot be made or written
            (`unwritable-file`).
    """
    lock = FileLock(lock_file, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(busy, code="busy-folder", path=folder) from error
    except OSError as error:
        raise InputError(
            f"{what} cannot be written to: {error.strerror}", code="unwritable-file", path=folder
        ) from error
    try:
        yield
    finally:
        lock.release()
        lock_file.unlink(missing_ok=True)


class RunInterruptedError(Exception):
    """A run that was interrupted by a signal, and has saved its state.

    Attributes:
        exit_status: Exit status of a process that ends by the signal.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


class Interruption:
    """Context in which the first SIGINT or SIGTERM is only noted; a second one has its usual effect.

    Attributes:
        signal_number: Number of the signal that came, or 0.
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
