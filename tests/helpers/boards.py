"""Rigs that film a calibration board: poses, exact corners, and what a detector would see of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from mvgeom import CameraGroup, in_image, project
from mvgeom.calibration.boards import Board, BoardSet, CharucoBoard, Chessboard, TagGrid, object_points
from mvgeom.calibration.marker_dictionaries import predefined_dictionary

BOARD = Chessboard(columns=9, rows=6, square_size=0.03)


@dataclass(frozen=True, kw_only=True, eq=False)
class Filmed:
    """A rig, the poses of the board (F, 3, 3) and (F, 3), and its corners (V, F, K, 2), NaN out of the image."""

    cameras: CameraGroup
    rotation: np.ndarray
    position: np.ndarray
    points: np.ndarray


def arc_of_cameras(
    num_views: int = 4,
    *,
    distortion: tuple[float, ...] = (-0.2, 0.05, 0.001, -0.0005, 0.01),
    radius: float = 1.5,
    step_deg: float = 25.0,
    fisheye: bool = False,
) -> CameraGroup:
    """Cameras on an arc around the origin that look at it; neighbors differ by `step_deg`."""
    rng = np.random.default_rng(7)
    rotation, translation = [], []
    for view in range(num_views):
        turn = Rotation.from_euler("yx", [-(view - (num_views - 1) / 2) * step_deg, 12 * (-1) ** view], degrees=True)
        rotation.append((Rotation.from_rotvec(rng.normal(size=3) * 0.03) * turn.inv()).as_matrix())
        translation.append([0.02 * view, 0.01, radius + 0.05 * view])
    focal = 900 + 20 * np.arange(num_views)
    matrix = np.zeros((num_views, 3, 3))
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = focal, focal * 1.003, 1
    matrix[:, 0, 2], matrix[:, 1, 2] = 650 + 3 * np.arange(num_views), 505 - 2 * np.arange(num_views)
    return CameraGroup(
        names=tuple(f"cam{view + 1}" for view in range(num_views)),
        sizes=np.tile([1280.0, 1024.0], (num_views, 1)),
        matrix=matrix,
        distortion=np.tile(np.array(distortion, dtype=np.float64), (num_views, 1)),
        rotation=np.array(rotation),
        translation=np.array(translation),
        fisheye=(fisheye,) * num_views,
    )


def film(
    cameras: CameraGroup,
    num_frames: int,
    *,
    board: Board = BOARD,
    noise: float = 0.0,
    seed: int = 0,
    spread: float = 0.35,
    tilt_deg: float = 35.0,
) -> Filmed:
    """Show the board in random poses about the origin, its front towards the middle of the arc of cameras."""
    rng = np.random.default_rng(seed)
    corners = object_points(board)
    middle = corners.mean(axis=0)
    angles = rng.uniform(-tilt_deg, tilt_deg, size=(num_frames, 2))
    turns = Rotation.from_euler("xyz", np.column_stack([angles, rng.uniform(-180, 180, num_frames)]), degrees=True)
    rotation = turns.as_matrix()
    position = rng.uniform(-spread, spread, size=(num_frames, 3)) - rotation @ middle
    world = corners @ np.swapaxes(rotation, 1, 2) + position[:, None]
    pixels = np.moveaxis(project(world, cameras), 0, 1)
    inside = np.moveaxis(in_image(np.moveaxis(pixels, 1, 0), cameras), 0, 1)
    facing = np.einsum("vij,fj->vfi", cameras.rotation, rotation[:, :, 2])[..., 2] > 0.2
    whole = inside.all(-1) & facing
    pixels = pixels + noise * rng.normal(size=pixels.shape)
    return Filmed(
        cameras=cameras,
        rotation=rotation,
        position=position,
        points=np.where(whole[..., None, None], pixels, np.nan),
    )


def ring_of_cameras(num_views: int = 4, *, radius: float = 1.5) -> CameraGroup:
    """Cameras without distortion all around the origin that look at it."""
    cameras = arc_of_cameras(num_views, distortion=())
    turns = Rotation.from_euler("yx", [[360 / num_views * view, 10 * (-1) ** view] for view in range(num_views)], True)
    return cameras.replace(
        rotation=np.swapaxes(turns.as_matrix(), 1, 2), translation=np.tile([0.0, 0, radius], (num_views, 1))
    )


def film_body(cameras: CameraGroup, body: BoardSet, num_frames: int, *, noise: float = 0.0, seed: int = 0) -> Filmed:
    """Turn a body with several boards about the origin; a camera sees the faces that are turned to it."""
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(num_frames, random_state=seed).as_matrix()
    position = rng.uniform(-0.3, 0.3, size=(num_frames, 3))
    world = object_points(body) @ np.swapaxes(rotation, 1, 2) + position[:, None]
    pixels = project(world, cameras)
    inward = np.stack([face.rotation[:, 2] for face in body.faces])
    inward = np.einsum("fij,nj->fni", rotation, inward)[:, body.face_of_points()]
    sight = world[:, None] - cameras.centers[None, :, None]
    facing = np.einsum("fvki,fki->fvk", sight, inward) > 0.25 * np.linalg.norm(sight, axis=-1)
    visible = np.asarray(in_image(pixels, cameras)) & facing
    pixels = pixels + noise * rng.normal(size=pixels.shape)
    points = np.moveaxis(np.where(visible[..., None], pixels, np.nan), 0, 1)
    return Filmed(cameras=cameras, rotation=rotation, position=position, points=points)


def photograph(cameras: CameraGroup, board: Board, filmed: Filmed) -> list[list[np.ndarray]]:
    """Images of the board by each camera (which must have no distortion), frame by frame."""
    images = []
    for view in range(len(cameras)):
        poses = [
            np.column_stack([turn[:, :2], position])
            for turn, position in zip(filmed.rotation, filmed.position, strict=True)
        ]
        seen = [cameras.rotation[view] @ pose + [0, 0, 1] * cameras.translation[view][:, None] for pose in poses]
        size = tuple(int(length) for length in cameras.sizes[view])
        images.append([draw_board(board, cameras.matrix[view] @ pose, size) for pose in seen])
    return images


def draw_board(
    board: Board, homography: np.ndarray, size: tuple[int, int], *, blur: float = 0.8, border_bits: int = 2
) -> np.ndarray:
    """(H, W) gray image of a board with a white margin, by its homography from board coordinates to pixels.

    An inverted board has a black margin. `border_bits` is the width of an AprilGrid's borders.
    """
    assert not isinstance(board, BoardSet)
    pattern, to_board = _tag_pattern(board, border_bits) if isinstance(board, TagGrid) else square_pattern(board)
    if board.inverted:
        pattern = 255 - pattern
    oversampled = 3
    enlarge = np.array([[oversampled, 0, (oversampled - 1) / 2], [0, oversampled, (oversampled - 1) / 2], [0, 0, 1]])
    large = cv2.warpPerspective(
        pattern,
        enlarge @ homography @ to_board,
        (size[0] * oversampled, size[1] * oversampled),
        flags=cv2.INTER_LINEAR,
        borderValue=110,
    )
    small = cv2.resize(large, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), blur)


def square_pattern(board: Chessboard | CharucoBoard, cell: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Pattern of a board of squares with a margin of one square, and the matrix from its pixels to the board."""
    columns, rows = board.grid
    if isinstance(board, CharucoBoard):
        pattern = board.pattern().generateImage(((columns + 1) * cell, (rows + 1) * cell), marginSize=0)
    else:
        y, x = np.mgrid[: (rows + 1) * cell, : (columns + 1) * cell] // cell
        # The square inside the first corner is black, as `find_chessboard` promises.
        pattern = (255 * ((x + y) % 2)).astype(np.uint8)
    pattern = cv2.copyMakeBorder(pattern, cell, cell, cell, cell, cv2.BORDER_CONSTANT, value=255)
    # The first inner corner lies two cells into the bordered pattern, on the edge between two of its pixels.
    to_board = np.array([[1 / cell, 0, 0.5 / cell - 2], [0, 1 / cell, 0.5 / cell - 2], [0, 0, 1 / board.square_size]])
    return pattern, to_board


def _tag_pattern(board: TagGrid, border_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Pattern of a grid of markers, upside down and with squares where it is an AprilGrid; see `square_pattern`."""
    dictionary = predefined_dictionary(board.dictionary)
    border = border_bits if board.corner_squares else 1
    tag = 10 * (dictionary.markerSize + 2 * border)
    gap, margin = round(board.spacing * tag), tag
    step = tag + gap
    pattern = np.full((board.rows * step + gap + 2 * margin, board.columns * step + gap + 2 * margin), 255, np.uint8)
    for number in board.ids:
        row, column = divmod(number - board.first_id, board.columns)
        row = board.rows - 1 - row if board.from_bottom else row
        marker = cv2.aruco.generateImageMarker(dictionary, number, tag, borderBits=border)
        top, left = margin + gap + row * step, margin + gap + column * step
        pattern[top : top + tag, left : left + tag] = marker[::-1, ::-1] if board.corner_squares else marker
    for row, column in np.ndindex(board.rows + 1, board.columns + 1):
        if board.corner_squares:
            top, left = margin + row * step, margin + column * step
            pattern[top : top + gap, left : left + gap] = 0
    scale, start = board.marker_size / tag, margin + gap - 0.5
    return pattern, np.array([[scale, 0, -scale * start], [0, scale, -scale * start], [0, 0, 1]])
