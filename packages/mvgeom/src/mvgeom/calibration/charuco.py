"""Detection of ChArUco boards in images, with subpixel corners."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import CharucoBoard, Floats, seen_corners

__all__ = ["Image", "find_charuco"]

Image = npt.NDArray[np.uint8]

_MIN_CORNERS = 6
_LARGEST_WINDOW = 10


def find_charuco(image: Image, board: CharucoBoard) -> Floats | None:
    """Detect the inner corners of a ChArUco board with subpixel accuracy.

    Args:
        image: (H, W) gray image.
        board: Board to detect.

    Returns:
        Corners (K, 2) in full-image px; NaN for corners that are not seen. None if fewer than 6 corners are seen or all
            seen corners are on one line, because these do not determine a pose.
    """
    # OpenCV 4 returns (n, 1, 2) and (n, 1), OpenCV 5 (n, 2) and (n,); both return None if nothing is detected.
    corners, ids, _, _ = cv2.aruco.CharucoDetector(board.pattern()).detectBoard(image)
    if ids is None or len(ids) < _MIN_CORNERS:
        return None
    columns, rows = board.grid
    numbers = np.asarray(ids).reshape(-1)
    if len(np.unique(numbers // columns)) < 2 or len(np.unique(numbers % columns)) < 2:
        return None
    points = np.full((columns * rows, 2), np.nan)
    points[numbers] = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    points[numbers] = _refine(image, points, board)[numbers]
    return points


def _refine(image: Image, points: Floats, board: CharucoBoard) -> Floats:
    """Refine corners to subpixel accuracy in windows that do not reach the markers.

    OpenCV's detector refines too, but up to version 4.12 it returns corners half a pixel too far right and down.
    """
    columns, rows = board.grid
    lattice = points.reshape(rows, columns, 2)
    sides = [np.linalg.norm(np.diff(lattice, axis=axis), axis=-1) for axis in (0, 1)]
    seen = np.concatenate([side[np.isfinite(side)] for side in sides])
    square = float(seen.min()) if len(seen) else 0.0
    margin = (1 - board.marker_size / board.square_size) / 2
    half = int(np.clip(square * min(margin, 0.25), 2, _LARGEST_WINDOW))
    there = seen_corners(points)
    start = points[there].astype(np.float32).reshape(-1, 1, 2)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    moved = cv2.cornerSubPix(image, start, (half, half), (-1, -1), criteria)
    refined = points.copy()
    refined[there] = np.asarray(moved, dtype=np.float64).reshape(-1, 2)
    # In a window with glare or blur the refinement can diverge; OpenCV's position is then better.
    ran_off = ~(np.linalg.norm(refined - points, axis=-1) <= half)
    return np.where(ran_off[:, None], points, refined)
