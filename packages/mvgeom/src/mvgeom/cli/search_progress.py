"""Progress of a search for boards: bars on a terminal, elsewhere a line from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from mvgeom.cli.output import print_output
from mvgeom.cli.rig_output import stderr_console

__all__ = ["SECONDS_BETWEEN_LINES", "SearchProgress"]

SECONDS_BETWEEN_LINES = 30.0


class SearchProgress:
    """Progress of the parts of a search, from entering to leaving a `with` block.

    Args:
        parts: Descriptions of the parts.
        clock: Function that returns the time in seconds.
    """

    def __init__(self, parts: Iterable[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = stderr_console()
        self._has_bars = bool(console.is_terminal)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bars = Progress(*columns, console=console, transient=True, disable=not self._has_bars)
        self._tasks = {part: self._bars.add_task(part, total=None) for part in parts}
        self._clock = clock
        self._printed = clock()

    def __enter__(self) -> SearchProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def update(self, part: str, done: int, total: int) -> None:
        """Show how many of the images or places of a part were searched."""
        self._bars.update(self._tasks[part], completed=done, total=total)
        if not self._has_bars and self._clock() - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = self._clock()
            print_output(f"{part}: {done} of {total}")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Remove the bars for a while: a terminal has room for one changing line."""
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()
