"""Films of a board that is carried past cameras, in a few seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from helpers.boards import square_pattern
from mvgeom import CameraGroup
from mvgeom.calibration import Chessboard
from mvgeom.calibration.boards import object_points

BOARD = Chessboard(columns=6, rows=5, square_size=0.08)
CELL = 12
"""px of the rendered pattern along a square."""


def small_rig(num_views: int = 3) -> CameraGroup:
    """Cameras of 320x240 px without distortion, 25 degrees apart, that look at the origin from a distance of 1.5."""
    angles = np.deg2rad(25) * (np.arange(num_views) - (num_views - 1) / 2)
    return CameraGroup(
        names=tuple(f"cam{view + 1}" for view in range(num_views)),
        sizes=np.tile([320.0, 240.0], (num_views, 1)),
        matrix=np.tile([[300.0, 0, 159.5], [0, 300, 119.5], [0, 0, 1]], (num_views, 1, 1)),
        distortion=np.zeros((num_views, 0)),
        rotation=Rotation.from_euler("y", angles[:, None]).as_matrix(),
        translation=np.tile([0, 0, 1.5], (num_views, 1)),
    )


def film_board(
    folder: Path,
    cameras: CameraGroup,
    num_frames: int,
    *,
    away: Sequence[tuple[int, int]] = (),
    late: Mapping[str, int] | None = None,
    seed: int = 0,
    fps: float = 30.0,
) -> dict[str, Path]:
    """Write a film per camera.

    Args:
        folder: Folder of the films.
        cameras: Cameras without distortion.
        num_frames: Length of each film.
        away: First frames, and frames after the last, of the times at which no camera sees the board.
        late: Number of frames that the films of some cameras lag behind.
        seed: Random seed of the board's path.
        fps: Frame rate.
    """
    rng = np.random.default_rng(seed)
    knots = np.arange(-60.0, num_frames + 60, 22)
    times = np.arange(-40, num_frames)
    place = CubicSpline(knots, rng.uniform(-1, 1, (len(knots), 3)) * [0.22, 0.14, 0.3])(times)
    for first, end in away:
        place[(times >= first) & (times < end)] += [0, 9, 0]
    turn = CubicSpline(knots, rng.uniform(-1, 1, (len(knots), 3)) * [32, 32, 50])(times)
    rotation = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    films = {}
    folder.mkdir(parents=True, exist_ok=True)
    for view, name in enumerate(cameras.names):
        width, height = (int(length) for length in cameras.sizes[view])
        films[name] = folder / f"{name}.mp4"
        writer = cv2.VideoWriter(str(films[name]), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
        assert writer.isOpened(), films[name]
        first = 40 - (late or {}).get(name, 0)
        for frame in range(first, first + num_frames):
            writer.write(cv2.cvtColor(_image(cameras, view, rotation[frame], place[frame]), cv2.COLOR_GRAY2BGR))
        writer.release()
    return films


def _image(cameras: CameraGroup, view: int, rotation: np.ndarray, place: np.ndarray) -> np.ndarray:
    width, height = (int(length) for length in cameras.sizes[view])
    pattern, to_board = square_pattern(BOARD, CELL)
    turn = cameras.rotation[view] @ rotation
    position = cameras.rotation[view] @ place + cameras.translation[view] - turn @ object_points(BOARD).mean(axis=0)
    homography = cameras.matrix[view] @ np.column_stack([turn[:, :2], position]) @ to_board
    image = np.full((height, width), 120, dtype=np.uint8)
    corners = np.array([[0, 0, 1], [pattern.shape[1], 0, 1], [*pattern.shape[::-1], 1], [0, pattern.shape[0], 1.0]])
    if turn[2, 2] > 0 and (corners @ homography.T)[:, 2].min() > 0:
        cv2.warpPerspective(pattern, homography, (width, height), image, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    return cv2.GaussianBlur(image, (0, 0), 0.6)
