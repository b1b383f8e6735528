"""Frames of a recording that the noise is learned from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["FEW_FRAMES", "is_determined", "learning_rows", "learning_stride", "spread_rows"]

Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

LEARNING_FRAMES = 400
"""Frames that the noise is learned from, in a few stretches over the recording."""

FEW_FRAMES = 20
"""Frames with keypoints below which the noise that is learned from them is too uncertain: standard deviations are too
small, in single frames several times."""

STRETCHES = 4

LONGEST_STRIDE = 4
"""Largest distance, in frames, of the frames that the noise is learned from."""

LEAST_CORRELATION = 0.8
"""Correlation that errors that last must still have from one of these frames to the next."""


def is_determined(points: npt.NDArray[np.float64]) -> Flags:
    """Return True for the frames (N,) in which two views, or the single one, have the same keypoint.

    Args:
        points: (N, V, K, 2) keypoints; NaN is missing.
    """
    present: Flags = np.all(np.isfinite(points), axis=-1)
    return np.asarray((present.sum(axis=1) >= min(2, points.shape[1])).any(axis=-1))


def learning_rows(determined: Flags) -> Rows:
    """Return the rows that the noise may be learned from, ascending: a few stretches, or all of a short recording.

    Stretches are spread evenly over the frames that show a subject. It may be away for most of a long recording, and
    where it is away there is nothing to learn from. The noise is learned from some of them (`learning_stride`).

    Args:
        determined: (N,) True for frames that show a subject, see `is_determined`.
    """
    most = LONGEST_STRIDE * LEARNING_FRAMES
    rows = np.flatnonzero(determined)
    if len(determined) <= LEARNING_FRAMES or len(rows) == 0:
        return np.arange(min(len(determined), LEARNING_FRAMES))
    return rows if len(rows) <= most else rows[spread_rows(len(rows), most)]


def spread_rows(number: int, count: int, stride: int = 1) -> Rows:
    """Return numbers of rows in a few stretches that are spread evenly over all; all of them if there are no more.

    Args:
        number: Rows there are.
        count: Rows to return.
        stride: Distance of the rows in a stretch.
    """
    if number <= count:
        return np.arange(number)
    steps = stride * np.arange(count // STRETCHES)
    starts = np.linspace(0, number - 1 - steps[-1], STRETCHES).astype(int)
    return np.asarray((starts[:, None] + steps).reshape(-1), dtype=np.intp)


def learning_stride(share: float, decay: float, number: int) -> int:
    """Return the distance in rows of the frames to learn from.

    Errors that last for many frames are few in frames that follow each other: neighbors tell the same again, and what
    is learned holds for the errors that happened to be there. At a distance at which they still correlate, as many
    frames see more of them. Motion and errors are modeled for any spacing.

    Args:
        share: Share of errors that last, see `Noise`.
        decay: Their correlation from frame to frame.
        number: Rows there are.
    """
    if share <= 0 or not 0 < decay < 1:
        return 1
    lasting = int(np.log(LEAST_CORRELATION) / np.log(decay))
    return max(1, min(lasting, LONGEST_STRIDE, number // LEARNING_FRAMES))
