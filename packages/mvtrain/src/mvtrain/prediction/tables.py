"""The tables that people's scripts read: predictions and pixel errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mvgeom.files import replace_file, write_text

SCORER = "mvtrain"


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionRows:
    """Consecutive rows of a table of predictions.

    Attributes:
        index: N image names or frame numbers.
        points: (N, K, 2) px; NaN leaves a cell empty.
        likelihood: (N, K); NaN leaves a cell empty.
        sets: N of train, validation, test: the last column; None leaves it out.
    """

    index: Sequence[str] | range
    points: np.ndarray
    likelihood: np.ndarray
    sets: Sequence[str] | None = None


def write_predictions(
    path: Path, keypoint_names: Sequence[str], blocks: Iterable[PredictionRows], *, with_sets: bool = False
) -> None:
    """A table with three header rows (scorer, bodyparts, coords) and x, y, likelihood per keypoint.

    Args:
        path: of the table, replaced as a whole.
        keypoint_names: K names.
        blocks: its rows; one block is held in memory at a time.
        with_sets: whether the rows have sets.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    header = (
        ("scorer", [SCORER] * 3 * len(keypoint_names), "set"),
        ("bodyparts", [name for name in keypoint_names for _ in range(3)], ""),
        ("coords", ["x", "y", "likelihood"] * len(keypoint_names), ""),
    )

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            for first, cells, last in header:
                file.write(",".join([first, *map(_cell, cells), *([last] if with_sets else [])]) + "\n")
            for block in blocks:
                file.write(_format(block))

    replace_file(path, write)


def write_pixel_errors(
    path: Path,
    index: Sequence[str] | Sequence[int] | range,
    keypoint_names: Sequence[str],
    errors: np.ndarray,
    sets: Sequence[str] | np.ndarray,
) -> None:
    """A table of errors (N, K) in px with one header row, a row per image, and the set as last column."""
    table = pd.DataFrame(errors, index=list(index), columns=list(keypoint_names))
    table["set"] = list(sets)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, table.to_csv(float_format="%.4f", lineterminator="\n"))


def _format(block: PredictionRows) -> str:
    """Rows as CSV; three times as fast as pandas, which would be felt beside a GPU."""
    values = np.concatenate([block.points, block.likelihood[..., None]], axis=-1)
    values = values.reshape(len(values), 3 * values.shape[1])
    pattern = ",".join(["%.4f"] * values.shape[1])
    rows = [(pattern % tuple(row)).replace("nan", "") for row in values.tolist()]
    ends = [""] * len(rows) if block.sets is None else [f",{name}" for name in block.sets]
    return "".join(f"{_cell(name)},{row}{end}\n" for name, row, end in zip(block.index, rows, ends, strict=True))


def _cell(value: object) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
