"""Detection of chessboards in images, and a check that their squares alternate."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import Floats

__all__ = ["Grid", "Image", "find_chessboard", "find_roughly"]

Image = npt.NDArray[np.uint8]
Grid = tuple[int, int]

_MIN_ALTERNATION = 0.8
"""Correlation of the squares' brightness with an alternating pattern: real boards 0.9 to 1, false ones below 0.75."""
_LARGE_SQUARE = 50
"""px; for larger squares, the positions of the sector-based detector are better than those refined in a window."""


def find_chessboard(image: Image, grid: Grid) -> Floats | None:
    """Detect the inner corners of a chessboard with subpixel accuracy.

    Corners are listed row by row. Rows and columns have the same orientation (clockwise) in the image as on the board
    seen from the front, and the square inside the first corner is black. If one number of corners is odd and the other
    even, there is exactly one such order; otherwise there are two (four if the board is square).

    Args:
        image: (H, W) gray image.
        grid: Numbers of inner corners along the two sides (columns, rows).

    Returns:
        Corners (K, 2) in full-image px, or None if no such board is detected. A part of a larger board can be detected
            as a board of this size: see `probe_grids`.
    """
    # Each detector finds boards that the other misses. The sector-based one is more accurate.
    found, corners = cv2.findChessboardCornersSB(image, grid, flags=cv2.CALIB_CB_EXHAUSTIVE)
    oriented = _orient(image, corners, grid) if found else None
    sector_based = oriented is not None
    if oriented is None:
        oriented = find_roughly(image, grid)
    if oriented is None or (sector_based and _smallest_square(oriented, grid) >= _LARGE_SQUARE):
        return oriented
    return _refine(image, oriented, grid)


def find_roughly(image: Image, grid: Grid) -> Floats | None:
    """Detect rough corners (K, 2) of a chessboard with the faster of the two detectors; None if there are none."""
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
    found, corners = cv2.findChessboardCorners(image, grid, flags=flags)
    return _orient(image, corners, grid) if found else None


def _orient(image: Image, corners: npt.ArrayLike, grid: Grid) -> Floats | None:
    """Put corners in the order that `find_chessboard` documents; None if the squares do not alternate."""
    columns, rows = grid
    lattice = np.asarray(corners, dtype=np.float64).reshape(rows, columns, 2)
    along, down = lattice[0, -1] - lattice[0, 0], lattice[-1, 0] - lattice[0, 0]
    if along[0] * down[1] - along[1] * down[0] < 0:
        lattice = lattice[:, ::-1]
    values = _brightness(image, _centers(lattice))
    if not np.isfinite(values).all():
        return None
    bright = 1.0 - 2.0 * (np.add.outer(np.arange(rows - 1), np.arange(columns - 1)) % 2)
    spread = np.abs(values - values.mean()).sum()
    alternation = (values * bright).sum() / spread if spread > 0 else 0.0
    if abs(alternation) < _MIN_ALTERNATION:
        return None
    if alternation > 0:
        if (rows + columns) % 2:
            lattice = lattice[::-1, ::-1]
        elif rows == columns and rows % 2:
            lattice = np.swapaxes(lattice, 0, 1)[::-1]
    return np.ascontiguousarray(lattice.reshape(-1, 2))


def _centers(lattice: Floats) -> Floats:
    """Return (R - 1, C - 1, 2) centers of the squares between (R, C, 2) corners."""
    return (lattice[:-1, :-1] + lattice[1:, 1:] + lattice[1:, :-1] + lattice[:-1, 1:]) / 4


def _brightness(image: Image, places: Floats) -> Floats:
    """Return gray values at (..., 2) px, NaN outside the image."""
    height, width = image.shape
    columns, rows = places[..., 0].round(), places[..., 1].round()
    inside = (columns >= 0) & (rows >= 0) & (columns <= width - 1) & (rows <= height - 1)
    columns, rows = np.where(inside, columns, 0).astype(int), np.where(inside, rows, 0).astype(int)
    return np.where(inside, image[rows, columns], np.nan)


def _smallest_square(corners: Floats, grid: Grid) -> float:
    lattice = corners.reshape(grid[1], grid[0], 2)
    return min(float(np.linalg.norm(np.diff(lattice, axis=axis), axis=-1).min()) for axis in (0, 1))


def _refine(image: Image, corners: Floats, grid: Grid) -> Floats:
    """Refine corners to subpixel accuracy in windows of a quarter square, which exclude neighboring corners."""
    half = max(2, int(_smallest_square(corners, grid) / 4))
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    moved = cv2.cornerSubPix(image, corners.astype(np.float32).reshape(-1, 1, 2), (half, half), (-1, -1), criteria)
    refined = np.asarray(moved, dtype=np.float64).reshape(-1, 2)
    # In a window with glare or blur the refinement can diverge; the first position is then better.
    ran_off = np.linalg.norm(refined - corners, axis=-1) > half
    return np.where(ran_off[:, None], corners, refined)
