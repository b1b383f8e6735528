"""Keypoints of one view, as read from a file or folder of any known format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mvgeom.wording import counted

__all__ = ["Floats", "KeypointTable"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class KeypointTable:
    """Keypoints of one view.

    Attributes:
        path: Path of the file or folder, for error messages.
        rows: N index entries: frame numbers, or image paths as written.
        keypoint_names: K keypoint names.
        points: (N, K, 2) keypoints in px of the file's own image; NaN is missing.
        likelihood: (N, K) likelihoods; None if the table has none.
        sparse: True if the format leaves out frames without keypoints, so that a missing row is an empty one.
        covariance: (N, K, 2, 2) covariances in px^2, from the columns x_std, y_std and xy_correlation; NaN where these
            are empty, None if not every keypoint has them.
        recording: Name of the recording that the file's name tells, such as <session>_<view>; empty if none.
        first_line: Line of the first row in the file, from 1, for error messages; 1 if rows are no lines.
    """

    path: Path
    rows: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    points: Floats
    likelihood: Floats | None
    sparse: bool = False
    recording: str = ""
    covariance: Floats | None = None
    first_line: int = 1

    def describe_without_likelihood(self) -> str | None:
        """Describe the keypoints that have a place but no likelihood in a table with likelihoods; None if all have."""
        if self.likelihood is None:
            return None
        rows, keypoints = np.nonzero(np.isnan(self.likelihood) & np.isfinite(self.points).all(axis=-1))
        if not len(rows):
            return None
        return (
            f"{self.path}: {counted(len(rows), 'keypoint')} with x and y but no likelihood, the first is "
            f"{self.keypoint_names[keypoints[0]]!r} in row {self.rows[rows[0]]}; such keypoints count as missing"
        )
