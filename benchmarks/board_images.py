"""Patterns of boards, and images of them as cameras with any lens see them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from mvgeom import CameraGroup, undistort

OVERSAMPLING = 2
SQUARE_PX = 24
GRAY = 110


def charuco_pattern(board: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pattern of a ChArUco board with a margin, and the (3, 3) matrix from the board's frame to its pixels."""
    columns, rows = board.columns, board.rows
    pattern = board.pattern().generateImage((columns * SQUARE_PX, rows * SQUARE_PX), marginSize=0)
    scale, start = SQUARE_PX / board.square_size, 1.5 * SQUARE_PX - 0.5
    return with_margin(pattern, SQUARE_PX // 2), np.array([[scale, 0, start], [0, scale, start], [0, 0, 1]])


def chessboard_pattern(board: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pattern of a chessboard with a margin of one square; see above."""
    columns, rows = board.grid
    y, x = np.mgrid[: (rows + 1) * SQUARE_PX, : (columns + 1) * SQUARE_PX] // SQUARE_PX
    scale, start = SQUARE_PX / board.square_size, 2 * SQUARE_PX - 0.5
    pattern = with_margin((255 * ((x + y) % 2)).astype(np.uint8), SQUARE_PX)
    return pattern, np.array([[scale, 0, start], [0, scale, start], [0, 0, 1]])


def aprilgrid_pattern(board: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pattern of an AprilGrid as Kalibr prints it, upside down and with borders of two bits; see above."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    tag = 4 * (dictionary.markerSize + 4)
    gap = round(board.spacing * tag)
    step = tag + gap
    pattern = np.full((board.rows * step + gap, board.columns * step + gap), 255, dtype=np.uint8)
    for row, column in np.ndindex(board.rows, board.columns):
        number = board.first_id + (board.rows - 1 - row) * board.columns + column
        marker = cv2.aruco.generateImageMarker(dictionary, number, tag, borderBits=2)
        top, left = gap + row * step, gap + column * step
        pattern[top : top + tag, left : left + tag] = marker[::-1, ::-1]
    for row, column in np.ndindex(board.rows + 1, board.columns + 1):
        pattern[row * step : row * step + gap, column * step : column * step + gap] = 0
    scale, start = tag / board.marker_size, tag // 2 + gap - 0.5
    return with_margin(pattern, tag // 2), np.array([[scale, 0, start], [0, scale, start], [0, 0, 1]])


def with_margin(pattern: np.ndarray, width: int) -> np.ndarray:
    return cv2.copyMakeBorder(pattern, width, width, width, width, cv2.BORDER_CONSTANT, value=255)


def rays_of(cameras: CameraGroup) -> np.ndarray:
    """Viewing rays (V, H, W, 3) of the pixels of oversampled images."""
    width, height = cameras.sizes[0].astype(int) * OVERSAMPLING
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    pixels = (np.stack([x, y], axis=-1).reshape(-1, 2) - (OVERSAMPLING - 1) / 2) / OVERSAMPLING
    found = undistort(np.tile(pixels, (len(cameras), 1, 1)), cameras).reshape(len(cameras), height, width, 2)
    return np.concatenate([found, np.ones_like(found[..., :1])], axis=-1)


def render(
    faces: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    rays: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
    rng: np.random.Generator,
    *,
    inverted: bool = False,
) -> np.ndarray:
    """Render one image (H, W) of faces (pattern, matrix to its pixels, rotation and position in the world)."""
    large = np.full(rays.shape[:2], float(GRAY), dtype=np.float32)
    for pattern, to_pattern, turn, place in faces:
        local, shift = rotation @ turn, rotation @ place + translation
        if local[:, 2] @ shift <= 0:  # seen from behind
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = (local[:, 2] @ shift) / (rays @ local[:, 2])
            on_board = (rays * depth[..., None] - shift) @ local[:, :2]
        at = on_board @ to_pattern[:2, :2].T + to_pattern[:2, 2]
        at = np.where(np.isfinite(at) & (depth[..., None] > 0), at, -1e6).astype(np.float32)
        shown = cv2.remap(
            (255 - pattern if inverted else pattern).astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=-1e4,
        )  # fmt: skip
        large = np.where(shown >= 0, shown, large)
    height, width = large.shape
    small = cv2.resize(large, (width // OVERSAMPLING, height // OVERSAMPLING), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), 0.7)
    return np.clip(blurred + 2 * rng.normal(size=blurred.shape), 0, 255).astype(np.uint8)


def path_of_body(num_frames: int, seed: int, *, spread: float, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (F, 3, 3) and positions (F, 3) of a body's middle on a smooth path."""
    rng = np.random.default_rng(seed)
    knots = np.linspace(-5, num_frames + 5, num_frames // 2 + 5)
    turns = CubicSpline(knots, rng.uniform(-1, 1, (len(knots), 3)) * [tilt, tilt, 60])(np.arange(num_frames))
    position = CubicSpline(knots, rng.uniform(-spread, spread, (len(knots), 3)))(np.arange(num_frames))
    return Rotation.from_euler("xyz", turns, degrees=True).as_matrix(), position
