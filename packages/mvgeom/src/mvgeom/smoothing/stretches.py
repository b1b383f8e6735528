"""Frames of a recording that the noise is learned from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["is_determined", "learning_rows"]

Flags = npt.NDArray[np.bool_]

LEARNING_FRAMES = 400
"""Frames that the noise is learned from, in a few stretches over the recording."""

STRETCHES = 4


def is_determined(points: npt.NDArray[np.float64]) -> Flags:
    """Return True for the frames (N,) in which two views, or the single one, have the same keypoint.

    Args:
        points: (N, V, K, 2) keypoints; NaN is missing.
    """
    present: Flags = np.all(np.isfinite(points), axis=-1)
    return np.asarray((present.sum(axis=1) >= min(2, points.shape[1])).any(axis=-1))


def learning_rows(determined: Flags) -> npt.NDArray[np.intp]:
    """Return the rows that the noise is learned from, ascending: a few stretches, or all of a short recording.

    Stretches are spread evenly over the frames that show a subject. It may be away for most of a long recording, and
    where it is away there is nothing to learn from.

    Args:
        determined: (N,) True for frames that show a subject, see `is_determined`.
    """
    if len(determined) <= LEARNING_FRAMES or not determined.any():
        return np.arange(min(len(determined), LEARNING_FRAMES))
    rows = np.flatnonzero(determined)
    if len(rows) <= LEARNING_FRAMES:
        return rows
    each = LEARNING_FRAMES // STRETCHES
    starts = np.linspace(0, len(rows) - each, STRETCHES).astype(int)
    return np.concatenate([rows[start : start + each] for start in starts])
