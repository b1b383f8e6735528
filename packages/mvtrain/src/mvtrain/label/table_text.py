"""The text of a label table, in which single cells are replaced and every other byte stays."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.files import replace_file
from mvgeom.tables import MISSING_CELLS, find_delimiter, has_decimal_commas

_NUM_HEADER_ROWS = 3


@dataclass(frozen=True, kw_only=True)
class TableText:
    """A CSV file as text, record by record. It is not changed: edits return another one.

    Attributes:
        path: Path of the file.
        records: Text of each record with its line ending; blank lines belong to the record after them.
        numbers: Number of each record by its last line in the file, counted from 1, as `LabelTable.lines` has them.
        content: The bytes of the file.
        delimiter: Character between cells.
        decimal: Decimal separator of the numbers.
    """

    path: Path
    records: tuple[str, ...]
    numbers: Mapping[int, int]
    content: bytes = field(repr=False)
    delimiter: str = ","
    decimal: str = "."

    @classmethod
    def read(cls, path: Path) -> TableText:
        """Read a table that `read_labels` can read.

        Raises:
            InputError: The file cannot be read (`unreadable-file`), or is not UTF-8 (`not-text`) or not CSV
                (`invalid-syntax`), or has decimal commas and decimal points (`bad-number`).
        """
        try:
            content = path.read_bytes()
            text = content.decode("utf-8")
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}", code="unreadable-file", path=path) from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: not a text file, byte {error.start} is not UTF-8", code="not-text", path=path
            ) from error
        lines = list(io.StringIO(text, newline=""))
        delimiter = find_delimiter(text.removeprefix("\ufeff"))
        reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
        records: list[str] = []
        numbers_as_text: list[str] = []
        numbers: dict[int, int] = {}
        start = 0
        try:
            for row in reader:
                if row:
                    numbers_as_text += row[1:] if len(records) >= _NUM_HEADER_ROWS else []
                    numbers[reader.line_num] = len(records)
                    records.append("".join(lines[start : reader.line_num]))
                    start = reader.line_num
        except csv.Error as error:
            raise InputError(
                f"{path}, line {reader.line_num}: not CSV: {error}", code="invalid-syntax", path=path
            ) from error
        if start < len(lines):
            records.append("".join(lines[start:]))  # blank lines at the end
        decimal = "," if has_decimal_commas(path, delimiter, numbers_as_text) else "."
        return cls(
            path=path,
            records=tuple(records),
            numbers=numbers,
            content=content,
            delimiter=delimiter,
            decimal=decimal,
        )

    def cells(self, line: int) -> list[str]:
        """Return the cells of the record that ends in a line, as written, with their quotes."""
        return _split(self.records[self.numbers[line]], self.delimiter)[1]

    def with_cells(self, edits: Mapping[int, Mapping[int, str]]) -> TableText:
        """Return the table with other texts in some cells.

        Args:
            edits: Texts by line of the record and number of the column, counted from 0; numbers with decimal points,
                which are written as those of the table.
        """
        records = list(self.records)
        for line, texts in edits.items():
            before, cells, ending = _split(records[self.numbers[line]], self.delimiter)
            for column, text in texts.items():
                cells[column] = text.replace(".", self.decimal)
            records[self.numbers[line]] = before + self.delimiter.join(cells) + ending
        return self._with_records(records)

    def with_visible(self, *, missing: int) -> TableText:
        """Return the table of columns x and y with a column `visible` after each pair: 2 where there is a label.

        Args:
            missing: Value where x and y are empty; rows without an image stay empty.
        """
        records = list(self.records)
        for number in self.numbers.values():
            before, cells, ending = _split(records[number], self.delimiter)
            added = cells[:1]
            for column in range(1, len(cells), 2):
                x, y = cells[column : column + 2]
                if number < _NUM_HEADER_ROWS:
                    visible = "visible" if number == _NUM_HEADER_ROWS - 1 else y
                elif not cells[0].strip(' \t"'):
                    visible = ""
                else:
                    visible = str(missing) if x.strip(' \t"').lower() in MISSING_CELLS else "2"
                added += [x, y, visible]
            records[number] = before + self.delimiter.join(added) + ending
        return self._with_records(records)

    def is_unchanged(self) -> bool:
        """Return True if the file still has this content; False also where it was removed or cannot be read."""
        try:
            return self.path.read_bytes() == self.content
        except OSError:
            return False

    def write(self) -> None:
        """Replace the file in one step.

        Raises:
            InputError: The file cannot be written (`unwritable-file`).
        """
        replace_file(self.path, lambda temporary: temporary.write_bytes(self.content))

    def _with_records(self, records: list[str]) -> TableText:
        return replace(self, records=tuple(records), content="".join(records).encode("utf-8"))


def _split(record: str, delimiter: str) -> tuple[str, list[str], str]:
    """Return blank lines before a record, its cells as written, and its line ending."""
    body = record.lstrip("\r\n")
    before = record[: len(record) - len(body)]
    text = body.rstrip("\r\n")
    cells: list[str] = []
    start = 0
    while True:
        # A delimiter within quotes separates nothing; a quote within a cell is doubled.
        end = start
        if text[start : start + 1] == '"':
            end = text.index('"', start + 1) + 1
            while text[end : end + 1] == '"':
                end = text.index('"', end + 1) + 1
        stop = text.find(delimiter, end)
        if stop < 0:
            return before, [*cells, text[start:]], body[len(text) :]
        cells.append(text[start:stop])
        start = stop + 1
