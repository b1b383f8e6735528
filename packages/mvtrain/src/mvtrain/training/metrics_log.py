"""Log of a run's figures: its progress bar, rows of metrics.csv, the same for TensorBoard, and their figure."""

from __future__ import annotations

import csv
import io
import math
import os
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import matplotlib
import pandas as pd
from lightning_fabric.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from mvgeom.errors import InputError
from mvgeom.files import replace_file
from mvgeom.temporary import sync

FILE_NAME = "metrics.csv"
MASKED = "share of masked patches"

PANELS = {
    "loss": ("loss", "heatmap", "val_loss"),
    "error in px of the stored images": ("pixel_error", "val_pixel_error"),
    "reprojection error in full-image px": ("val_reprojection_error",),
    "3D error, world units": ("val_error_3d",),
    "learning rate": ("learning_rate_backbone", "learning_rate_head"),
    MASKED: ("mask_ratio",),
}
"""Columns of `metrics.csv` by panel of the learning curves."""


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


class MetricsLog:
    """Log of figures; each row is on disk when `write` returns.

    Fabric's own CSV logger starts a new file, while a resumed run has to go on in the old one, byte for byte as if it
    had never stopped.

    Args:
        run_dir: Run folder, which exists.
        columns: Names of all figures; the file has one header, and cells without a figure are empty.
        resume_at: Length in bytes that `metrics.csv` had in the saved state from which the run goes on; the rest is cut
            off. None starts a new file.
        first_step: Step from which the run goes on; TensorBoard drops later rows of an earlier process.

    Raises:
        InputError: `unreadable-file`, or `damaged-file` if `metrics.csv` is shorter or has other columns.
    """

    def __init__(
        self, run_dir: Path, columns: tuple[str, ...], *, resume_at: int | None = None, first_step: int = 0
    ) -> None:
        self.path = run_dir / FILE_NAME
        self.columns = ("epoch", "step", *(column for column in columns if column not in ("epoch", "step")))
        header = self._line(self.columns)
        if resume_at is None:
            self._file = self.path.open("w", encoding="utf-8", newline="")
            self._file.write(header)
        else:
            self._check_continued(header, resume_at)
            os.truncate(self.path, resume_at)
            self._file = self.path.open("a", encoding="utf-8", newline="")
        self._file.flush()
        self._tensorboard = TensorBoardLogger(run_dir, name="", version="tensorboard", purge_step=first_step or None)

    @property
    def position(self) -> int:
        """Return the length of `metrics.csv` in bytes."""
        return self._file.tell()

    def write(self, figures: dict[str, float], step: int) -> None:
        """Add a row; the keys of `figures` are columns.

        Raises:
            InputError: `unwritable-file`: the run folder is gone, or its disk is full.
        """
        row = {"step": step, **figures}
        unknown = row.keys() - set(self.columns)
        assert not unknown, f"figures without a column: {unknown}"
        self._file.write(self._line([_cell(row.get(column)) for column in self.columns]))
        self._file.flush()
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        try:
            self._tensorboard.log_metrics(finite, step)
        except ValueError as error:  # so Fabric calls whatever TensorBoard's thread has met since the last row
            if not isinstance(error.__cause__, OSError):
                raise
            folder = self.path.with_name("tensorboard")
            raise InputError(
                f"{folder}: cannot be written: {error.__cause__.strerror}", code="unwritable-file", path=folder
            ) from error

    def sync(self) -> None:
        """Wait until all rows are on the disk: a saved state counts on them."""
        sync(self.path)

    def close(self) -> None:
        """Close the log."""
        self._file.close()
        self._tensorboard.finalize("success")

    def _check_continued(self, header: str, resume_at: int) -> None:
        try:
            with self.path.open("rb") as file:
                start = file.read(len(header.encode()))
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be continued: {error.strerror}", code="unreadable-file", path=self.path
            ) from error
        if start != header.encode() or self.path.stat().st_size < resume_at:
            raise InputError(
                f"{self.path}: not the log that the training state was saved with, it was changed or replaced",
                code="damaged-file",
                path=self.path,
            )

    @staticmethod
    def _line(cells: tuple[str, ...] | list[str]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue()


def drawable_columns(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns with figures of each panel that has some; of masked patches, only where there are any."""
    panels = {
        title: [name for name in names if name in table and table[name].notna().any()]
        for title, names in PANELS.items()
    }
    return {
        title: names for title, names in panels.items() if names and (title != MASKED or table[names].any(axis=None))
    }


def draw_learning_curves(run_dir: Path) -> None:
    """Draw `metrics.csv` as `learning_curves.png`; without rows there is no figure.

    Raises:
        InputError: `damaged-file` if `metrics.csv` is not a table of numbers.
    """
    path = run_dir / FILE_NAME
    if not path.exists():
        return
    table = _read_figures(path)
    panels = drawable_columns(table)
    if not panels:
        return
    with matplotlib.rc_context({"font.size": 9}):
        # Fixed margins, in inches: a layout that measures all texts takes as long as drawing them.
        height = 2.2 * len(panels) + 0.6
        figure = Figure(figsize=(8, height))
        axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        figure.subplots_adjust(left=1.0 / 8, right=1 - 0.15 / 8, bottom=0.5 / height, top=1 - 0.1 / height, hspace=0.08)
        for axis, (title, names) in zip(axes, panels.items(), strict=True):
            for name in names:
                rows = table[name].notna()
                axis.plot(
                    table["epoch"][rows],
                    table[name][rows],
                    label=name,
                    marker="o" if rows.sum() < 30 else None,
                    markersize=3,
                )
            axis.set_ylabel(textwrap.fill(title, 24))  # no longer than the panel is high
            axis.yaxis.set_label_coords(-0.09, 0.5)
            axis.grid(alpha=0.3)
            # Errors and losses fall by factors.
            positive = all((table[name].dropna() > 0).all() for name in names)
            if positive and title != MASKED:
                axis.set_yscale("log")
                for ticks in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
                    ticks(LogFormatter(minor_thresholds=(2, 0.5)))  # 0.02, not a power of ten as a formula
            axis.legend(frameon=False, loc="upper right")
        axes[-1].set_xlabel("epoch")
        replace_file(run_dir / "learning_curves.png", lambda temporary: figure.savefig(temporary, dpi=120))


def _read_figures(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a table of figures: {error}", code="damaged-file", path=path) from error
    drawn = ["epoch", *(name for names in PANELS.values() for name in names if name in table)]
    if table.empty:
        return table
    if "epoch" not in table or not all(pd.api.types.is_numeric_dtype(table[name]) for name in drawn):
        raise InputError(f"{path}: not a table of figures", code="damaged-file", path=path)
    return table


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)
