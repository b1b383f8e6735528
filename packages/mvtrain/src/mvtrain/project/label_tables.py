"""Label tables, one per view: three header rows and one row per image, read and written; tables in 3D written."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mvgeom.errors import InputError
from mvgeom.files import file_name, read_text, write_text
from mvgeom.tables import MISSING_CELLS, find_delimiter, has_decimal_commas, to_decimal_point
from mvgeom.wording import counted
from mvtrain.runtime.messages import command

EXCLUDED, OCCLUDED, VISIBLE = 0, 1, 2
"""Visibility of a label: no target, a uniform target, a Gaussian target."""

_HEADER = ("scorer", "bodyparts", "coords")

_COORDS = (["x", "y"], ["x", "y", "visible"])


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelTable:
    """Labels of one view.

    Attributes:
        path: Path of the file.
        image_names: N image paths relative to the project, as written; None for an empty cell.
        lines: (N,) line of each row in the file, counted from 1.
        keypoint_names: K names of the keypoints.
        points: (N, K, 2) labels in crop px; NaN where missing.
        visible: (N, K) int8, 0 not labeled, 1 occluded, 2 visible; None where the table has no such column.
        warnings: Messages to the user.
    """

    path: Path
    image_names: tuple[str | None, ...]
    lines: np.ndarray
    keypoint_names: tuple[str, ...]
    points: np.ndarray
    visible: np.ndarray | None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.image_names)

    def take(self, rows: Sequence[int]) -> LabelTable:
        """Return the table with these rows only."""
        return replace(
            self,
            image_names=tuple(self.image_names[row] for row in rows),
            lines=self.lines[list(rows)],
            points=self.points[list(rows)],
            visible=None if self.visible is None else self.visible[list(rows)],
        )


def read_labels(path: Path) -> LabelTable:
    """Read a label table.

    Empty cells (also `nan`, ...: `MISSING_CELLS`) are missing labels. An empty `visible` means 0 where x and y are
    empty too, else 2; a 2 without x and y means 0. The first cells of the header rows may have any text.

    Raises:
        InputError: The file is missing or not CSV, the header is not the three rows, a row has another length, a cell
            is not a number, x is given without y, `visible` is not 0, 1 or 2, an image is named twice, or labels are in
            a row without an image. Message and facts name file, line and column.
    """
    cells, lines = _read_cells(path)
    keypoint_names, coords = _read_header(cells[:3], path)
    cells, lines = cells[3:], lines[3:]
    image_names = tuple(name or None for name in cells[:, 0])
    columns = [f"{keypoint} {coord}" for keypoint in keypoint_names for coord in coords]
    values = _to_numbers(cells[:, 1:], path, lines, columns)
    values = values.reshape(len(cells), len(keypoint_names), len(coords))
    located = np.isfinite(values[..., 0])
    visible: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    if len(coords) == 3:
        visible, warnings = _read_visible(values[..., 2], located, path, lines, keypoint_names)
    table = LabelTable(
        path=path,
        image_names=image_names,
        lines=lines,
        keypoint_names=keypoint_names,
        points=values[..., :2],
        visible=visible,
        warnings=warnings,
    )
    _check_rows(table)
    return table


def import_advice(source: Path) -> str:
    """Return the end of a message about labels that are still as DeepLabCut writes them."""
    proposed = command("mvtrain", "import", "deeplabcut", source, "--output", "NEW")
    return f". Import labels of DeepLabCut with: {proposed}"


def _read_cells(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows, columns) stripped texts, and the line of each row; blank lines are left out."""
    if not path.exists():
        raise InputError(f"label table {path} does not exist", code="missing-file", path=path)
    # The csv module and not pandas, which pads short rows and drops blank lines: the place of an error would be lost.
    text = read_text(path)
    delimiter = find_delimiter(text)  # spreadsheets write semicolons, and then possibly decimal commas
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        numbered = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        line = reader.line_num
        raise InputError(
            f"label table {path}, line {line}: not CSV: {error}", code="invalid-syntax", path=path, line=line
        ) from error
    if not numbered:
        raise InputError(f"label table {path} is empty", code="empty-file", path=path)
    expected = len(numbered[0][1])
    for line, row in numbered:
        if len(row) != expected:
            raise InputError(
                f"label table {path}, line {line}: found {counted(len(row), 'cell')}, expected {expected} as in the "
                "first line",
                code="wrong-count",
                path=path,
                line=line,
                found=len(row),
                expected=expected,
            )
    rows = [row for _, row in numbered]
    if has_decimal_commas(path, delimiter, (cell for row in rows[3:] for cell in row[1:])):
        rows[3:] = [[row[0], *map(to_decimal_point, row[1:])] for row in rows[3:]]
    return np.array(rows, dtype=object), np.array([line for line, _ in numbered])


def _read_header(header: np.ndarray, path: Path) -> tuple[tuple[str, ...], list[str]]:
    first = [str(row[0]).lower() for row in header]
    # Tables of other writers have other texts there, or none; the third row tells.
    if tuple(first) != _HEADER and not (len(header) == 3 and _are_coords(header[2, 1:])):
        raise InputError(
            f"label table {path} must start with three header rows whose first cells are {', '.join(_HEADER)}, "
            f"found {', '.join(map(repr, first))}{import_advice(path) if 'individuals' in first else ''}",
            code="bad-header",
            path=path,
            found=tuple(first),
        )
    if header.shape[1] == 1:
        raise InputError(
            f"label table {path}: found a single column. Separate the columns by commas", code="bad-header", path=path
        )
    bodyparts, coords = list(header[1, 1:]), [str(cell).lower() for cell in header[2, 1:]]
    if bodyparts[:2] == ["", ""] and coords[:2] == ["", ""] and any(bodyparts):
        raise InputError(
            f"label table {path}: image paths in three cells, expected one{import_advice(path)}",
            code="bad-header",
            path=path,
        )
    starts = [i for i in range(len(bodyparts)) if i == 0 or bodyparts[i] != bodyparts[i - 1]]
    groups = [coords[start:stop] for start, stop in zip(starts, [*starts[1:], len(coords)], strict=True)]
    names = tuple(bodyparts[start] for start in starts)
    for name, start, group in zip(names, starts, groups, strict=True):
        if not name or group not in _COORDS or group != groups[0]:
            raise InputError(
                f"label table {path}, column {start + 2} ({name or 'no body part'}): coords must be x, y or x, y, "
                f"visible, the same for every body part, found {', '.join(group)}",
                code="bad-header",
                path=path,
                column=start + 2,
                keypoint=name,
                found=tuple(group),
            )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"label table {path}: body parts are named twice: {', '.join(repeated)}",
            code="duplicate-name",
            path=path,
            name=repeated[0],
        )
    return names, groups[0]


def _are_coords(cells: np.ndarray) -> bool:
    """Return True if cells of a header row are x, y or x, y, visible over and over."""
    texts = [str(cell).lower() for cell in cells]
    return any(texts == names * (len(texts) // len(names)) for names in _COORDS if texts)


def _to_numbers(cells: np.ndarray, path: Path, lines: np.ndarray, columns: list[str]) -> np.ndarray:
    """Return (N, C) float64, NaN for missing cells."""
    values = np.array([_row_to_numbers(row) for row in cells.tolist()], dtype=np.float64).reshape(cells.shape)
    for row, column in np.argwhere(~np.isfinite(values) & (cells != "")):
        text = str(cells[row, column])
        if text.lower() not in MISSING_CELLS:
            raise InputError(
                f"label table {path}, line {lines[row]}, column {column + 2} ({columns[column]}): found {text!r}, "
                "expected a number",
                code="bad-number",
                path=path,
                line=int(lines[row]),
                column=int(column) + 2,
                found=text,
            )
    return values


def _row_to_numbers(row: list[str]) -> list[float]:
    """Return the numbers of a row, NaN for cells that are none. Large tables have tens of millions of cells."""
    try:
        return [float(text) if text else math.nan for text in row]
    except ValueError:
        return [_to_number(text) for text in row]


def _to_number(text: str) -> float:
    with suppress(ValueError):
        return float(text)
    return math.nan


def _read_visible(
    visible: np.ndarray, located: np.ndarray, path: Path, lines: np.ndarray, keypoint_names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (N, K) visibility, and warnings about cells that contradict x and y, or that are empty beside them."""
    wrong = ~np.isin(visible, (0.0, 1.0, 2.0)) & ~np.isnan(visible)
    if wrong.any():
        row, keypoint = np.argwhere(wrong)[0]
        raise InputError(
            f"label table {path}, line {lines[row]}, {keypoint_names[keypoint]}: visible must be 0, 1 or 2, found "
            f"{visible[row, keypoint]:g}",
            code="bad-field",
            path=path,
            line=int(lines[row]),
            keypoint=keypoint_names[keypoint],
            field="visible",
        )
    problems = (
        ((visible == 2) & ~located, "visible is 2 but x and y are empty", "not labeled"),
        (np.isnan(visible) & located, "visible is empty but x and y are given", "visible"),
    )
    warnings = []
    for found, text, meaning in problems:
        if found.any():
            row, keypoint = np.argwhere(found)[0]
            warnings.append(
                f"label table {path}: {text} in {counted(int(found.sum()), 'label')}, the first of "
                f"{keypoint_names[keypoint]} in line {lines[row]}: taken as {meaning}"
            )
    taken = np.where(np.isnan(visible), np.where(located, 2, 0), visible)
    return np.where((taken == 2) & ~located, 0, taken).astype(np.int8), tuple(warnings)


def _check_rows(table: LabelTable) -> None:
    half = np.isnan(table.points).sum(axis=-1) == 1
    if half.any():
        row, keypoint = np.argwhere(half)[0]
        raise InputError(
            f"label table {table.path}, line {table.lines[row]}, {table.keypoint_names[keypoint]}: only one of x and y "
            f"is given, found {table.points[row, keypoint].tolist()}",
            code="empty-cell",
            path=table.path,
            line=int(table.lines[row]),
            keypoint=table.keypoint_names[keypoint],
        )
    seen: dict[str, int] = {}
    for name, line, points in zip(table.image_names, table.lines, table.points, strict=True):
        if name is None:
            if np.isfinite(points).any():
                raise InputError(
                    f"label table {table.path}, line {line}: labels without the name of an image",
                    code="empty-cell",
                    path=table.path,
                    line=int(line),
                )
        elif name in seen:
            raise InputError(
                f"label table {table.path}: image {name} is named twice, in lines {seen[name]} and {line}",
                code="duplicate-name",
                path=table.path,
                line=int(line),
                name=name,
            )
        else:
            seen[name] = int(line)


def image_name(session: str, view: str | None, frame: int, image_format: str = "png") -> str:
    """Return the path of a labeled image relative to the project; without a view, the part that all views share."""
    folder = session if view is None else f"{session}_{view}"
    return f"labeled-data/{file_name(folder)}/img{frame:08d}.{image_format}"


def write_labels(
    path: Path,
    image_names: Sequence[str],
    keypoint_names: Sequence[str],
    points: np.ndarray,
    visibility: np.ndarray | None,
    *,
    scorer: str,
    float_format: str | None = None,
) -> None:
    """Write `CollectedData_<view>.csv`, replacing the file as a whole.

    Args:
        path: Path of the table.
        image_names: N image paths relative to the project; "" where a frame has no image of this view.
        keypoint_names: K names of the keypoints.
        points: (N, K, 2) labels in crop px; NaN leaves the cells empty.
        visibility: (N, K) 0, 1 or 2 for the column `visible`; None leaves the column out.
        scorer: Name in the first header row.
        float_format: Format of the coordinates, such as "%.4f"; None keeps every digit.

    Raises:
        InputError: The file cannot be written.
    """
    columns: dict[tuple[str, str, str], np.ndarray] = {}
    for number, name in enumerate(keypoint_names):
        columns[scorer, name, "x"] = points[:, number, 0]
        columns[scorer, name, "y"] = points[:, number, 1]
        if visibility is not None:
            columns[scorer, name, "visible"] = visibility[:, number]
    _write(path, pd.DataFrame(columns, index=list(image_names)), float_format)


def write_points_3d(
    path: Path, index: Sequence[str] | range, keypoint_names: Sequence[str], points: np.ndarray, *, scorer: str
) -> None:
    """Write a table of 3D keypoints, replacing the file as a whole.

    Args:
        path: Path of the table.
        index: N image paths without their view, or frame numbers of a video.
        keypoint_names: K names of the keypoints.
        points: (N, K, 3) world points; NaN leaves the cells empty.
        scorer: Name in the first header row.

    Raises:
        InputError: The file cannot be written.
    """
    columns = {
        (scorer, name, coordinate): points[:, number, axis]
        for number, name in enumerate(keypoint_names)
        for axis, coordinate in enumerate("xyz")
    }
    _write(path, pd.DataFrame(columns, index=list(index)), "%.4f")


def _write(path: Path, table: pd.DataFrame, float_format: str | None) -> None:
    table.columns = table.columns.set_names(["scorer", "bodyparts", "coords"])
    write_text(path, table.to_csv(float_format=float_format, lineterminator="\n"))
