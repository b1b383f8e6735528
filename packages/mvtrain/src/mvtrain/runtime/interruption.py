"""Interruption by SIGINT and SIGTERM, as a request to stop at the next step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class RunInterruptedError(Exception):
    """A run that was interrupted by a signal, and has saved its state.

    Args:
        message: Message about where it stopped.
        signal_number: Number of the signal.
        next_time: What the same command does when it is given again.

    Attributes:
        exit_status: Exit status of a process that ends by the signal.
        next_time: What the same command does when it is given again.
    """

    def __init__(self, message: str, signal_number: int, next_time: str = "goes on from there") -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number
        self.next_time = next_time


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
