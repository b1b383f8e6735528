"""Writer of smoothed keypoints of a view, with their uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mvgeom.files import replace_file
from mvgeom.tables.covariance_columns import COORDS_COVARIANCE, covariance_to_columns

__all__ = ["COORDS_VIEW", "ViewPoints", "write_view_blocks", "write_view_points"]

Floats = npt.NDArray[np.float64]

COORDS_VIEW = ("x", "y", "likelihood", *COORDS_COVARIANCE, "inlier")


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewPoints:
    """Keypoints of N frames of a view.

    Attributes:
        rows: N index entries.
        points: (N, K, 2) points in full-image px.
        covariance: (N, K, 2, 2) their covariances in px^2.
        likelihood: (N, K) likelihoods of the keypoints that they were made from.
        inlier: (N, K) probabilities that those were no outliers.
    """

    rows: Sequence[str]
    points: Floats
    covariance: Floats
    likelihood: Floats
    inlier: Floats


def write_view_points(
    path: str | Path,
    rows: Sequence[str],
    keypoint_names: Sequence[str],
    points: Floats,
    covariance: Floats,
    likelihood: Floats,
    inlier: Floats,
) -> None:
    """Save keypoints of a view as a table of predictions with further columns; missing values are empty cells.

    Args:
        path: Path of the CSV file, replaced atomically.
        rows: N index entries.
        keypoint_names: K keypoint names.
        points: (N, K, 2) points in full-image px.
        covariance: (N, K, 2, 2) their covariances in px^2.
        likelihood: (N, K) likelihoods of the keypoints that they were made from.
        inlier: (N, K) probabilities that those were no outliers.

    Raises:
        InputError: `unwritable-file`, if the file cannot be written.
    """
    block = ViewPoints(rows=rows, points=points, covariance=covariance, likelihood=likelihood, inlier=inlier)
    write_view_blocks(path, keypoint_names, [block])


def write_view_blocks(path: str | Path, keypoint_names: Sequence[str], blocks: Iterable[ViewPoints]) -> None:
    """Save the table of `write_view_points` from consecutive parts; only one is in memory at a time.

    Raises:
        InputError: `unwritable-file`, if the file cannot be written.
    """
    import pandas as pd

    columns = pd.MultiIndex.from_tuples(
        [("mvgeom", name, coord) for name in keypoint_names for coord in COORDS_VIEW],
        names=("scorer", "bodyparts", "coords"),
    )

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            pd.DataFrame(columns=columns).to_csv(file)
            for block in blocks:
                further = [covariance_to_columns(block.covariance), block.inlier[..., None]]
                values = np.concatenate([block.points, block.likelihood[..., None], *further], axis=-1)
                table = pd.DataFrame(values.reshape(len(block.rows), -1), index=pd.Index(block.rows))
                table.to_csv(file, float_format="%.6g", header=False)

    replace_file(Path(path), write)
