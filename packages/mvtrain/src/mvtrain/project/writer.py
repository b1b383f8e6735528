"""Writing of label tables and of tables of 3D keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mvgeom.files import file_name, write_text


def image_name(session: str, view: str | None, frame: int, image_format: str = "png") -> str:
    """Return the path of a labeled image relative to the project; without a view, the part that all views share."""
    folder = session if view is None else f"{session}_{view}"
    return f"labeled-data/{file_name(folder)}/img{frame:08d}.{image_format}"


def write_labels(
    path: Path,
    image_names: Sequence[str],
    keypoint_names: Sequence[str],
    points: np.ndarray,
    visibility: np.ndarray | None,
    *,
    scorer: str,
    float_format: str | None = None,
) -> None:
    """Write `CollectedData_<view>.csv`, replacing the file as a whole.

    Args:
        path: Path of the table.
        image_names: N image paths relative to the project; "" where a frame has no image of this view.
        keypoint_names: K names of the keypoints.
        points: (N, K, 2) labels in crop px; NaN leaves the cells empty.
        visibility: (N, K) 0, 1 or 2 for the column `visible`; None leaves the column out.
        scorer: Name in the first header row.
        float_format: Format of the coordinates, such as "%.4f"; None keeps every digit.

    Raises:
        InputError: The file cannot be written.
    """
    columns: dict[tuple[str, str, str], np.ndarray] = {}
    for number, name in enumerate(keypoint_names):
        columns[scorer, name, "x"] = points[:, number, 0]
        columns[scorer, name, "y"] = points[:, number, 1]
        if visibility is not None:
            columns[scorer, name, "visible"] = visibility[:, number]
    _write(path, pd.DataFrame(columns, index=list(image_names)), float_format)


def write_points_3d(
    path: Path, index: Sequence[str] | range, keypoint_names: Sequence[str], points: np.ndarray, *, scorer: str
) -> None:
    """Write a table of 3D keypoints, replacing the file as a whole.

    Args:
        path: Path of the table.
        index: N image paths without their view, or frame numbers of a video.
        keypoint_names: K names of the keypoints.
        points: (N, K, 3) world points; NaN leaves the cells empty.
        scorer: Name in the first header row.

    Raises:
        InputError: The file cannot be written.
    """
    columns = {
        (scorer, name, coordinate): points[:, number, axis]
        for number, name in enumerate(keypoint_names)
        for axis, coordinate in enumerate("xyz")
    }
    _write(path, pd.DataFrame(columns, index=list(index)), "%.4f")


def _write(path: Path, table: pd.DataFrame, float_format: str | None) -> None:
    table.columns = table.columns.set_names(["scorer", "bodyparts", "coords"])
    write_text(path, table.to_csv(float_format=float_format, lineterminator="\n"))
