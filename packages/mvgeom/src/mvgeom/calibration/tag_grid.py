"""Grids of markers: AprilGrids as Kalibr makes them, plain grids of ArUco markers, and single markers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mvgeom._arrays import check_number
from mvgeom.calibration.marker_dictionaries import check_ids, check_positive
from mvgeom.errors import InputError
from mvgeom.wording import counted

__all__ = ["TagGrid"]


@dataclass(frozen=True, kw_only=True)
class TagGrid:
    """Markers in rows and columns with equal gaps; it is detected even if only two markers are visible.

    The defaults are those of Kalibr's AprilGrid. OpenCV's GridBoard has no squares and counts from the top.

    Attributes:
        columns: Number of markers along one side.
        rows: Number of markers along the other side.
        marker_size: Side length of a marker; its unit becomes the unit of the calibration.
        spacing: Gap between two markers, divided by their side length.
        dictionary: Name of OpenCV's predefined marker dictionary.
        first_id: Number of the first marker; the others follow row by row.
        from_bottom: True if the first marker is in the lower left, False if it is in the upper left.
        corner_squares: True if small black squares fill the corners between the markers.
        inverted: True for a board with black and white exchanged.

    Raises:
        InputError: `out-of-range`, if there is no marker, a size is not positive, or the dictionary has too few
            markers; `unknown-choice`, if the dictionary is unknown.
    """

    columns: int
    rows: int
    marker_size: float
    spacing: float
    dictionary: str = "DICT_APRILTAG_36h11"
    first_id: int = 0
    from_bottom: bool = True
    corner_squares: bool = True
    inverted: bool = False

    def __post_init__(self) -> None:
        for name in ("columns", "rows", "first_id"):
            check_number(getattr(self, name), name, whole=True)
        if min(self.columns, self.rows) < 1:
            raise InputError(
                f"columns, rows: a grid needs at least one marker, found {self.columns}x{self.rows}",
                code="out-of-range",
                argument="columns",
            )
        check_positive("marker_size", self.marker_size)
        check_positive("spacing", self.spacing)
        check_ids(self.dictionary, self.ids, f"grid of {self.columns}x{self.rows} markers")

    def __str__(self) -> str:
        kind = "AprilGrid" if self.corner_squares else "grid"
        numbers = f" from number {self.first_id}" if self.first_id else ""
        return (
            f"{'inverted ' if self.inverted else ''}{kind} of {self.columns}x{self.rows} markers of "
            f"{self.marker_size:g} from {self.dictionary}{numbers}, gaps of {counted(self.spacing, 'marker', spec='g')}"
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of corners along the two sides: two for each marker."""
        return 2 * self.columns, 2 * self.rows

    @property
    def ids(self) -> range:
        """Numbers of the markers."""
        return range(self.first_id, self.first_id + self.columns * self.rows)

    @property
    def layout(self) -> str:
        """The board's numbers of markers, in words."""
        return f"{self.columns}x{self.rows} markers"

    def points(self) -> npt.NDArray[np.float64]:
        """Return the markers' corners (K, 3) in the board's frame; see `object_points`."""
        columns, rows = (_edges(count, self.spacing) for count in (self.columns, self.rows))
        x, y = np.meshgrid(columns, rows)
        return np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3) * self.marker_size

    def corners_of(self, marker: int) -> npt.NDArray[np.int64]:
        """Return the indices (4,) of a marker's corners: clockwise from the upper left, seen from the front."""
        row, column = divmod(marker - self.first_id, self.columns)
        if self.from_bottom:
            row = self.rows - 1 - row
        width = 2 * self.columns
        first = 2 * row * width + 2 * column
        return np.array([first, first + 1, first + width + 1, first + width])


def _edges(count: int, spacing: float) -> npt.NDArray[np.float64]:
    """Return the places (2 count,) of the edges of markers in a row, in units of their side length."""
    starts = np.arange(count) * (1 + spacing)
    return np.stack([starts, starts + 1], axis=-1).reshape(-1)
