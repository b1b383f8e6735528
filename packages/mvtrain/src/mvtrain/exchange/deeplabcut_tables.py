"""Reader of DeepLabCut's tables of labels: CSV and h5, with one animal or several."""

from __future__ import annotations

import csv
import io
import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mvgeom.errors import InputError
from mvgeom.files import read_text
from mvtrain.runtime.optional_imports import need

_LEVELS = ("scorer", "individuals", "bodyparts", "coords")
_MISSING = ("", "nan", "na")
_H5_ERRORS = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError),
    *(EOFError, ImportError, pickle.UnpicklingError),
)
"""Errors of pandas over an h5 file that it cannot read, beside PyTables' own; tables can hold pickled objects."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledRows:
    """Labels of one animal.

    Attributes:
        images: N image paths as in the table, with "/" between folders.
        keypoint_names: K names of the keypoints.
        points: (N, K, 2) labels in px of the images; NaN where missing.
    """

    images: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    points: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    """A table of labels of one animal or several.

    Attributes:
        images: N image paths, with "/" between folders.
        columns: Animal, keypoint and coordinate of each of the C columns; the animal is None in a table of one animal.
        values: (N, C) values; NaN where missing.
    """

    images: tuple[str, ...]
    columns: tuple[tuple[str | None, str, str], ...]
    values: np.ndarray


def read_table(path: Path, individual: str | None) -> LabeledRows:
    """Read `CollectedData_<scorer>.csv` or `.h5`, whose rows are image paths in one cell or in three.

    Args:
        path: CSV or h5 file.
        individual: Name of the animal to take; None in a table of one animal.

    Raises:
        InputError: The file cannot be read or is not such a table, it has several animals and none is chosen
            (`several-individuals`), the chosen one is not in it (`unknown-choice`), a keypoint has no column x or y
            (`missing-column`), or a label has only one of them (`empty-cell`).
    """
    table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_h5(path)
    chosen = _choose(path, table, individual)
    names = tuple(dict.fromkeys(name for _, name, _ in chosen))
    position = {(name, coord): number for (_, name, coord), number in chosen.items()}
    lacking = [(name, coord) for name in names for coord in "xy" if (name, coord) not in position]
    if not names:
        raise InputError(f"{path}: the table has no keypoints", code="no-labels", path=path)
    if lacking:
        name, coord = lacking[0]
        raise InputError(
            f"{path}: keypoint {name!r} has no column {coord}",
            code="missing-column",
            path=path,
            keypoint=name,
            column=coord,
        )
    points = np.stack([table.values[:, [position[name, "x"], position[name, "y"]]] for name in names], axis=1)
    halves = np.argwhere(np.isnan(points).sum(axis=-1) == 1)
    if len(halves):
        row, keypoint = halves[0]
        raise InputError(
            f"{path}: {table.images[row]}: keypoint {names[keypoint]!r} has only one of x and y",
            code="empty-cell",
            path=path,
            image=table.images[row],
            keypoint=names[keypoint],
        )
    return LabeledRows(images=table.images, keypoint_names=names, points=points)


def _choose(path: Path, table: _Table, individual: str | None) -> dict[tuple[str | None, str, str], int]:
    """Return the columns of one animal with their positions."""
    animals = list(dict.fromkeys(animal for animal, _, _ in table.columns if animal is not None))
    if individual is None and len(animals) > 1:
        raise InputError(
            f"{path}: the labels are of several animals, found {', '.join(animals)}, expected one. Choose it with "
            "--individual NAME",
            code="several-individuals",
            path=path,
            found=tuple(animals),
        )
    if individual is not None and individual not in animals:
        expected = f"one of {', '.join(animals)}" if animals else "none, because the only animal has no name"
        raise InputError(
            f"{path}: no such animal, found --individual {individual!r}, expected {expected}",
            code="unknown-choice",
            path=path,
            option="--individual",
            found=individual,
            expected=tuple(animals),
        )
    wanted = individual if individual is not None else (animals[0] if animals else None)
    return {column: number for number, column in enumerate(table.columns) if column[0] == wanted}


def _read_csv(path: Path) -> _Table:
    try:
        rows = [row for row in csv.reader(io.StringIO(read_text(path), newline=""), strict=True) if row]
    except csv.Error as error:
        raise InputError(f"{path}: not CSV: {error}", code="invalid-syntax", path=path) from error
    levels = [row[0].strip().lower() for row in rows[: len(_LEVELS)]]
    levels = levels[: levels.index("coords") + 1] if "coords" in levels else []
    if tuple(level for level in _LEVELS if level in levels) != tuple(levels) or "bodyparts" not in levels:
        raise InputError(
            f"{path}: not a table of DeepLabCut: the first rows must be scorer, bodyparts, coords (with several "
            "animals scorer, individuals, bodyparts, coords)",
            code="bad-header",
            path=path,
        )
    # A path in three cells leaves two empty ones at the start of each header row.
    num_index = next((number for number, cell in enumerate(rows[0]) if number > 0 and cell.strip()), len(rows[0]))
    header = dict(zip(levels, rows, strict=False))
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise InputError(
            f"{path}: the rows have different numbers of cells, found {', '.join(map(str, sorted(lengths)))}",
            code="wrong-count",
            path=path,
            found=tuple(sorted(lengths)),
        )
    if num_index not in (1, 3):
        raise InputError(
            f"{path}: not a table of DeepLabCut: image paths must be in 1 or 3 cells, found {num_index}",
            code="bad-header",
            path=path,
        )
    columns = tuple(
        (
            header["individuals"][column].strip() if "individuals" in header else None,
            name.strip(),
            coord.strip().lower(),
        )
        for column, (name, coord) in enumerate(zip(header["bodyparts"], header["coords"], strict=True))
        if column >= num_index
    )
    body = rows[len(levels) :]
    values = [[_number(cell, path, row[:num_index]) for cell in row[num_index:]] for row in body]
    return _Table(
        images=tuple(_image_path(row[:num_index]) for row in body),
        columns=columns,
        values=np.array(values, dtype=np.float64).reshape(len(body), len(columns)),
    )


def _number(cell: str, path: Path, image: Sequence[str]) -> float:
    """Parse a coordinate, NaN where missing."""
    text = cell.strip()
    if text.lower() in _MISSING:
        return np.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if math.isinf(value):
        name = _image_path(image)
        raise InputError(
            f"{path}: {name}: not a number, found {text!r}", code="bad-number", path=path, image=name, found=text
        )
    return value


def _read_h5(path: Path) -> _Table:
    tables = need("tables", f"reading {path.name}")
    try:
        table = pd.read_hdf(path)
    except (tables.HDF5ExtError, *_H5_ERRORS) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[-1]
        raise InputError(
            f"{path}: not an h5 file of DeepLabCut, or damaged: {reason}", code="damaged-file", path=path
        ) from error
    names = [str(name) for name in table.columns.names] if isinstance(table, pd.DataFrame) else []
    if "bodyparts" not in names or "coords" not in names:
        raise InputError(
            f"{path}: not a table of DeepLabCut: the columns must have the levels bodyparts and coords",
            code="bad-header",
            path=path,
        )
    animal, bodypart, coord = (
        names.index("individuals") if "individuals" in names else None,
        names.index("bodyparts"),
        names.index("coords"),
    )
    columns = tuple(
        (None if animal is None else str(column[animal]), str(column[bodypart]), str(column[coord]).lower())
        for column in table.columns
    )
    if not all(isinstance(row, str | tuple) for row in table.index):
        raise InputError(
            f"{path}: not a table of labels: the rows must be image paths, found {table.index[0]!r}",
            code="bad-header",
            path=path,
        )
    images = tuple(_image_path([row] if isinstance(row, str) else [str(part) for part in row]) for row in table.index)
    try:
        values = table.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: a coordinate is not a number: {error}", code="bad-number", path=path) from error
    return _Table(images=images, columns=columns, values=values)


def _image_path(cells: Sequence[str]) -> str:
    """Join an image path from one cell or several, with "/" between folders."""
    return "/".join(cell.strip() for cell in cells).replace("\\", "/")
