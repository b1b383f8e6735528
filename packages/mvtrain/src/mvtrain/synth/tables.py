"""CSV tables of a project: three header rows (scorer, bodyparts, coords), then one row per image or frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mvtrain.synth.shapes import Floats
from mvtrain.synth.skeleton import KEYPOINT_NAMES

SCORER = "synthetic"


def image_name(session: str, view: str | None, frame: int, image_format: str) -> str:
    """Path of a labelled image relative to the project; with view None what the views' paths have in common."""
    folder = session if view is None else f"{session}_{view}"
    return f"labeled-data/{folder}/img{frame:08d}.{image_format}"


def write_labels(path: Path, images: Sequence[str], points: Floats, visible: np.ndarray) -> None:
    """Write `CollectedData_<view>.csv`.

    Args:
        path: CSV file.
        images: N image paths relative to the project.
        points: (N, K, 2) px of the stored images; NaN becomes empty cells.
        visible: (N, K) 0, 1 or 2.
    """
    columns = {
        (SCORER, name, coordinate): values
        for k, name in enumerate(KEYPOINT_NAMES)
        for coordinate, values in (("x", points[:, k, 0]), ("y", points[:, k, 1]), ("visible", visible[:, k]))
    }
    _write(path, pd.DataFrame(columns, index=list(images)))


def write_points_3d(path: Path, rows: Sequence[str] | range, points: Floats) -> None:
    """Write true 3D keypoints.

    Args:
        path: CSV file.
        rows: N image paths without their view, or numbers of a video's frames.
        points: (N, K, 3) mm, world.
    """
    columns = {
        (SCORER, name, coordinate): points[:, k, axis]
        for k, name in enumerate(KEYPOINT_NAMES)
        for axis, coordinate in enumerate("xyz")
    }
    _write(path, pd.DataFrame(columns, index=list(rows)))


def _write(path: Path, table: pd.DataFrame) -> None:
    table.columns = table.columns.set_names(["scorer", "bodyparts", "coords"])
    table.to_csv(path, float_format="%.4f", lineterminator="\n")
