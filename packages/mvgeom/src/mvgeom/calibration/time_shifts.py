"""Agreement of one view's keypoints with the other views', over shifts in time by whole frames."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

import numpy as np

from mvgeom._subset import spread_subset
from mvgeom.calibration.boards import Floats, Ints
from mvgeom.cameras import CameraGroup
from mvgeom.projection import epipolar_distance

__all__ = ["LONGEST_SHIFT", "TimeShift", "best_shift", "epipolar_over_shifts", "pairwise_distance", "shifted_view"]

LONGEST_SHIFT = 30
"""Frames tried in each direction by default."""

_MIN_DISTANCES = 20
_MAX_DISTANCES = 4_000


class TimeShift(NamedTuple):
    """Shift with the smallest median epipolar distance.

    Attributes:
        frames: Frames that the view is late: its frame n + `frames` shows what the others show in frame n.
        distance: Median epipolar distance in px at this shift.
        distance_without: Median epipolar distance in px without a shift.
    """

    frames: int
    distance: float
    distance_without: float


def epipolar_over_shifts(cams: CameraGroup, points: Floats, view: int, shifts: Iterable[int]) -> Floats:
    """Compute the median epipolar distance of one view from the others, with its frames shifted in time.

    Epipolar distances need no triangulated points, so two views are enough and a third wrong one does no harm: the
    median of each pair of views is taken, then the median of the pairs.

    Args:
        cams: V cameras, NumPy, no batch dimensions, at least 2.
        points: (N, V, K, 2) keypoints of N consecutive frames in full-image px; NaN is missing.
        view: Index of the view to shift.
        shifts: S shifts in frames; a positive one compares the view's frame n + shift with the others' frame n.

    Returns:
        Distances (S,) in px; NaN for shifts at which fewer than 20 keypoints are seen by the view and another. All
        values are alike for a subject that rests.
    """
    others = [other for other in range(len(cams)) if other != view]
    pairs = [cams.select([cams.names[view], cams.names[other]]) for other in others]
    result = []
    for shift in shifts:
        own = shifted_view(points[:, view], shift)
        medians = []
        for other, pair in zip(others, pairs, strict=True):
            both = np.stack([own, points[:, other]], axis=0).reshape(2, -1, 2)
            both = both[:, np.isfinite(both).all((0, 2))]
            both = both[:, spread_subset(both.shape[1], _MAX_DISTANCES)]
            if both.shape[1] >= _MIN_DISTANCES:
                distances = epipolar_distance(both, pair)
                medians.append(float(np.nanmedian(distances)) if np.isfinite(distances).any() else np.nan)
        known = [median for median in medians if np.isfinite(median)]
        result.append(float(np.median(known)) if known else np.nan)
    return np.array(result)


def pairwise_distance(cams: CameraGroup, points: Floats) -> float:
    """Return the median epipolar distance in px over all pairs of views; NaN if no keypoint is seen by two.

    Args:
        cams: V cameras, NumPy, no batch dimensions, at least 2.
        points: (N, V, K, 2) keypoints in full-image px; NaN is missing.
    """
    medians = []
    for one, other in combinations(range(len(cams)), 2):
        both = np.moveaxis(points[:, [one, other]], 1, 0).reshape(2, -1, 2)
        both = both[:, np.isfinite(both).all((0, 2))]
        both = both[:, spread_subset(both.shape[1], _MAX_DISTANCES)]
        if both.shape[1]:
            distances = epipolar_distance(both, cams.select([cams.names[one], cams.names[other]]))
            medians += [float(np.nanmedian(distances))] if np.isfinite(distances).any() else []
    return float(np.median(medians)) if medians else float("nan")


def best_shift(cams: CameraGroup, points: Floats, view: int, longest: int = LONGEST_SHIFT) -> TimeShift | None:
    """Find the shift in time at which one view agrees best with the others; None if no shift can be compared.

    Args:
        cams: V cameras, NumPy, no batch dimensions, at least 2.
        points: (N, V, K, 2) keypoints of N consecutive frames in full-image px; NaN is missing.
        view: Index of the view to shift.
        longest: Largest shift in frames to try, in both directions; at most a half of the frames.
    """
    longest = min(longest, len(points) // 2)
    shifts: Ints = np.array(sorted(range(-longest, longest + 1), key=abs), dtype=np.int64)
    distances = epipolar_over_shifts(cams, points, view, shifts.tolist())
    if not np.isfinite(distances).any() or not np.isfinite(distances[0]):
        return None
    best = int(np.nanargmin(distances))
    return TimeShift(int(shifts[best]), float(distances[best]), float(distances[0]))


def shifted_view(points: Floats, shift: int) -> Floats:
    """Return keypoints (N, K, 2) of one view whose frame n is the given frame n + shift; NaN outside of the frames."""
    result = np.full_like(points, np.nan)
    if abs(shift) < len(points):
        if shift >= 0:
            result[: len(points) - shift] = points[shift:]
        else:
            result[-shift:] = points[:shift]
    return result
