"""Writer of smoothed keypoints of a view, with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mvgeom.files import replace_file

__all__ = ["COORDS_VIEW", "write_view_points"]

Floats = npt.NDArray[np.float64]

COORDS_VIEW = ("x", "y", "likelihood", "x_std", "y_std", "xy_correlation", "inlier")


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
    import pandas as pd

    columns = pd.MultiIndex.from_tuples(
        [("mvgeom", name, coord) for name in keypoint_names for coord in COORDS_VIEW],
        names=("scorer", "bodyparts", "coords"),
    )
    std = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    correlation = covariance[..., 0, 1] / (std[..., 0] * std[..., 1])
    further = np.stack([correlation, inlier], axis=-1)
    values = np.concatenate([points, likelihood[..., None], std, further], axis=-1)
    table = pd.DataFrame(values.reshape(len(rows), -1), index=pd.Index(rows), columns=columns)
    replace_file(Path(path), lambda temporary: table.to_csv(temporary, float_format="%.6g"))
