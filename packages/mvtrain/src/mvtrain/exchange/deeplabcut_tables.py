"""DeepLabCut's tables of labels, CSV and h5, one animal or several, to arrays."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mvtrain.runtime.optional_imports import need

_LEVELS = ("scorer", "individuals", "bodyparts", "coords")
_MISSING = ("", "nan", "na")


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledRows:
    """The labels of one animal.

    Attributes:
        images: N image paths as written, with "/" between folders.
        keypoint_names: K names.
        points: (N, K, 2) px of the images; NaN where missing.
    """

    images: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    points: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    """A table as written: the levels of its header (the animal is None where there is only one), and its cells."""

    images: tuple[str, ...]
    columns: tuple[tuple[str | None, str, str], ...]
    values: np.ndarray


def read_table(path: Path, individual: str | None) -> LabeledRows:
    """Read `CollectedData_<scorer>.csv` or `.h5`, whose rows are image paths in one cell or in three.

    Args:
        path: the file.
        individual: the animal to take; None where there is only one.

    Raises:
        ValueError: the file cannot be read or is no such table, several animals and none chosen, one chosen that is not
            there, a keypoint without x or y, and x without y. The message names the file and the animals.
    """
    table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_h5(path)
    chosen = _choose(path, table, individual)
    names = tuple(dict.fromkeys(name for _, name, _ in chosen))
    position = {(name, coord): number for (_, name, coord), number in chosen.items()}
    lacking = [(name, coord) for name in names for coord in "xy" if (name, coord) not in position]
    if not names or lacking:
        problem = f"keypoint {lacking[0][0]!r} has no column {lacking[0][1]}" if lacking else "no keypoint"
        raise ValueError(f"{path}: {problem}")
    points = np.stack([table.values[:, [position[name, "x"], position[name, "y"]]] for name in names], axis=1)
    halves = np.argwhere(np.isnan(points).sum(axis=-1) == 1)
    if len(halves):
        row, keypoint = halves[0]
        raise ValueError(f"{path}: {table.images[row]}: {names[keypoint]!r} has only one of x and y")
    return LabeledRows(images=table.images, keypoint_names=names, points=points)


def _choose(path: Path, table: _Table, individual: str | None) -> dict[tuple[str | None, str, str], int]:
    """The columns of one animal, with their positions."""
    animals = list(dict.fromkeys(animal for animal, _, _ in table.columns if animal is not None))
    if individual is None and len(animals) > 1:
        raise ValueError(
            f"{path}: labels of several animals ({', '.join(animals)}), but a project here has one; choose it with "
            "--individual NAME"
        )
    if individual is not None and individual not in animals:
        found = f"has the animals {', '.join(animals)}" if animals else "has one animal without a name"
        raise ValueError(f"{path}: no animal named {individual!r}; the table {found}")
    wanted = individual if individual is not None else (animals[0] if animals else None)
    return {column: number for number, column in enumerate(table.columns) if column[0] == wanted}


def _read_csv(path: Path) -> _Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: is not CSV: {error}") from error
    levels = [row[0].strip().lower() for row in rows[: len(_LEVELS)]]
    levels = levels[: levels.index("coords") + 1] if "coords" in levels else []
    if tuple(level for level in _LEVELS if level in levels) != tuple(levels) or "bodyparts" not in levels:
        raise ValueError(
            f"{path}: no table of DeepLabCut: it must start with rows scorer, bodyparts, coords (with several animals "
            "scorer, individuals, bodyparts, coords)"
        )
    # A path in three cells leaves two empty ones at the start of each header row.
    num_index = next((number for number, cell in enumerate(rows[0]) if number > 0 and cell.strip()), len(rows[0]))
    header = dict(zip(levels, rows, strict=False))
    lengths = {len(row) for row in rows}
    if len(lengths) > 1 or num_index not in (1, 3):
        raise ValueError(f"{path}: rows of different length ({', '.join(map(str, sorted(lengths)))} cells)")
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
    text = cell.strip()
    if text.lower() in _MISSING:
        return np.nan
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{path}: {_image_path(image)}: {text!r} is not a number") from error


def _read_h5(path: Path) -> _Table:
    tables = need("tables", f"reading {path.name}")
    try:
        table = pd.read_hdf(path)
    except (tables.HDF5ExtError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path}: is no h5 file of DeepLabCut, or damaged: {reason}") from error
    names = [str(name) for name in table.columns.names] if isinstance(table, pd.DataFrame) else []
    if "bodyparts" not in names or "coords" not in names:
        raise ValueError(f"{path}: no table of DeepLabCut: its columns need the levels bodyparts and coords")
    animal, bodypart, coord = (
        names.index("individuals") if "individuals" in names else None,
        names.index("bodyparts"),
        names.index("coords"),
    )
    columns = tuple(
        (None if animal is None else str(column[animal]), str(column[bodypart]), str(column[coord]).lower())
        for column in table.columns
    )
    images = tuple(_image_path([row] if isinstance(row, str) else [str(part) for part in row]) for row in table.index)
    return _Table(images=images, columns=columns, values=table.to_numpy(dtype=np.float64))


def _image_path(cells: Sequence[str]) -> str:
    return "/".join(cell.strip() for cell in cells).replace("\\", "/")
