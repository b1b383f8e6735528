"""Where the time of a prediction goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_END = object()


class Stopwatch:
    """Seconds by kind of work, of one thread."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def of(self, work: str) -> Iterator[None]:
        """Count the block as this kind of work."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[work] += time.perf_counter() - start

    def each(self, work: str, items: Generator[T]) -> Generator[T]:
        """The items of a generator, the time until each comes counted as this kind of work; closing it closes that."""
        try:
            while True:
                with self.of(work):
                    item = next(items, _END)
                if item is _END:
                    return
                yield item  # type: ignore[misc]
        finally:
            items.close()
