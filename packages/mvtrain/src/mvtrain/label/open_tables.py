"""Label tables of an open project: single cells of their text are replaced, as long as nobody else has changed it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mvgeom.calibration.sources import IMAGE_SUFFIXES
from mvgeom.errors import InputError
from mvgeom.files import composed, file_name, inside, list_files, read_text, replace_file
from mvgeom.tables import MISSING_CELLS, find_delimiter, has_decimal_commas
from mvtrain.config import DataConfig
from mvtrain.label.journal import Journal, Label
from mvtrain.project.frame_rows import rows_as_csv
from mvtrain.project.images import read_header
from mvtrain.project.label_tables import EXCLUDED, VISIBLE, read_labels, write_labels
from mvtrain.project.view_tables import find_tables, read_tables

_NUM_HEADER_ROWS = 3

_SCORER = "mvtrain"


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


def expected_tables(root: Path, data: DataConfig) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return the names of the views and their label tables, which exist, or can be made by `list_images`.

    Args:
        root: Project folder.
        data: Section of the config.

    Raises:
        InputError: Tables are missing (`missing-file`), and the config does not name both views and keypoints.
    """
    try:
        return find_tables(root, data)
    except InputError as error:
        none = data.csv_file is None and not list_files(root, "CollectedData_*.csv")
        if error.code != "missing-file" or not none or data.view_names is None or data.keypoint_names is None:
            raise
        return data.view_names, tuple(root / file_name(f"CollectedData_{view}.csv") for view in data.view_names)


def list_images(root: Path, data: DataConfig) -> int:
    """Give every frame in `labeled-data` a row, if no label table has a row yet.

    Tables that exist keep their header. Missing ones are written with a column `visible`, for the views and keypoints
    of the config. A frame's images are those of the same name in the folders `<session>_<view>`.

    Args:
        root: Project folder.
        data: Section of the config.

    Returns:
        Number of frames that got a row; 0 where a table has rows, or where there is nothing to list.

    Raises:
        InputError: As in `expected_tables`; an image cannot be read (as in `read_header`), before anything is written;
            or a table cannot be read or written.
    """
    views, paths = expected_tables(root, data)
    existing = [path for path in paths if path.exists()]
    if any(len(read_labels(path)) for path in existing):
        return 0
    rows = _find_images(root, views)
    for name in (name for by_view in rows for name in by_view if name):
        read_header(inside(root, name))
    for path, images in zip(paths, zip(*rows, strict=True), strict=False):
        if path.exists():
            _append(path, images)
        else:
            assert data.keypoint_names is not None
            shape = (len(images), len(data.keypoint_names))
            points, visible = np.full((*shape, 2), np.nan), np.zeros(shape, dtype=np.int8)
            write_labels(path, images, data.keypoint_names, points, visible, scorer=_SCORER)
    return len(rows)


def _find_images(root: Path, views: tuple[str, ...]) -> list[list[str]]:
    """Return the images of each frame by view, "" where one is missing."""
    frames: dict[tuple[str, str], list[str]] = {}
    folder = root / "labeled-data"
    for path in list_files(folder, "*/*"):
        name = composed(path.parent.name)
        fitting = [view for view in views if name.endswith(f"_{view}")]
        if fitting and path.suffix.lower() in IMAGE_SUFFIXES:
            view = max(fitting, key=len)  # one view's name may end in another's
            key = (name.removesuffix(f"_{view}"), path.name)
            frames.setdefault(key, [""] * len(views))[views.index(view)] = path.relative_to(root).as_posix()
    return [frames[key] for key in sorted(frames)]


def _append(path: Path, images: tuple[str, ...]) -> None:
    """Append rows to a table that has only its header."""
    text = read_text(path)
    delimiter = find_delimiter(text)
    header = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    cells = ["0" if coord.strip() == "visible" else "" for coord in header[2][1:]]
    rows = [[image, *(cells if image else [""] * len(cells))] for image in images]
    content = path.read_bytes().rstrip(b"\r\n")
    added = rows_as_csv(rows, content).encode()
    replace_file(path, lambda temporary: temporary.write_bytes(content + added))


class OpenTables:
    """Tables of V views, as read last or as written since.

    Args:
        root: Project folder.
        data: Section of the config.

    Attributes:
        has_visible: (V,) True for tables with a column `visible`.

    Raises:
        InputError: A table cannot be read.
    """

    def __init__(self, root: Path, data: DataConfig) -> None:
        view_names, paths = find_tables(root, data)
        self._texts = [TableText.read(path) for path in paths]
        tables = read_tables(view_names, paths, data)
        self._lines = [table.lines for table in tables]
        self.has_visible = np.array([table.visible is not None for table in tables])

    def check_unchanged(self, views: Sequence[int] | None = None) -> None:
        """Check that the tables of some views, or of all, are still what was read or written last.

        Raises:
            InputError: Another program has changed one (`changed-file`).
        """
        texts = self._texts if views is None else [self._texts[view] for view in views]
        changed = [text.path for text in texts if not text.is_unchanged()]
        if changed:
            raise InputError(
                f"{', '.join(map(str, changed))}: changed by another program since it was read, so nothing was "
                "written. Reload the tables in the page: edits of labels that are still the same are made again",
                code="changed-file",
                path=changed[0],
                paths=tuple(changed),
            )

    def with_labels(self, view: int, labels: Mapping[int, Mapping[int, Label]]) -> TableText | None:
        """Return a view's table with other labels, to give to `write`; None where there are none.

        Args:
            view: Number of the view.
            labels: Labels by frame and keypoint.
        """
        has_visible = bool(self.has_visible[view])
        width = 3 if has_visible else 2
        text, edits = self._texts[view], {}
        for frame, by_keypoint in labels.items():
            line = int(self._lines[view][frame])
            texts = {}
            if has_visible:
                # Lightning Pose turns an empty cell into a target of NaN, so a row that was labeled has none.
                written = text.cells(line)
                for column in range(3, len(written), width):
                    x, visible = (cell.strip(' \t"').lower() for cell in (written[column - 2], written[column]))
                    if visible in MISSING_CELLS:  # read as not labeled, or visible beside x and y
                        texts[column] = str(EXCLUDED if x in MISSING_CELLS else VISIBLE)
            for keypoint, label in by_keypoint.items():
                cells = ["" if value is None else repr(value) for value in (label.x, label.y)]
                cells += [str(label.visible)] if has_visible else []
                texts |= dict(enumerate(cells, start=1 + keypoint * width))
            edits[line] = texts
        return text.with_cells(edits) if edits else None

    def write(self, view: int, text: TableText) -> None:
        """Replace a view's table.

        Raises:
            InputError: It cannot be written (`unwritable-file`).
        """
        text.write()
        self._texts[view] = text


def write_visible(root: Path, data: DataConfig, missing: int, journal: Journal) -> None:
    """Add a column `visible` to the tables that lack it, and note in the journal that it is done.

    Args:
        root: Project folder.
        data: Section of the config.
        missing: Value where there is no label.
        journal: Journal of the project.

    Raises:
        InputError: A table cannot be read or written.
    """
    view_names, paths = find_tables(root, data)
    for path in paths:
        (table,) = read_tables(view_names[:1], [path], data)
        if table.visible is None:
            TableText.read(path).with_visible(missing=missing).write()
    journal.adding_visible(None)
