"""Where the time of a prediction goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

T = TypeVar("T")

_END = object()


class Stopwatch:
    """Seconds by kind of work, summed over threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def of(self, work: str, clock: Callable[[], float] = time.thread_time) -> Iterator[None]:
        """Count the block as this kind of work.

        Args:
            work: what it is.
            clock: the thread's processor time, or `time.perf_counter` where waiting counts.
        """
        start = clock()
        try:
            yield
        finally:
            elapsed = clock() - start
            with self._lock:
                self.seconds[work] += elapsed

    def each(self, work: str, items: Generator[T], clock: Callable[[], float] = time.thread_time) -> Generator[T]:
        """The items of a generator, what it takes to get each counted as this kind of work; closing it closes that."""
        try:
            while True:
                with self.of(work, clock):
                    item = next(items, _END)
                if item is _END:
                    return
                yield item  # type: ignore[misc]
        finally:
            items.close()
