"""The tables that people's scripts read: predictions and pixel errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mvgeom.formats.files import write_text

SCORER = "mvtrain"


def write_predictions(
    path: Path,
    index: Sequence[str] | Sequence[int] | range,
    keypoint_names: Sequence[str],
    points: np.ndarray,
    likelihood: np.ndarray,
    sets: Sequence[str] | np.ndarray | None = None,
) -> None:
    """A table with three header rows (scorer, bodyparts, coords) and x, y, likelihood per keypoint.

    Args:
        path: of the table.
        index: N image names or frame numbers.
        keypoint_names: K names.
        points: (N, K, 2) px; NaN leaves a cell empty.
        likelihood: (N, K).
        sets: N of train, validation, test: the last column; None leaves it out.
    """
    columns = pd.MultiIndex.from_tuples(
        [(SCORER, name, coord) for name in keypoint_names for coord in ("x", "y", "likelihood")],
        names=["scorer", "bodyparts", "coords"],
    )
    values = np.concatenate([points, likelihood[..., None]], axis=-1).reshape(len(points), -1)
    table = pd.DataFrame(values, index=list(index), columns=columns)
    if sets is not None:
        table[("set", "", "")] = list(sets)
    _write_table(path, table)


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
    _write_table(path, table)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, table.to_csv(float_format="%.4f", lineterminator="\n"))
