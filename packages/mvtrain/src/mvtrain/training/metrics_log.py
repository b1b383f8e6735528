"""The figures of a run: rows of metrics.csv, which only grows, and the same for TensorBoard."""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import Path

from lightning_fabric.loggers import TensorBoardLogger

FILE_NAME = "metrics.csv"


class MetricsLog:
    """Writes figures; each row is on disk when `write` returns.

    Fabric's own CSV logger starts its file anew, while a resumed run has to go on in it, byte for byte as if it had
    never stopped; hence the few lines here.

    Args:
        run_dir: of the run, an existing folder.
        columns: every figure that will ever be written; the file has one header, and cells without a figure are empty.
        resume_at: length in bytes that `metrics.csv` had when the state was saved from which the run goes on; what
            came after it is cut off. None starts a new file.
        first_step: the step from which the run goes on; TensorBoard drops what an earlier process wrote after it.

    Raises:
        ValueError: `metrics.csv` to be continued is missing, shorter, or of other columns.
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
        """Length of `metrics.csv` in bytes."""
        return self._file.tell()

    def write(self, figures: dict[str, float], step: int) -> None:
        """Add a row; `figures` has its keys among the columns."""
        row = {"step": step, **figures}
        unknown = row.keys() - set(self.columns)
        assert not unknown, f"figures without a column: {unknown}"
        self._file.write(self._line([_cell(row.get(column)) for column in self.columns]))
        self._file.flush()
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        self._tensorboard.log_metrics(finite, step)

    def close(self) -> None:
        """Nothing more will be written."""
        self._file.close()
        self._tensorboard.finalize("success")

    def _check_continued(self, header: str, resume_at: int) -> None:
        try:
            with self.path.open("rb") as file:
                start = file.read(len(header.encode()))
        except OSError as error:
            raise ValueError(f"{self.path} cannot be continued: {error.strerror}") from error
        if start != header.encode() or self.path.stat().st_size < resume_at:
            raise ValueError(
                f"{self.path} is not the log that the training state was saved with: it was changed or exchanged"
            )

    @staticmethod
    def _line(cells: tuple[str, ...] | list[str]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)
