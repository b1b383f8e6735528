"""Tables of predictions and of pixel errors of one view: three header rows or one, and one row per image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mvgeom.files import replace_file, write_text
from mvgeom.tables import COORDS_COVARIANCE, covariance_to_columns

SCORER = "mvtrain"
"""Name in the first header row of the tables."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionRows:
    """Consecutive rows of a table of predictions.

    Attributes:
        index: N image names or frame numbers.
        points: (N, K, 2) keypoints in px; NaN leaves a cell empty.
        likelihood: (N, K) likelihoods; NaN leaves a cell empty.
        covariance: (N, K, 2, 2) covariances in px^2 for the columns x_std, y_std and xy_correlation; NaN leaves cells
            empty. None leaves the columns out.
        sets: N names of the split (train, validation, test) for the last column; None leaves it out.
    """

    index: Sequence[str] | range
    points: np.ndarray
    likelihood: np.ndarray
    covariance: np.ndarray | None = None
    sets: Sequence[str] | None = None


def write_predictions(
    path: Path,
    keypoint_names: Sequence[str],
    blocks: Iterable[PredictionRows],
    *,
    with_sets: bool = False,
    with_covariance: bool = False,
) -> None:
    """Write a table with three header rows (scorer, bodyparts, coords) and x, y, likelihood per keypoint.

    Args:
        path: Path of the table, which is replaced as a whole.
        keypoint_names: K names of the keypoints.
        blocks: Rows of the table; one block is held in memory at a time.
        with_sets: True if the rows have sets.
        with_covariance: True if the rows have covariances.

    Raises:
        InputError: The table cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    coords = ["x", "y", "likelihood", *(COORDS_COVARIANCE if with_covariance else ())]
    header = (
        ("scorer", [SCORER] * len(coords) * len(keypoint_names), "set"),
        ("bodyparts", [name for name in keypoint_names for _ in coords], ""),
        ("coords", coords * len(keypoint_names), ""),
    )

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            for first, cells, last in header:
                file.write(",".join([first, *map(_cell, cells), *([last] if with_sets else [])]) + "\n")
            for block in blocks:
                file.write(_format_rows(block))

    replace_file(path, write)


def write_pixel_errors(
    path: Path,
    index: Sequence[str] | Sequence[int] | range,
    keypoint_names: Sequence[str],
    errors: np.ndarray,
    sets: Sequence[str] | np.ndarray,
) -> None:
    """Write a table of errors (N, K) in px with one header row, a row per image, and the column `set` at the end.

    Raises:
        InputError: The table cannot be written.
    """
    table = pd.DataFrame(errors, index=list(index), columns=list(keypoint_names))
    table["set"] = list(sets)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, table.to_csv(float_format="%.4f", lineterminator="\n"))


def _format_rows(block: PredictionRows) -> str:
    """Format rows as CSV, three times as fast as pandas, whose time would show beside a GPU."""
    columns = [block.points, block.likelihood[..., None]]
    if block.covariance is not None:
        columns.append(covariance_to_columns(block.covariance))
    values = np.concatenate(columns, axis=-1)
    values = values.reshape(len(values), values.shape[1] * values.shape[2])
    pattern = ",".join(["%.4f"] * values.shape[1])
    rows = [(pattern % tuple(row)).replace("nan", "") for row in values.tolist()]
    ends = [""] * len(rows) if block.sets is None else [f",{name}" for name in block.sets]
    return "".join(f"{_cell(name)},{row}{end}\n" for name, row, end in zip(block.index, rows, ends, strict=True))


def _cell(value: object) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
