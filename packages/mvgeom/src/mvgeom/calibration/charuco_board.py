"""ChArUco boards: a chessboard with markers in its white squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mvgeom._arrays import check_number
from mvgeom.calibration.marker_dictionaries import check_ids, check_positive, predefined_dictionary
from mvgeom.errors import InputError

__all__ = ["CharucoBoard"]


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
        first_id: Number of the first marker; the others follow.
        inverted: True for a board with black and white exchanged.

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
    first_id: int = 0
    inverted: bool = False

    def __post_init__(self) -> None:
        for name in ("columns", "rows", "first_id"):
            check_number(getattr(self, name), name, whole=True)
        if min(self.columns, self.rows) < 3:
            raise InputError(
                f"columns, rows: a ChArUco board needs at least 3x3 squares, found {self.columns}x{self.rows}",
                code="out-of-range",
                argument="columns",
            )
        check_positive("square_size", self.square_size)
        check_positive("marker_size", self.marker_size)
        if self.marker_size >= self.square_size:
            raise InputError(
                f"marker_size: markers of {self.marker_size:g} do not fit into squares of {self.square_size:g}. Give "
                "both in the same unit.",
                code="out-of-range",
                argument="marker_size",
            )
        check_ids(self.dictionary, self.ids, f"board of {self.columns}x{self.rows} squares")

    def __str__(self) -> str:
        numbers = f" from number {self.first_id}" if self.first_id else ""
        return (
            f"{'inverted ' if self.inverted else ''}ChArUco board of {self.columns}x{self.rows} squares of "
            f"{self.square_size:g}, markers of {self.marker_size:g} from {self.dictionary}{numbers}"
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of inner corners along the two sides."""
        return self.columns - 1, self.rows - 1

    @property
    def ids(self) -> range:
        """Numbers of the markers."""
        return range(self.first_id, self.first_id + self.columns * self.rows // 2)

    @property
    def layout(self) -> str:
        """The board's numbers of squares, in words."""
        return f"{self.columns}x{self.rows} squares"

    def points(self) -> npt.NDArray[np.float64]:
        """Return inner corners (K, 3) in the board's frame; see `object_points`."""
        columns, rows = self.grid
        y, x = np.mgrid[:rows, :columns].astype(np.float64)
        return np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3) * self.square_size

    def pattern(self) -> Any:
        """Return the OpenCV object for this board."""
        board = cv2.aruco.CharucoBoard(
            (self.columns, self.rows),
            self.square_size,
            self.marker_size,
            predefined_dictionary(self.dictionary),
            np.array(self.ids, dtype=np.int32),
        )
        board.setLegacyPattern(self.legacy)
        return board
