"""A stopwatch by kind of work, and a progress bar with frames per second."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")

_END = object()


class Stopwatch:
    """Stopwatch of one thread that adds up seconds by kind of work.

    Attributes:
        seconds: Seconds by kind of work.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, work: str) -> Iterator[None]:
        """Add the time of the block to this kind of work."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[work] += time.perf_counter() - start

    def each(self, work: str, items: Generator[T]) -> Generator[T]:
        """Yield the items of a generator and add the time until each arrives to this kind of work.

        Closing the returned generator closes `items`.
        """
        try:
            while True:
                with self.measure(work):
                    item = next(items, _END)
                if item is _END:
                    return
                yield item  # type: ignore[misc]
        finally:
            items.close()


class SpeedColumn(ProgressColumn):
    """Column with the recent speed in frames per second."""

    def render(self, task: Task) -> Text:
        """Return the speed as text; empty until it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s")


def frame_progress(console: Console, *, quiet: bool) -> Progress:
    """Return a progress bar with frames per second and the time left; it is erased at the end."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        SpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet,
    )
