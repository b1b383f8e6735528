"""Keypoints of one view, as read from a file or folder of any known format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mvgeom.wording import counted

__all__ = ["Floats", "KeypointTable"]

Floats = npt.NDArray[np.float64]


_LARGEST_LIKELIHOOD = 2.0


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

    def describe_doubts(self) -> list[str]:
        """Describe all that is doubtful about the likelihoods, for warnings; empty for a usual table."""
        found = (self.describe_without_likelihood(), self.describe_large_likelihood())
        return [each for each in found if each is not None]

    def describe_large_likelihood(self) -> str | None:
        """Describe likelihoods that are no shares of 1, such as percent; None if there are none.

        Scores of pose estimators may be somewhat above 1.
        """
        if self.likelihood is None or not (self.likelihood > _LARGEST_LIKELIHOOD).any():
            return None
        return (
            f"{self.path}: likelihoods up to {np.nanmax(self.likelihood):g}, expected 0 to 1: all above 1 count as "
            "certain, and a least likelihood is compared with the numbers as they are. Divide them by 100 if they are "
            "percent"
        )

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
