"""Calibration boards: chessboard and ChArUco, positions of their corners, and equivalent corner orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.errors import InputError

__all__ = [
    "Board",
    "CharucoBoard",
    "Chessboard",
    "Floats",
    "Ints",
    "corner_orders",
    "dictionary_names",
    "object_points",
    "predefined_dictionary",
    "seen_corners",
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

    Raises:
        InputError: `out-of-range`, if there are fewer than 3 inner corners along a side, or the square size is not
            positive.
    """

    columns: int
    rows: int
    square_size: float

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 3:
            raise InputError(
                f"columns, rows: a chessboard needs at least 3x3 inner corners, found {self.columns}x{self.rows}. "
                "Count inner corners: one less than the squares along each side.",
                code="out-of-range",
                argument="columns",
            )
        _check_positive("square_size", self.square_size)

    def __str__(self) -> str:
        return f"chessboard of {self.columns}x{self.rows} inner corners, squares of {self.square_size:g}"

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of inner corners along the two sides."""
        return self.columns, self.rows


@dataclass(frozen=True, kw_only=True)
class CharucoBoard:
    """A chessboard whose white squares contain markers; it is detected even if only a part is visible.

    Attributes:
        columns: Number of squares along one side (as OpenCV counts them for ChArUco).
        rows: Number of squares along the other side.
        square_size: Side length of a square; its unit becomes the unit of the calibration.
        marker_size: Side length of a marker, in the unit of `square_size`.
        dictionary: Name of OpenCV's predefined marker dictionary, such as DICT_4X4_50.
        legacy: True for the pattern of OpenCV before 4.6, which differs if the number of rows is even.

    Raises:
        InputError: `out-of-range`, if there are fewer than 3 squares along a side, a size is not positive, markers are
            larger than the squares, or the dictionary has too few markers; `unknown-choice`, if the dictionary is
            unknown.
    """

    columns: int
    rows: int
    square_size: float
    marker_size: float
    dictionary: str = "DICT_4X4_50"
    legacy: bool = False

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 3:
            raise InputError(
                f"columns, rows: a ChArUco board needs at least 3x3 squares, found {self.columns}x{self.rows}",
                code="out-of-range",
                argument="columns",
            )
        _check_positive("square_size", self.square_size)
        _check_positive("marker_size", self.marker_size)
        if self.marker_size >= self.square_size:
            raise InputError(
                f"marker_size: markers of {self.marker_size:g} do not fit into squares of {self.square_size:g}. Give "
                "both in the same unit.",
                code="out-of-range",
                argument="marker_size",
            )
        if self.dictionary not in dictionary_names():
            raise InputError(
                f"dictionary: unknown, found {self.dictionary!r}, expected one of {', '.join(dictionary_names())}",
                code="unknown-choice",
                argument="dictionary",
                found=self.dictionary,
            )
        needed, held = (self.columns * self.rows) // 2, len(predefined_dictionary(self.dictionary).bytesList)
        if needed > held:
            raise InputError(
                f"dictionary: {self.dictionary} is too small, found {held} markers, expected {needed} for a board of "
                f"{self.columns}x{self.rows} squares",
                code="out-of-range",
                argument="dictionary",
            )

    def __str__(self) -> str:
        return (
            f"ChArUco board of {self.columns}x{self.rows} squares of {self.square_size:g}, markers of "
            f"{self.marker_size:g} from {self.dictionary}"
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of inner corners along the two sides."""
        return self.columns - 1, self.rows - 1

    def pattern(self) -> Any:
        """Return the OpenCV object for this board."""
        board = cv2.aruco.CharucoBoard(
            (self.columns, self.rows), self.square_size, self.marker_size, predefined_dictionary(self.dictionary)
        )
        board.setLegacyPattern(self.legacy)
        return board


Board = Chessboard | CharucoBoard


def object_points(board: Board) -> Floats:
    """Return inner corners (K, 3) in the board's frame and unit: row by row, x along a row, y along a column, z = 0.

    Seen from the front, x points right, y points down, and z points into the board.
    """
    columns, rows = board.grid
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    return np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3) * board.square_size


def corner_orders(board: Board) -> Ints:
    """Return corner orders (G, K) that a detector cannot distinguish, the given one first.

    The labels `corners[order]` belong to the board turned or mirrored onto itself. A plain chessboard has 4 such orders
    (8 if it is square). A detector can distinguish the half turn from the first order only if one number of corners is
    odd and the other is even. The markers of a ChArUco board leave a single order.
    """
    columns, rows = board.grid
    indices = np.arange(columns * rows).reshape(rows, columns)
    if isinstance(board, CharucoBoard):
        return indices.reshape(1, -1)
    grids = [indices, indices[::-1, ::-1], indices[:, ::-1], indices[::-1]]
    if rows == columns:
        grids += [grid.T for grid in grids]
    return np.stack([grid.reshape(-1) for grid in grids])


def seen_corners(points: Floats) -> npt.NDArray[np.bool_]:
    """Return booleans (...), true for points (..., 2) that are not NaN."""
    return np.asarray(np.isfinite(points).all(axis=-1))


def dictionary_names() -> tuple[str, ...]:
    """Return the names of OpenCV's predefined ArUco dictionaries."""
    return tuple(name for name in dir(cv2.aruco) if name.startswith("DICT_"))


def predefined_dictionary(name: str) -> Any:
    """Return OpenCV's dictionary with a name from `dictionary_names`."""
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))


def _check_positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise InputError(
            f"{name}: must be a positive number, found {value}", code="out-of-range", argument=name, found=value
        )
