"""Subset of many points that stands for all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["spread_subset"]


def spread_subset(count: int, most: int) -> npt.NDArray[np.int64]:
    """Return the indices, ascending, of at most `most` of `count` points: a random one of each of as many stretches.

    Points follow each other by frame and keypoint. Every n-th of them would be of few keypoints, or of a single one,
    where n and the number of keypoints have a common factor. Random ones are of all, whatever the order of the points,
    and the stretches of equal length keep them evenly spread over the recording. The seed is fixed: the same numbers
    give the same subset.
    """
    if count <= most:
        return np.arange(count)
    edges = np.arange(most + 1, dtype=np.int64) * count // most
    return np.asarray(edges[:-1] + np.random.default_rng(0).integers(np.diff(edges)))
