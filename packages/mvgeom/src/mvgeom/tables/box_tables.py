"""CSV tables of bounding boxes: columns x, y, h, w (h before w), one row per labeled image or video frame."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text
from mvgeom.tables.cells import MISSING_CELLS, find_delimiter, has_decimal_commas, to_decimal_point
from mvgeom.wording import counted

__all__ = ["LabeledBoxes", "read_labeled_boxes", "read_video_boxes", "write_labeled_boxes", "write_video_boxes"]

_COLUMNS = ("x", "y", "h", "w")

_OTHER_NAMES = {"height": "h", "width": "w"}
"""Names of columns that are read as well. Lightning Pose goes by their order and takes any name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledBoxes:
    """Bounding boxes of labeled images.

    Attributes:
        images: N distinct image paths as written in the file.
        boxes: (N, 4) boxes x, y, width, height in full-image px; NaN where there is no animal.
        path: Path of the file, for error messages.
    """

    images: tuple[str, ...]
    boxes: np.ndarray
    path: Path

    def select(self, images: Iterable[str]) -> np.ndarray:
        """Return the boxes (M, 4) of the named images in the requested order, in full-image px; NaN without an animal.

        Raises:
            InputError: `missing-row`, if an image has no box.
        """
        row_of = {image: row for row, image in enumerate(self.images)}
        wanted = list(images)
        missing = [image for image in wanted if image not in row_of]
        if missing:
            shown = (", ".join(map(repr, self.images[:3])) or "no images") + (", ..." if self.images[3:] else "")
            raise InputError(
                f"{self.path}: no box for {len(missing)} of {len(wanted)} images, the first is {missing[0]!r}, "
                f"found boxes of {shown}",
                code="missing-row",
                path=self.path,
                row=missing[0],
            )
        return self.boxes[[row_of[image] for image in wanted]]


def read_labeled_boxes(path: str | Path) -> LabeledBoxes:
    """Read `bboxes_<view>.csv`: first column the image path, then columns x, y, h, w in any order, named in any case.

    Columns `height` and `width` are h and w.

    Args:
        path: Path of the CSV file.

    Returns:
        Image paths and boxes (N, 4) as x, y, width, height in full-image px; NaN for rows whose four cells are all
        empty or `nan`, which mark images without an animal.

    Raises:
        InputError: `unreadable-file`, if the file is missing; `missing-column`, if columns are missing; `empty-cell`,
            if a row has no image; `bad-number` or `out-of-range`, if a cell is no number or is a size that is not
            positive; `duplicate-name`, if an image occurs twice. The message names file, row and column.
    """
    path = Path(path)
    header, rows = _read_table(path)
    if header[:1] and header[0].strip().lower() in (*_COLUMNS, *_OTHER_NAMES):
        raise InputError(
            f"{path}: wrong first column, found {header[0]!r}, expected a column of image paths",
            code="missing-column",
            path=path,
            column="image",
        )
    columns = _find_columns(path, header)
    images: dict[str, int] = {}
    boxes = np.empty((len(rows), 4))
    for index, (line, cells) in enumerate(rows):
        image = cells[0].strip() if cells else ""
        if not image:
            raise InputError(
                f"{path}, line {line}: the first column is empty, expected an image path",
                code="empty-cell",
                path=path,
                line=line,
            )
        if image in images:
            raise InputError(
                f"{path}, line {line}: image {image!r} already has a box in line {images[image]}",
                code="duplicate-name",
                path=path,
                line=line,
                name=image,
            )
        images[image] = line
        boxes[index] = _parse_box(path, line, cells, columns)
    return LabeledBoxes(images=tuple(images), boxes=boxes, path=path)


def read_video_boxes(path: str | Path, num_frames: int | None = None) -> np.ndarray:
    """Read `<video>_bbox.csv`: one row per frame, in order, with columns named x, y, h, w.

    Args:
        path: Path of the CSV file; other columns, such as a frame number, are ignored.
        num_frames: Number of frames of the video, which the number of rows must equal; None skips this check.

    Returns:
        Boxes (T, 4) x, y, width, height in full-image px; NaN for rows whose four cells are all empty or `nan`.

    Raises:
        InputError: `unreadable-file`, if the file is missing; `missing-column`, if columns are missing; `bad-number` or
            `out-of-range`, if a cell is no number or is a size that is not positive; `wrong-count`, if the number of
            rows is not the number of frames. The message names file, row and column.
    """
    path = Path(path)
    header, rows = _read_table(path)
    columns = _find_columns(path, header)
    if num_frames is not None and len(rows) != num_frames:
        raise InputError(
            f"{path}: wrong number of rows, found {len(rows)}, expected {num_frames}, one per frame of the video",
            code="wrong-count",
            path=path,
            found=len(rows),
            expected=num_frames,
        )
    boxes = [_parse_box(path, line, cells, columns) for line, cells in rows]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def write_labeled_boxes(path: str | Path, images: Sequence[str], boxes: np.ndarray) -> None:
    """Save `bboxes_<view>.csv`.

    Args:
        path: Path of the CSV file, which is replaced if it exists.
        images: N image paths.
        boxes: (N, 4) boxes x, y, width, height in full-image px; a box of NaN, for an image without an animal, is
            written as empty cells.

    Raises:
        InputError: `wrong-shape`, if the numbers of images and boxes differ; `out-of-range`, if a box is NaN in
            some numbers only, is infinite, or has a size that is not positive.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.shape != (len(images), 4):
        raise InputError(
            f"boxes: wrong shape, found {boxes.shape}, expected ({len(images)}, 4) for {counted(len(images), 'image')}",
            code="wrong-shape",
            argument="boxes",
            found=boxes.shape,
        )
    for image, box in zip(images, boxes, strict=True):
        if not (np.isnan(box).all() or (np.isfinite(box).all() and (box[2:] > 0).all())):
            raise InputError(
                f"{path}: the box of {image!r} must be finite with positive size, found {box}",
                code="out-of-range",
                argument="boxes",
                row=image,
            )
    _write_table(Path(path), images, boxes)


def write_video_boxes(path: str | Path, boxes: np.ndarray) -> None:
    """Save `<video>_bbox.csv`.

    Args:
        path: Path of the CSV file, which is replaced if it exists.
        boxes: (T, 4) boxes x, y, width, height in full-image px; a box with NaN is written as empty cells.

    Raises:
        InputError: `wrong-shape`, if the boxes are not (T, 4); `out-of-range`, if a box has a size that is not
            positive.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(
            f"boxes: wrong shape, found {boxes.shape}, expected (T, 4)",
            code="wrong-shape",
            argument="boxes",
            found=boxes.shape,
        )
    bad = np.flatnonzero((boxes[:, 2:] <= 0).any(axis=1) | np.isinf(boxes).any(axis=1))
    if len(bad):
        raise InputError(
            f"{path}: the box of frame {bad[0]} must be finite with positive size, found {boxes[bad[0]]}",
            code="out-of-range",
            argument="boxes",
            row=int(bad[0]),
        )
    _write_table(Path(path), range(len(boxes)), boxes)


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read header and rows with their line numbers; blank lines at the end are ignored."""
    text = read_text(path)
    delimiter = find_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        lines = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: not a CSV table of bounding boxes: {error}",
            code="invalid-syntax",
            path=path,
            line=reader.line_num,
        ) from error
    while lines and not lines[-1][1]:
        lines.pop()
    for number, cells in lines:
        if not cells:
            # Rows of videos are matched by position, so a blank line must not be skipped or counted silently.
            raise InputError(
                f"{path}, line {number}: the line is blank. Remove it, or write four empty cells.",
                code="empty-cell",
                path=path,
                line=number,
            )
    if not lines:
        raise InputError(
            f"{path}: the file is empty, expected a header with the columns {', '.join(_COLUMNS)}",
            code="empty-file",
            path=path,
        )
    if has_decimal_commas(path, delimiter, (cell for _, cells in lines[1:] for cell in cells)):
        lines[1:] = [(number, [to_decimal_point(cell) for cell in cells]) for number, cells in lines[1:]]
    return lines[0][1], lines[1:]


def _find_columns(path: Path, header: list[str]) -> dict[str, int]:
    names = [cell.strip().lower() for cell in header]
    names = [_OTHER_NAMES.get(name, name) for name in names]
    missing = [column for column in _COLUMNS if column not in names]
    if missing:
        raise InputError(
            f"{path}: missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}, found {names}, expected "
            f"{', '.join(_COLUMNS)}",
            code="missing-column",
            path=path,
            column=missing[0],
        )
    repeated = [column for column in _COLUMNS if names.count(column) > 1]
    if repeated:
        raise InputError(
            f"{path}: column {repeated[0]} occurs {names.count(repeated[0])} times, found {names}",
            code="duplicate-name",
            path=path,
            name=repeated[0],
        )
    return {column: names.index(column) for column in _COLUMNS}


def _parse_box(path: Path, line: int, cells: list[str], columns: dict[str, int]) -> list[float]:
    texts = {name: cells[position].strip() if position < len(cells) else "" for name, position in columns.items()}
    if all(text.lower() in MISSING_CELLS for text in texts.values()):
        return [math.nan] * 4
    box = {}
    for name, text in texts.items():
        try:
            box[name] = float(text)
        except ValueError:
            box[name] = math.nan
        if not math.isfinite(box[name]):
            raise InputError(
                f"{path}, line {line}, column {name}: not a number, found {text!r}",
                code="bad-number",
                path=path,
                line=line,
                column=name,
            )
    for name, meaning in (("w", "width"), ("h", "height")):
        if box[name] <= 0:
            raise InputError(
                f"{path}, line {line}, column {name}: the {meaning} of a box must be positive, found {texts[name]}",
                code="out-of-range",
                path=path,
                line=line,
                column=name,
            )
    return [box["x"], box["y"], box["w"], box["h"]]


def _write_table(path: Path, index: Iterable[object], boxes: np.ndarray) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", *_COLUMNS])
    for name, (x, y, width, height) in zip(index, boxes, strict=True):
        writer.writerow([name, *(_number(value) for value in (x, y, height, width))])
    write_text(path, text.getvalue())


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ""
    return str(int(value)) if value == int(value) else repr(float(value))
