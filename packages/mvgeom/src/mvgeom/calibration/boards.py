"""What a calibration board is: chessboard and ChArUco, where their corners lie, and which corner orders look alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Chessboard:
    """A board of black and white squares.

    Attributes:
        columns: inner corners along one side (one less than the squares).
        rows: inner corners along the other side.
        square_size: side of a square; its unit becomes the unit of the calibration.

    Raises:
        ValueError: for fewer than 3 inner corners along a side, or a size that is not positive.
    """

    columns: int
    rows: int
    square_size: float

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 3:
            raise InputError(
                f"a chessboard needs at least 3x3 inner corners, got {self.columns}x{self.rows} (inner corners are one "
                "less than the squares along each side)",
                code="out-of-range",
                argument="columns",
            )
        _check_positive("square_size", self.square_size)

    def __str__(self) -> str:
        return f"chessboard of {self.columns}x{self.rows} inner corners, squares of {self.square_size:g}"

    @property
    def grid(self) -> tuple[int, int]:
        """Inner corners along the two sides."""
        return self.columns, self.rows


@dataclass(frozen=True, kw_only=True)
class CharucoBoard:
    """A chessboard whose white squares hold markers; it may be seen in part.

    Attributes:
        columns: squares along one side (as OpenCV counts them for ChArUco).
        rows: squares along the other side.
        square_size: side of a square; its unit becomes the unit of the calibration.
        marker_size: side of a marker, same unit.
        dictionary: name of OpenCV's predefined dictionary, such as DICT_4X4_50.
        legacy: the pattern of OpenCV before 4.6, which differs where the number of rows is even.

    Raises:
        ValueError: for fewer than 3 squares along a side, sizes that are not positive, markers larger than the squares,
            an unknown dictionary, or one with too few markers.
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
                f"a ChArUco board needs at least 3x3 squares, got {self.columns}x{self.rows}",
                code="out-of-range",
                argument="columns",
            )
        _check_positive("square_size", self.square_size)
        _check_positive("marker_size", self.marker_size)
        if self.marker_size >= self.square_size:
            raise InputError(
                f"markers of {self.marker_size:g} do not fit into squares of {self.square_size:g}; both are in the "
                "same unit",
                code="out-of-range",
                argument="marker_size",
            )
        if self.dictionary not in dictionary_names():
            raise InputError(
                f"no ArUco dictionary {self.dictionary!r}; there are {', '.join(dictionary_names())}",
                code="unknown-choice",
                argument="dictionary",
                found=self.dictionary,
            )
        needed, held = (self.columns * self.rows) // 2, len(predefined_dictionary(self.dictionary).bytesList)
        if needed > held:
            raise InputError(
                f"a board of {self.columns}x{self.rows} squares needs {needed} markers, {self.dictionary} holds {held}",
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
        """Inner corners along the two sides."""
        return self.columns - 1, self.rows - 1

    def pattern(self) -> Any:
        """OpenCV's object for this board."""
        board = cv2.aruco.CharucoBoard(
            (self.columns, self.rows), self.square_size, self.marker_size, predefined_dictionary(self.dictionary)
        )
        board.setLegacyPattern(self.legacy)
        return board


Board = Chessboard | CharucoBoard


def object_points(board: Board) -> Floats:
    """(K, 3) inner corners in the board's frame and unit: row by row, x along a row, y along a column, z = 0.

    Seen from the front, x is right, y is down, and z points into the board.
    """
    columns, rows = board.grid
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    return np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3) * board.square_size


def corner_orders(board: Board) -> Ints:
    """(G, K) orders in which a detector may list the corners without noticing, the given one first.

    Labels `corners[order]` are those of the board turned or mirrored onto itself. A plain chessboard has 4 (8 if it is
    square), of which the turn by half tells itself from the first only where one number of corners is odd and the other
    is even. The markers of a ChArUco board leave one.
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
    """(...) which of the points (..., 2) are there, not NaN."""
    return np.asarray(np.isfinite(points).all(axis=-1))


def dictionary_names() -> tuple[str, ...]:
    """Names of OpenCV's predefined ArUco dictionaries."""
    return tuple(name for name in dir(cv2.aruco) if name.startswith("DICT_"))


def predefined_dictionary(name: str) -> Any:
    """OpenCV's dictionary of a name out of `dictionary_names`."""
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))


def _check_positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise InputError(
            f"{name} must be a positive number, got {value}", code="out-of-range", argument=name, found=value
        )
