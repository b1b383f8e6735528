"""Calibration boards: positions of their corners, and equivalent corner orders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mvgeom._arrays import check_number
from mvgeom.calibration.board_set import BoardSet, Face, two_sided
from mvgeom.calibration.charuco_board import CharucoBoard
from mvgeom.calibration.marker_dictionaries import check_positive
from mvgeom.calibration.tag_grid import TagGrid
from mvgeom.errors import InputError

__all__ = [
    "Board",
    "BoardSet",
    "CharucoBoard",
    "Chessboard",
    "Face",
    "Floats",
    "Ints",
    "TagGrid",
    "corner_orders",
    "object_points",
    "seen_corners",
    "two_sided",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Chessboard:
    """A board of black and white squares.

    Attributes:
        columns: Number of inner corners along one side (one less than the squares).
        rows: Number of inner corners along the other side.
        square_size: Side length of a square; its unit becomes the unit of the calibration.
        inverted: True for a board with black and white exchanged: a black margin around it.

    Raises:
        InputError: `out-of-range`, if there are fewer than 3 inner corners along a side, or the square size is not
            positive.
    """

    columns: int
    rows: int
    square_size: float
    inverted: bool = False

    def __post_init__(self) -> None:
        for name in ("columns", "rows"):
            check_number(getattr(self, name), name, whole=True)
        if min(self.columns, self.rows) < 3:
            raise InputError(
                f"columns, rows: a chessboard needs at least 3x3 inner corners, found {self.columns}x{self.rows}. "
                "Count inner corners: one less than the squares along each side.",
                code="out-of-range",
                argument="columns",
            )
        check_positive("square_size", self.square_size)

    def __str__(self) -> str:
        return (
            f"{'inverted ' if self.inverted else ''}chessboard of {self.columns}x{self.rows} inner corners, squares of "
            f"{self.square_size:g}"
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of inner corners along the two sides."""
        return self.columns, self.rows

    def points(self) -> Floats:
        """Return inner corners (K, 3) in the board's frame; see `object_points`."""
        y, x = np.mgrid[: self.rows, : self.columns].astype(np.float64)
        return np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3) * self.square_size


Board = Chessboard | CharucoBoard | TagGrid | BoardSet


def object_points(board: Board) -> Floats:
    """Return corners (K, 3) in the board's frame and unit: row by row, x along a row, y along a column, z = 0.

    Corners are the inner corners of squares, or the corners of markers in a grid. Seen from the front, x points right,
    y points down, and z points into the board. The corners of a set of boards are listed face by face, and are not in a
    plane.
    """
    return board.points()


def corner_orders(board: Board) -> Ints:
    """Return corner orders (G, K) that a detector cannot distinguish, the given one first.

    The labels `corners[order]` belong to the board turned or mirrored onto itself. A plain chessboard has 4 such orders
    (8 if it is square). A detector can distinguish the half turn from the first order only if one number of corners is
    odd and the other is even. Markers leave a single order.
    """
    if not isinstance(board, Chessboard):
        return np.arange(len(object_points(board)))[None]
    columns, rows = board.grid
    indices = np.arange(columns * rows).reshape(rows, columns)
    grids = [indices, indices[::-1, ::-1], indices[:, ::-1], indices[::-1]]
    if rows == columns:
        grids += [grid.T for grid in grids]
    return np.stack([grid.reshape(-1) for grid in grids])


def seen_corners(points: Floats) -> npt.NDArray[np.bool_]:
    """Return booleans (...), true for points (..., 2) that are not NaN."""
    return np.asarray(np.isfinite(points).all(axis=-1))
