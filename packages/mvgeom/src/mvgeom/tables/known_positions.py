"""Reader of known positions of points in the room: a table with the columns name, x, y, z."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvgeom.tables.cells import find_delimiter, has_decimal_commas, to_decimal_point

__all__ = ["read_positions"]

_COLUMNS = ("name", "x", "y", "z")


def read_positions(path: str | Path) -> dict[str, npt.NDArray[np.float64]]:
    """Read known positions from a table with the columns name, x, y, z; other columns are ignored.

    Args:
        path: Path of the CSV file, separated by commas, semicolons or tabs; a first row names the columns.

    Returns:
        Positions (3,) by name, in the unit of the table.

    Raises:
        InputError: `missing-column`, `duplicate-name`, `bad-number` (a cell is not a finite number), `empty-file`;
            `unreadable-file`, `not-text` or `invalid-syntax`, if the file cannot be read.
    """
    path = Path(path)
    text = read_text(path)
    delimiter = find_delimiter(text)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read as a table: {error}", code="invalid-syntax", path=path) from error
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise InputError(
            f"{path}: columns are missing, found {', '.join(header) or 'none'}, expected {', '.join(_COLUMNS)}",
            code="missing-column",
            path=path,
            column=missing[0],
        )
    places = [header.index(column) for column in _COLUMNS]
    commas = has_decimal_commas(path, delimiter, (cell for row in rows[1:] for cell in row))
    positions: dict[str, npt.NDArray[np.float64]] = {}
    for number, row in enumerate(rows[1:], start=2):
        cells = [row[place].strip() if place < len(row) else "" for place in places]
        if cells[0] in positions:
            raise InputError(f"{path}: {cells[0]!r} occurs twice", code="duplicate-name", path=path, name=cells[0])
        try:
            values = np.array([float(to_decimal_point(cell) if commas else cell) for cell in cells[1:]])
        except ValueError:
            values = np.full(3, np.nan)
        if not np.isfinite(values).all():
            raise InputError(
                f"{path}: line {number}: x, y and z must be numbers, found {', '.join(map(repr, cells[1:]))}",
                code="bad-number",
                path=path,
                line=number,
            )
        positions[cells[0]] = values
    if not positions:
        raise InputError(f"{path}: no rows, expected at least one point", code="empty-file", path=path)
    return positions
