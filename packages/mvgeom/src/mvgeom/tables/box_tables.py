"""Bounding boxes on disk: CSV with columns x, y, h, w (h before w), one row per labelled image or per video frame."""

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

_COLUMNS = ("x", "y", "h", "w")


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledBoxes:
    """Boxes of labelled images.

    Attributes:
        images: N distinct image paths as written in the file.
        boxes: (N, 4) x, y, width, height in frame px.
        path: file they were read from, for messages.
    """

    images: tuple[str, ...]
    boxes: np.ndarray
    path: Path

    def select(self, images: Iterable[str]) -> np.ndarray:
        """Return the boxes (M, 4) of the named images, in the order asked for.

        Raises:
            ValueError: for images without a box.
        """
        row_of = {image: row for row, image in enumerate(self.images)}
        wanted = list(images)
        missing = [image for image in wanted if image not in row_of]
        if missing:
            shown = (", ".join(map(repr, self.images[:3])) or "no images") + (", ..." if self.images[3:] else "")
            raise InputError(
                f"{self.path}: no box for {len(missing)} of {len(wanted)} images, the first is {missing[0]!r}; the "
                f"file names {shown}",
                code="missing-row",
                path=self.path,
                row=missing[0],
            )
        return self.boxes[[row_of[image] for image in wanted]]


def read_labeled_boxes(path: str | Path) -> LabeledBoxes:
    """Read `bboxes_<view>.csv`: first column the image path, then columns named x, y, h, w in any order.

    Args:
        path: CSV file.

    Returns:
        Image paths and boxes (N, 4) as x, y, width, height in frame px.

    Raises:
        ValueError: for a missing file, missing columns, cells that are empty or no numbers, sizes that are not
            positive, or an image named twice; the message names file, row and column.
    """
    path = Path(path)
    header, rows = _read_table(path)
    if header[:1] and header[0].strip() in _COLUMNS:
        raise InputError(
            f"{path}: the first column must hold image paths, found column {header[0]!r} there",
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
                f"{path}, line {line}: the first column must hold the image path, it is empty",
                code="empty-cell",
                path=path,
                line=line,
            )
        if image in images:
            raise InputError(
                f"{path}, line {line}: image {image!r} has a box in line {images[image]} already",
                code="duplicate-name",
                path=path,
                line=line,
                name=image,
            )
        images[image] = line
        boxes[index] = _parse_box(path, line, cells, columns, allow_empty=False)
    return LabeledBoxes(images=tuple(images), boxes=boxes, path=path)


def read_video_boxes(path: str | Path, num_frames: int | None = None) -> np.ndarray:
    """Read `<video>_bbox.csv`: one row per frame, matched by position, with columns named x, y, h, w.

    Args:
        path: CSV file; other columns, such as a frame number, are ignored.
        num_frames: of the video; when given, the number of rows must agree.

    Returns:
        (T, 4) x, y, width, height in frame px; NaN for rows whose four cells are all empty.

    Raises:
        ValueError: for a missing file, missing columns, cells that are no numbers, sizes that are not positive, or a
            number of rows that is not the number of frames; the message names file, row and column.
    """
    path = Path(path)
    header, rows = _read_table(path)
    columns = _find_columns(path, header)
    if num_frames is not None and len(rows) != num_frames:
        raise InputError(
            f"{path} has {len(rows)} rows but the video has {num_frames} frames; it needs one row per frame",
            code="wrong-count",
            path=path,
            found=len(rows),
            expected=num_frames,
        )
    boxes = [_parse_box(path, line, cells, columns, allow_empty=True) for line, cells in rows]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def write_labeled_boxes(path: str | Path, images: Sequence[str], boxes: np.ndarray) -> None:
    """Write `bboxes_<view>.csv`.

    Args:
        path: CSV file, replaced if it exists.
        images: N image paths.
        boxes: (N, 4) x, y, width, height in frame px, finite.

    Raises:
        ValueError: when the numbers of images and boxes differ, or a box is not finite and of positive size.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.shape != (len(images), 4):
        raise InputError(
            f"{len(images)} images need boxes of shape ({len(images)}, 4), got {boxes.shape}",
            code="wrong-shape",
            argument="boxes",
            found=boxes.shape,
        )
    for image, box in zip(images, boxes, strict=True):
        if not (np.isfinite(box).all() and (box[2:] > 0).all()):
            raise InputError(
                f"cannot write {path}: the box of {image!r} must be finite and of positive size, got {box}",
                code="out-of-range",
                argument="boxes",
                row=image,
            )
    _write_table(Path(path), images, boxes)


def write_video_boxes(path: str | Path, boxes: np.ndarray) -> None:
    """Write `<video>_bbox.csv`.

    Args:
        path: CSV file, replaced if it exists.
        boxes: (T, 4) x, y, width, height in frame px; a box with NaN is written as empty cells.

    Raises:
        ValueError: for boxes of a wrong shape or of a size that is not positive.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(
            f"boxes of a video have shape (T, 4), got {boxes.shape}",
            code="wrong-shape",
            argument="boxes",
            found=boxes.shape,
        )
    bad = np.flatnonzero((boxes[:, 2:] <= 0).any(axis=1) | np.isinf(boxes).any(axis=1))
    if len(bad):
        raise InputError(
            f"cannot write {path}: the box of frame {bad[0]} must be finite and of positive size, got {boxes[bad[0]]}",
            code="out-of-range",
            argument="boxes",
            row=int(bad[0]),
        )
    _write_table(Path(path), range(len(boxes)), boxes)


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows with their line numbers; blank lines at the end are left out."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
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
            # Rows of videos are matched by position: whether this one counts must not be guessed.
            raise InputError(
                f"{path}, line {number} is blank; remove it, or give its four cells as empty",
                code="empty-row",
                path=path,
                line=number,
            )
    if not lines:
        raise InputError(
            f"{path} is empty; bounding boxes need a header with the columns {', '.join(_COLUMNS)}",
            code="empty-file",
            path=path,
        )
    return lines[0][1], lines[1:]


def _find_columns(path: Path, header: list[str]) -> dict[str, int]:
    names = [cell.strip() for cell in header]
    missing = [column for column in _COLUMNS if column not in names]
    if missing:
        raise InputError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; bounding boxes need "
            f"{', '.join(_COLUMNS)}, found {names}",
            code="missing-column",
            path=path,
            column=missing[0],
        )
    repeated = [column for column in _COLUMNS if names.count(column) > 1]
    if repeated:
        raise InputError(
            f"{path} has the column {repeated[0]} {names.count(repeated[0])} times; found {names}",
            code="duplicate-name",
            path=path,
            name=repeated[0],
        )
    return {column: names.index(column) for column in _COLUMNS}


def _parse_box(path: Path, line: int, cells: list[str], columns: dict[str, int], *, allow_empty: bool) -> list[float]:
    texts = {name: cells[position].strip() if position < len(cells) else "" for name, position in columns.items()}
    if allow_empty and not any(texts.values()):
        return [math.nan] * 4
    box = {}
    for name, text in texts.items():
        try:
            box[name] = float(text)
        except ValueError:
            box[name] = math.nan
        if not math.isfinite(box[name]):
            raise InputError(
                f"{path}, line {line}, column {name}: expected a number, found {text!r}",
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
