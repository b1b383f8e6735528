"""Cells of text tables: which character separates them, and numbers with decimal commas."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.files import read_text

__all__ = ["MISSING_CELLS", "find_delimiter", "find_number_format", "has_decimal_commas", "to_decimal_point"]

MISSING_CELLS = frozenset(
    {"", "nan", "-nan", "na", "n/a", "<na>", "null", "none", "#n/a", "#n/a n/a", "#na"}
    | {"1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
"""Texts in lower case of a cell without a number: those that pandas takes for missing, whatever their case."""

_DELIMITERS = (",", ";", "\t")

_WITH_COMMA = re.compile(r"\s*[+-]?\d*,\d*([eE][+-]?\d+)?\s*")
_WITH_POINT = re.compile(r"\s*[+-]?\d*\.\d*([eE][+-]?\d+)?\s*")


def find_delimiter(text: str) -> str:
    """Find the character between the cells of a table: a comma, or a semicolon or tab as spreadsheets write them.

    Args:
        text: The table, or its beginning with the whole first line.

    Returns:
        The character that is most frequent in the first line that is not blank; a comma if there is none.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=first.count)


def find_number_format(path: Path, num_header: int) -> tuple[str, str]:
    """Find how a table of numbers below header rows is written, for readers that are told it.

    Args:
        path: Path of the table.
        num_header: Number of header rows.

    Returns:
        The character between cells and the decimal separator: a comma and a point, unless a spreadsheet wrote others.

    Raises:
        InputError: `unreadable-file` or `not-text`, if the file cannot be read; `bad-number`, if some numbers have a
            comma and others a point.
    """
    text = read_text(path)
    delimiter = find_delimiter(text)
    cells = (cell for line in text.splitlines()[num_header:] for cell in line.split(delimiter)[1:])
    return delimiter, "," if has_decimal_commas(path, delimiter, cells) else "."


def has_decimal_commas(path: Path, delimiter: str, cells: Iterable[str]) -> bool:
    """Return True if the numbers of a table have decimal commas; in a table separated by commas they never do.

    Args:
        path: Path of the table, for the message.
        delimiter: Character between the cells.
        cells: Cells with numbers; others are ignored.

    Raises:
        InputError: `bad-number`, if some numbers have a comma and others a point, so that one of them may separate
            thousands.
    """
    if delimiter == ",":
        return False
    comma = point = None
    for cell in cells:
        if comma is None and "," in cell and _WITH_COMMA.fullmatch(cell):
            comma = cell
        elif point is None and "." in cell and _WITH_POINT.fullmatch(cell):
            point = cell
        if comma is not None and point is not None:
            raise InputError(
                f"{path}: numbers with commas and numbers with points, found {comma.strip()!r} and {point.strip()!r}, "
                "expected one decimal separator. Save the table again with decimal points, without thousands "
                "separators.",
                code="bad-number",
                path=path,
                found=(comma.strip(), point.strip()),
            )
    return comma is not None


def to_decimal_point(cell: str) -> str:
    """Return a number's text with a decimal point instead of a decimal comma; any other text is unchanged."""
    return cell.replace(",", ".") if _WITH_COMMA.fullmatch(cell) else cell
