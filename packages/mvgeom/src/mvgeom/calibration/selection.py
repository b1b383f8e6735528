"""Selection of frames for the adjustment: those that cover images and camera pairs best."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import Floats, Ints, seen_corners

__all__ = ["coverage_cells", "select_frames"]

_CELLS = 8


def select_frames(
    points: Floats, sizes: Floats, count: int, always: int | None = None, faces: Ints | None = None
) -> npt.NDArray[np.int64]:
    """Select frames greedily.

    The value of a frame is what it adds: each cell of an 8x8 grid over an image that the board covers, each pair of
    cameras that see the board together, and each pair of faces that are seen together. Cells and pairs that are already
    covered add less.

    Args:
        points: (V, F, K, 2) corners in full-image px; NaN is missing.
        sizes: (V, 2) image width and height in px.
        count: Largest number of frames to select.
        always: Index of a frame that is always selected; None for no such frame.
        faces: (K,) face that each corner is on; None for one rigid board.

    Returns:
        Indices of the selected frames, each with at least one view, in order.
    """
    covered = coverage_cells(points, sizes)
    seen = np.asarray(covered.any(-1))
    candidates = np.flatnonzero(seen.any(axis=0))
    if len(candidates) <= count:
        return candidates
    num_frames = covered.shape[1]
    cells = np.moveaxis(covered, 1, 0).reshape(num_frames, -1).astype(np.float64)
    pairs = [_together(seen)]
    if faces is not None:
        corners = seen_corners(points)
        pairs.append(_together(np.stack([corners[..., faces == face].any((0, 2)) for face in np.unique(faces)])))
    # A pair has the same value as a board that covers about a quarter of an image.
    features = np.concatenate([cells, *(each * _CELLS**2 / 4 for each in pairs)], axis=1)
    times = np.zeros(features.shape[1])
    free = np.asarray(seen.any(axis=0)).copy()
    chosen: list[int] = []
    while len(chosen) < count:
        first = always is not None and not chosen
        best = always if first else int(np.where(free, features @ (1 / (1 + times)), -1).argmax())
        assert best is not None
        chosen.append(best)
        free[best] = False
        times += features[best] > 0
    return np.sort(np.array(chosen, dtype=np.int64))


def _together(seen: npt.NDArray[np.bool_]) -> Floats:
    """Return (F, pairs) ones where both of two things (N, F) are seen."""
    one, other = np.triu_indices(len(seen), 1)
    return np.asarray((seen[one] & seen[other]).T.astype(np.float64))


def coverage_cells(points: Floats, sizes: Floats) -> npt.NDArray[np.bool_]:
    """Return cells (V, F, 64) of an 8x8 grid over each image with a corner, or with their center in the corners' hull.

    Args:
        points: (V, F, K, 2) corners in full-image px; NaN is missing.
        sizes: (V, 2) image width and height in px.
    """
    num_views, num_frames = points.shape[:2]
    covered = np.zeros((num_views, num_frames, _CELLS * _CELLS), dtype=bool)
    y, x = np.mgrid[:_CELLS, :_CELLS]
    middles = np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5
    for view, frame in zip(*np.nonzero(seen_corners(points).any(-1)), strict=True):
        corners = points[view, frame]
        places = (corners[seen_corners(corners)] + 0.5) / sizes[view] * _CELLS
        column, row = np.clip(places.astype(np.int64), 0, _CELLS - 1).T
        covered[view, frame, row * _CELLS + column] = True
        hull = cv2.convexHull(places.astype(np.float32)).reshape(-1, 2).astype(np.float64)
        edges = np.roll(hull, -1, axis=0) - hull
        to_middles = middles[:, None] - hull
        side = edges[:, 0] * to_middles[..., 1] - edges[:, 1] * to_middles[..., 0]
        if len(hull) >= 3:
            covered[view, frame] |= (side >= 0).all(axis=1) | (side <= 0).all(axis=1)
    return covered
