"""Keypoint tracks between frames: a kernel whose noise does not depend on the position between two frames."""

from __future__ import annotations

import math
import warnings

import numpy as np

from mvgeom.calibration.boards import Floats

__all__ = ["resample", "without_spikes"]

_STANDS_OUT = 2.0
_SPIKE = 8.0
"""Deviation from the median of five frames, in standard deviations of such deviations, that makes a spike."""

_REACH = 3
"""Standard deviations of the kernel out to which frames count."""


def without_spikes(tracks: Floats) -> Floats:
    """Return tracks without values that stand out from the two frames before and after.

    A spike is far from the median of the five frames, beside other frames and beside what the four others differ by. So
    neither fast motion nor its turning points are spikes.

    Args:
        tracks: (N, ..., 2) points in N consecutive frames; NaN is missing.
    """
    padded = np.pad(tracks, [(2, 2), *[(0, 0)] * (tracks.ndim - 1)], constant_values=np.nan)
    windows = np.stack([padded[start : start + len(tracks)] for start in range(5)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window without any value
        distances = np.linalg.norm(windows - np.nanmedian(windows, axis=0), axis=-1)
        deviation, others = distances[2], np.nanmax(distances[[0, 1, 3, 4]], axis=0)
    known = deviation[np.isfinite(deviation)]
    limit = _SPIKE * 1.4826 * float(np.median(known)) if len(known) else np.inf
    spikes = (deviation > limit) & (deviation > _STANDS_OUT * others)
    return np.asarray(np.where(spikes[..., None], np.nan, tracks))


def resample(tracks: Floats, positions: Floats, *, width: float = 1.0) -> tuple[Floats, Floats]:
    """Smooth tracks at any positions in time, by a weighted straight line through the frames around each.

    Linear interpolation averages more noise half way between two frames than at a frame, so that any measure of
    agreement prefers half frames. A Gaussian kernel with a standard deviation of one frame averages as much at every
    position: the variance of the result varies by 0.01 %.

    Args:
        tracks: (N, K, D) values in N consecutive frames; NaN is missing.
        positions: (M,) positions in frames.
        width: Standard deviation of the kernel in frames, at least 1.

    Returns:
        Values (M, K, D), and their slopes per frame; NaN where the track is missing in one of the two frames around the
        position (in the frame itself, at a frame), and outside of the frames.
    """
    count = len(tracks)
    before = np.floor(positions).astype(np.int64)
    fraction = positions - before
    present = np.asarray(np.isfinite(tracks).all(axis=-1))
    filled = np.where(present[..., None], tracks, 0)
    shape = (len(positions), tracks.shape[1])
    sums = np.zeros((3, *shape))
    moments = np.zeros((2, *shape, tracks.shape[2]))
    reach = math.ceil(_REACH * width)
    for tap in range(-reach, reach + 2):  # from the frame before the position
        frame = before + tap
        inside = (frame >= 0) & (frame < count)
        row = np.clip(frame, 0, max(count - 1, 0))
        distance = (tap - fraction)[:, None]
        weight = np.exp(-0.5 * (distance / width) ** 2) * (present[row] & inside[:, None])
        values = filled[row] * weight[..., None]
        for power in range(3):
            sums[power] += weight * distance**power
        for power in range(2):
            moments[power] += values * (distance**power)[..., None]
    determinant = sums[0] * sums[2] - sums[1] ** 2
    # A track of one frame has no slope.
    usable = determinant > 1e-6 * sums[0] ** 2
    for neighbor, needed in ((before, fraction < 1), (before + 1, fraction > 0)):
        row = np.clip(neighbor, 0, max(count - 1, 0))
        there = present[row] & ((neighbor >= 0) & (neighbor < count))[:, None]
        usable &= there | ~needed[:, None]
    safe = np.where(usable, determinant, 1.0)[..., None]
    value = (moments[0] * sums[2][..., None] - moments[1] * sums[1][..., None]) / safe
    slope = (moments[1] * sums[0][..., None] - moments[0] * sums[1][..., None]) / safe
    return np.where(usable[..., None], value, np.nan), np.where(usable[..., None], slope, np.nan)
