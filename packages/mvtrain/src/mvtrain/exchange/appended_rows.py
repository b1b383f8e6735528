"""Rows of imported tables as another project's tables write them: their columns, delimiter and decimal separator."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom.files import file_name, read_text
from mvgeom.tables import find_delimiter, has_decimal_commas, read_labeled_boxes
from mvtrain.project.images import image_size

_LABEL_HEADER = 3


@dataclass(frozen=True, kw_only=True)
class _Dialect:
    """Header rows of a table and how it writes numbers."""

    header: list[list[str]]
    decimal: str

    @classmethod
    def read(cls, path: Path, num_header: int) -> _Dialect:
        text = read_text(path).removeprefix("\ufeff")
        delimiter = find_delimiter(text)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
        numbers = (cell for row in rows[num_header:] for cell in row[1:])
        decimal = "," if has_decimal_commas(path, delimiter, numbers) else "."
        return cls(header=rows[:num_header], decimal=decimal)

    def number(self, text: str) -> str:
        """Return a number with a decimal point as the table writes it."""
        return text.replace(".", self.decimal)


def label_rows(source: Path, target: Path, number: int) -> list[list[str]]:
    """Return the rows of a label table as another one writes them; empty rows of a view that has no table.

    Args:
        source: Label table that an import has written.
        target: Label table of the project; keypoints in any order, with or without `visible`.
        number: Number of rows where there is no source.

    Raises:
        InputError: The target cannot be read, or has decimal commas and decimal points (`bad-number`).
    """
    dialect = _Dialect.read(target, _LABEL_HEADER)
    columns = list(zip(*dialect.header[1:], strict=True))[1:]
    if not source.is_file():
        return [["", *("0" if coord == "visible" else "" for _, coord in columns)] for _ in range(number)]
    with source.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    place = {column: position for position, column in enumerate(zip(*rows[1:_LABEL_HEADER], strict=True)) if position}
    found = []
    for row in rows[_LABEL_HEADER:]:
        cells = [row[0]]
        for keypoint, coord in columns:
            if (keypoint, coord) in place:
                cells.append(dialect.number(row[place[keypoint, coord]]))
            else:  # the column `visible`, which the source does not have
                cells.append("2" if row[place[keypoint, "x"]] else "0")
        found.append(cells)
    return found


def box_rows(folder: Path, view: str, target: Path, images: Sequence[str]) -> list[list[str]]:
    """Return the rows of a table of boxes as another one writes them; without boxes, those of whole images.

    Args:
        folder: Project that an import has written.
        view: Name of the view.
        target: Table of boxes of the project.
        images: Paths of the view's images, relative to the folder.

    Raises:
        InputError: The target cannot be read, or has decimal commas and decimal points (`bad-number`).
    """
    dialect = _Dialect.read(target, 1)
    columns = [name.strip() for name in dialect.header[0]][1:]
    own = folder / file_name(f"bboxes_{view}.csv")
    if own.is_file():
        boxes = read_labeled_boxes(own).select(images)
    else:
        boxes = np.array([(0, 0, *image_size(folder / name)) for name in images], dtype=np.float64).reshape(-1, 4)
    rows = []
    for image, (x, y, width, height) in zip(images, boxes.tolist(), strict=True):
        values = {"x": x, "y": y, "w": width, "h": height}
        texts = (repr(values[name]).removesuffix(".0") if name in values else "" for name in columns)
        rows.append([image, *map(dialect.number, texts)])
    return rows
