"""Progress bar of a run, and the figures between two rows of its log."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor


@dataclass
class LogWindow:
    """Sums over the steps since the last row of the log, kept on the device until they are read."""

    num_steps: int = 0
    num_samples: int = 0
    num_moved: int = 0
    waited: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: dict[str, Tensor], *, num_samples: int, num_moved: int, waited: float) -> None:
        """Count one step; does not wait for the device."""
        self.num_steps += 1
        self.num_samples += num_samples
        self.num_moved += num_moved
        self.waited += waited
        for name, value in values.items():
            value = value.detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def state(self) -> dict[str, Any]:
        """Return the sums that a resumed run needs in order to write the same row; not the times."""
        return {
            "num_steps": self.num_steps,
            "num_samples": self.num_samples,
            "num_moved": self.num_moved,
            "sums": self.sums,
            "counts": self.counts,
        }

    def means(self) -> dict[str, float]:
        """Compute means over the window, its speed, and the share of time waiting for data; waits for the device."""
        means = {name: total.item() / self.counts[name] for name, total in self.sums.items()}
        elapsed = time.perf_counter() - self.started
        means["samples_per_second"] = self.num_samples / elapsed
        means["share_waiting_for_data"] = self.waited / elapsed
        means["share_moved_in_3d"] = self.num_moved / self.num_samples
        return means


class ProgressLine:
    """Progress bar over the steps of a run, with its latest figures; lines can be printed above it."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("training", total=total, figures="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, steps: int = 1) -> None:
        """Advance the bar by steps."""
        self._progress.advance(self._task, steps)

    def show(self, means: dict[str, float]) -> None:
        """Show the latest figures beside the bar."""
        self._progress.update(
            self._task,
            figures=f"loss {means['loss']:.4g}  error {means['pixel_error']:.1f} px  "
            f"{means['samples_per_second']:.1f} samples/s",
        )

    def print_line(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, highlight=False)
