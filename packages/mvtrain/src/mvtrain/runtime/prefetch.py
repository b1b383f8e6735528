"""Generators that run in a thread, ahead of their consumer."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from queue import Full, Queue
from threading import Event
from typing import TypeVar

T = TypeVar("T")

_END = object()
_PATIENCE = 0.1
"""Seconds between two checks whether the consumer is gone."""


def prefetch(items: Generator[T], depth: int) -> Generator[T]:
    """Yield the items of a generator, which runs in a thread of its own up to `depth` items ahead.

    An exception of the generator is raised here. Closing this generator ends the thread and closes the other one.
    """
    queue: Queue[object] = Queue(depth)
    abandoned = Event()

    def put(item: object) -> bool:
        while not abandoned.is_set():
            try:
                queue.put(item, timeout=_PATIENCE)
            except Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    break
        finally:
            items.close()
            put(_END)

    with ThreadPoolExecutor(max_workers=1) as pool:
        future = pool.submit(work)
        try:
            while (item := queue.get()) is not _END:
                yield item  # type: ignore[misc]
            future.result()
        finally:
            abandoned.set()
