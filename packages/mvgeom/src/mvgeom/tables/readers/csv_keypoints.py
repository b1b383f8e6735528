"""Keypoint tables in text, as DeepLabCut and Lightning Pose write them: scorer, bodyparts, coords; a row per frame.

Cells are separated by commas, semicolons or tabs. The index is a frame number or an image path, in one cell or in
three. Tables of several individuals have a fourth header row, `individuals`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mvgeom.errors import InputError
from mvgeom.tables.cells import find_delimiter, has_decimal_commas, to_decimal_point
from mvgeom.tables.covariance_columns import COORDS_COVARIANCE
from mvgeom.tables.keypoint_tables import Floats, KeypointTable
from mvgeom.tables.readers.columns import Column, table_from_columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DESCRIPTION", "NAME", "load", "load_blocks", "matches"]

NAME = "csv"
DESCRIPTION = "CSV table with header rows scorer, bodyparts, coords (DeepLabCut, Lightning Pose)"

_LEVELS = (("scorer", "bodyparts", "coords"), ("scorer", "individuals", "bodyparts", "coords"))


def matches(path: Path) -> bool:
    """Return True for any file that no other reader knows; `load` says what is wrong with it."""
    return path.is_file()


def load(path: Path, individual: str | None = None) -> KeypointTable:
    """Read a table of labels or predictions; arguments, result and errors as in `mvgeom.tables.read_keypoints`."""
    header = _Header(path)
    (body,) = _read_bodies(path, header, None)
    table = _to_table(path, header, body, header.num_rows + 1, individual)
    if not table.rows:
        raise _no_rows(path)
    return table


def load_blocks(path: Path, length: int, individual: str | None = None) -> Iterator[KeypointTable]:
    """Read the table of `load` in blocks of rows; one is in memory at a time.

    Tables with another delimiter than the comma are one block: their decimal commas are told by all rows.
    """
    header = _Header(path)
    found, first_line = False, header.num_rows + 1
    for body in _read_bodies(path, header, length if header.delimiter == "," else None):
        table = _to_table(path, header, body, first_line, individual)
        first_line += len(body)
        if table.rows:
            yield table
            found = True
    if not found:
        raise _no_rows(path)


class _Header:
    """Header rows of a table.

    Attributes:
        delimiter: Character between cells.
        num_rows: Number of header rows.
        num_index: Number of cells of the index.
        columns: Individual, keypoint and coordinate of each column after the index.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            InputError: As in `mvgeom.tables.read_keypoints`.
        """
        lines = _first_lines(path, 4)
        self.delimiter = find_delimiter(lines[0]) if lines else ","
        try:
            cells = [
                [cell.strip() for cell in row]
                for row in csv.reader(io.StringIO("".join(lines)), delimiter=self.delimiter)
            ]
        except csv.Error as error:
            raise InputError(f"{path}: not a CSV table: {error}", code="invalid-syntax", path=path) from error
        first = tuple(row[0].lower() if row else "" for row in cells)
        levels = next((levels for levels in _LEVELS if first[: len(levels)] == levels), None)
        if levels is None and len(cells) >= 3 and [cell.lower() for cell in cells[2][1:3]] == ["x", "y"]:
            levels = _LEVELS[0]  # other writers have other texts in the first cells, or none
        if not any(first):
            raise InputError(
                f"{path}: an empty file, expected a table of keypoints: {DESCRIPTION}", code="empty-file", path=path
            )
        if levels is None:
            found = ", ".join(repr(cell[:40]) for cell in first[:3])
            raise InputError(
                f"{path}: wrong header, found first cells {found}, expected scorer, bodyparts, coords",
                code="bad-header",
                path=path,
            )
        self.num_rows = len(levels)
        header = dict(zip(levels, cells, strict=False))
        if len({len(row) for row in header.values()}) != 1:
            raise InputError(
                f"{path}: header rows of different length, found "
                f"{', '.join(str(len(row)) for row in header.values())} cells",
                code="bad-header",
                path=path,
            )
        # A path in three cells leaves two empty ones at the start of each header row.
        filled = [number for number, cell in enumerate(header["bodyparts"]) if number and cell]
        self.num_index = 3 if filled and filled[0] == 3 and not any(header["coords"][1:3]) else 1
        individuals = header.get("individuals")
        self.columns = [
            Column(individuals[number] if individuals is not None else None, name, coord.lower())
            for number, (name, coord) in enumerate(zip(header["bodyparts"], header["coords"], strict=True))
            if number >= self.num_index
        ]


def _first_lines(path: Path, count: int) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [line for line in (file.readline() for _ in range(count)) if line]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", code="unreadable-file", path=path) from error
    except UnicodeDecodeError as error:
        raise _not_text(path) from error


def _not_text(path: Path) -> InputError:
    return InputError(f"{path}: not a text file in UTF-8. Save tables as CSV UTF-8.", code="not-text", path=path)


def _read_bodies(path: Path, header: _Header, length: int | None) -> Iterator[pd.DataFrame]:
    """Yield the cells below the header in blocks of so many rows; all rows at once for None."""
    import pandas as pd

    num_cells = len(header.columns) + header.num_index
    # Numbers with decimal commas are read as texts first.
    num_texts = header.num_index if header.delimiter == "," else num_cells
    try:
        found = pd.read_csv(
            path,
            header=None,
            skiprows=header.num_rows,
            sep=header.delimiter,
            dtype={number: str for number in range(num_texts)},  # noqa: C420 - mypy
            encoding="utf-8-sig",
            chunksize=length,
        )
        yield from [found] if isinstance(found, pd.DataFrame) else found
    except pd.errors.EmptyDataError as error:
        raise _no_rows(path) from error
    except UnicodeDecodeError as error:
        raise _not_text(path) from error
    except pd.errors.ParserError as error:
        raise InputError(f"{path}: rows of different length: {error}", code="invalid-syntax", path=path) from error


def _to_table(
    path: Path, header: _Header, body: pd.DataFrame, first_line: int, individual: str | None
) -> KeypointTable:
    """Return the table of some rows: numbers, NaN for empty cells and for text columns, and the index."""
    columns = header.columns
    num_cells = len(columns) + header.num_index
    if body.shape[1] != num_cells:
        raise InputError(
            f"{path}: wrong number of cells per row, found {body.shape[1]}, expected {num_cells} as in header",
            code="wrong-count",
            path=path,
            found=body.shape[1],
            expected=num_cells,
        )
    if first_line == header.num_rows + 1 and _is_index_name(body, header.num_index):
        body, first_line = body.iloc[1:], first_line + 1
    # Rows of separators alone are the blank lines of spreadsheets.
    body = body[body.notna().any(axis=1)]
    numbers = body.iloc[:, header.num_index :]
    commas = header.delimiter != "," and has_decimal_commas(
        path, header.delimiter, (str(cell) for cell in numbers.to_numpy().ravel())
    )
    values = np.full((len(body), len(columns)), np.nan)
    for number, column in enumerate(columns):
        if column.coord in ("x", "y", "likelihood", "visible", *COORDS_COVARIANCE):
            cells = body[number + header.num_index]
            cells = cells.map(to_decimal_point, na_action="ignore") if commas else cells
            values[:, number] = _numbers(cells, f"{column.keypoint} {column.coord}", path, first_line)
    index = [body[number].fillna("") for number in range(header.num_index)]
    rows = tuple("/".join(cells) for cells in zip(*index, strict=True))
    return table_from_columns(
        path, columns, values, rows, individual=individual, recording=path.stem, first_line=first_line
    )


def _is_index_name(body: pd.DataFrame, num_index: int) -> bool:
    """Return True if the first row is none: pandas writes the name of the index, such as `frame`, into one of its own.

    Frame numbers and names of images are rows, also where no keypoint has a place.
    """
    first = body.iloc[0]
    names = [str(cell) for cell in first.iloc[:num_index].dropna()]
    empty = bool(first.iloc[num_index:].isna().all())
    return empty and len(names) == 1 and re.fullmatch(r"[^\W\d]+", names[0]) is not None


def _no_rows(path: Path) -> InputError:
    return InputError(f"{path}: no rows below the header", code="empty-file", path=path)


def _numbers(column: pd.Series, name: str, path: Path, first_line: int) -> Floats:
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(np.isnan(values) & column.notna().to_numpy() | np.isinf(values))
    if len(wrong):
        line = int(wrong[0]) + first_line
        raise InputError(
            f"{path}: line {line}: {name} must be a number, found {str(column.iloc[wrong[0]])!r}",
            code="bad-number",
            path=path,
            line=line,
            column=name,
        )
    return np.asarray(values)
