"""CSV lists of frames: session and frame number, as in the `worst_frames.csv` of a report."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvgeom.tables import find_delimiter

SESSION, FRAME = "session", "frame"
"""Columns of a list of frames; it may have others."""


@dataclass(frozen=True, kw_only=True)
class ListedFrame:
    """A row of a list.

    Attributes:
        session: Name of the session.
        frame: Frame number in its videos, from 0.
        line: Line of the file, from 1.
    """

    session: str
    frame: int
    line: int


def read_listed_frames(path: Path) -> list[ListedFrame]:
    """Read the frames of a list in its order, each once.

    Args:
        path: CSV file with the columns `session` and `frame`; other columns are ignored.

    Raises:
        InputError: The file does not exist (`missing-file`), cannot be read, lacks a column (`missing-column`), has no
            row (`empty-file`), or a cell is empty (`empty-cell`) or not a frame number (`bad-number`).
    """
    rows = read_list(path)
    header = header_of(rows)
    for column in (SESSION, FRAME):
        if column not in header:
            raise InputError(
                f"{path}: no column `{column}`, found {', '.join(header) or 'none'}, expected {SESSION} and {FRAME}, "
                "as in the worst_frames.csv of mvtrain report",
                code="missing-column",
                path=path,
                column=column,
            )
    places = header.index(SESSION), header.index(FRAME)
    frames: dict[tuple[str, int], int] = {}
    for line, cells in rows[1:]:
        session, number = (cells[place] if place < len(cells) else "" for place in places)
        if not session or not number:
            raise InputError(
                f"{path}, line {line}: a cell is empty, expected a session and a frame number",
                code="empty-cell",
                path=path,
                line=line,
            )
        if not (number.isascii() and number.isdecimal()):
            raise InputError(
                f"{path}, line {line}: not a frame number, found {number!r}, expected a whole number from 0",
                code="bad-number",
                path=path,
                line=line,
                found=number,
            )
        frames.setdefault((session, int(number)), line)
    if not frames:
        raise InputError(f"{path}: names no frame", code="empty-file", path=path)
    return [ListedFrame(session=session, frame=frame, line=line) for (session, frame), line in frames.items()]


def read_list(path: Path) -> list[tuple[int, list[str]]]:
    """Read the lines of a CSV file with their numbers and stripped cells; blank lines are left out.

    Raises:
        InputError: The file does not exist (`missing-file`), or is not CSV (`invalid-syntax`).
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such file. Give a CSV file with the columns {SESSION} and {FRAME}",
            code="missing-file",
            path=path,
        )
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text), strict=True)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: not CSV: {error}", code="invalid-syntax", path=path, line=reader.line_num
        ) from error


def header_of(rows: list[tuple[int, list[str]]]) -> list[str]:
    """Return the cells of the first line in lower case; none for an empty file."""
    return [cell.lower() for cell in rows[0][1]] if rows else []
