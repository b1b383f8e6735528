"""Detection of any kind of board in an image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mvgeom.calibration.boards import Board, BoardSet, CharucoBoard, Floats, TagGrid
from mvgeom.calibration.charuco import find_charuco
from mvgeom.calibration.checkerboard import find_chessboard
from mvgeom.calibration.tag_detection import find_tag_grid

__all__ = ["Image", "board_finder", "upright_colors"]

Image = npt.NDArray[np.uint8]


def board_finder(board: Board) -> Callable[[Image], Floats | None]:
    """Return a function that detects a board in a gray image (H, W).

    The function returns corners (K, 2) in full-image px in the order of `object_points`, NaN for those that are not
    seen, or None.
    """
    if isinstance(board, BoardSet):
        finders = [board_finder(face.board) for face in board.faces]
        lengths = [len(face.board.points()) for face in board.faces]
        return lambda image: _join([find(image) for find in finders], lengths)
    if isinstance(board, CharucoBoard):
        return lambda image: find_charuco(upright_colors(image, board), board)
    if isinstance(board, TagGrid):
        return lambda image: find_tag_grid(upright_colors(image, board), board)
    return lambda image: find_chessboard(upright_colors(image, board), board.grid)


def upright_colors(image: Image, board: Board) -> Image:
    """Return the image, or its negative for an inverted board."""
    return 255 - image if board.inverted else image


def _join(found: list[Floats | None], lengths: list[int]) -> Floats | None:
    """Return the corners of all faces, NaN for those that are not seen; None if no face is seen."""
    if all(each is None for each in found):
        return None
    return np.concatenate(
        [np.full((length, 2), np.nan) if each is None else each for each, length in zip(found, lengths, strict=True)]
    )
