"""Corners of a moving board as keypoints of consecutive frames."""

from __future__ import annotations

import cv2
import numpy as np

from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.detections import Detections

__all__ = ["board_tracks"]


def board_tracks(detections: Detections) -> Floats:
    """Return points of the board that keep their identity from frame to frame.

    The corners of a ChArUco board are such points. Those of a chessboard may be listed from another side in any image,
    so the board's center takes their place, which is the same from all sides.

    Args:
        detections: Corners of V cameras in the frames of videos, whose names are numbers.

    Returns:
        (N, V, K, 2) points in full-image px of all frames from 0 to the last one in which a board was found; NaN is
        missing.
    """
    points = detections.points
    if len(detections.orders) > 1:
        points = _centers(detections)
    numbers = np.array([int(name) for name in detections.frames], dtype=np.int64)
    result = np.full((int(numbers.max(initial=-1)) + 1, *np.moveaxis(points, 0, 1).shape[1:]), np.nan)
    result[numbers] = np.moveaxis(points, 0, 1)
    return result


def _centers(detections: Detections) -> Floats:
    """Return the image (V, F, 1, 2) of the board's center, by the homography of its corners."""
    board = detections.object_points[:, :2]
    center = (board.min(axis=0) + board.max(axis=0)) / 2
    centers = np.full((*detections.points.shape[:2], 1, 2), np.nan)
    for view, frame in np.argwhere(detections.seen):
        corners = detections.points[view, frame]
        used = seen_corners(corners)
        homography, _ = cv2.findHomography(board[used] - center, corners[used], 0)
        if homography is not None and homography[2, 2] != 0:
            centers[view, frame, 0] = homography[:2, 2] / homography[2, 2]
    return centers
