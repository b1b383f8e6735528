"""Comparison of DeepLabCut's two files of the same labels, CSV and h5."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.tables import H5_ERRORS
from mvtrain.exchange.deeplabcut_animals import AnimalTable

_SECONDS = 60.0
"""DeepLabCut writes one file after the other, so their times differ by a little."""

_DIGITS = 6
"""Decimal digits of the numbers by which rows are sorted."""
_NUMBERS = "fiu"
"""Kinds of NumPy's types that are numbers."""


def compare_with_h5(table: AnimalTable) -> str | None:
    """Compare a CSV of labels with the h5 beside it, which DeepLabCut itself reads.

    Only the numbers of the h5 are read: what else is in it can hold code that runs when it is read. Without h5py,
    or in an h5 of another layout, the times of the two files are compared.

    Args:
        table: Table as read from a CSV.

    Returns:
        Note for the user if the h5 has other labels; None if it has the same, or there is none.
    """
    h5 = table.path.with_suffix(".h5")
    if table.path.suffix.lower() != ".csv" or not h5.is_file():
        return None
    newer = h5.stat().st_mtime > table.path.stat().st_mtime + _SECONDS
    blocks = _blocks(h5)
    if (not newer) if not blocks else _has_values(table.values, blocks):
        return None
    difference = "is newer" if not blocks else f"has other labels{' and is newer' if newer else ''}"
    return (
        f"{table.path}: read, though {h5.name} beside it {difference}. DeepLabCut itself reads the h5. "
        "Remove the CSV if the h5 is right"
    )


def _has_values(values: np.ndarray, blocks: Sequence[np.ndarray]) -> bool:
    """Return True if blocks of an h5 have the (N, C) values of a table, in any order of the rows.

    Where one of the two has further empty rows or columns, the numbers of each row are compared in their order. Of
    several blocks whose columns cannot be told, all numbers are compared.
    """
    if len(blocks) != 1:
        return _are_close(np.sort(_finite(values)), np.sort(np.concatenate([_finite(block) for block in blocks])))
    other = blocks[0]
    if other.shape == values.shape:
        return _are_close(values, other) or _are_close(_sort_rows(values), _sort_rows(other))
    return _are_close(*(_sort_rows(_pack_rows(each, max(values.shape[1], other.shape[1]))) for each in (values, other)))


def _are_close(values: np.ndarray, other: np.ndarray) -> bool:
    """Return True if two arrays are the same but for rounding."""
    return values.shape == other.shape and np.allclose(values, other, rtol=1e-9, atol=1e-9, equal_nan=True)


def _finite(values: np.ndarray) -> np.ndarray:
    """Return the finite numbers of an array, row by row."""
    return values[np.isfinite(values)]


def _sort_rows(values: np.ndarray) -> np.ndarray:
    """Sort rows by their numbers, first the first; differences by rounding do not change the order."""
    return values[np.lexsort(np.round(values, _DIGITS).T[::-1])] if values.size else values


def _pack_rows(values: np.ndarray, width: int) -> np.ndarray:
    """Move the finite numbers of each row to its start, without rows that have none."""
    packed = np.full((len(values), width), np.nan)
    for row, numbers in zip(packed, map(_finite, values), strict=True):
        row[: len(numbers)] = numbers
    return packed[np.isfinite(packed).any(axis=1)]


def _blocks(path: Path) -> list[np.ndarray]:
    """Return the (N, columns) numbers of each block of an h5 of pandas; none in another layout or a damaged file."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        return []
    found: list[tuple[str, np.ndarray]] = []
    try:
        with h5py.File(path, "r") as file:
            file.visititems(lambda name, node: found.extend((name, values) for values in _columns(name, node)))
            return _join_blocks(file, found)
    except H5_ERRORS:
        return []


def _join_blocks(file: Any, found: Sequence[tuple[str, np.ndarray]]) -> list[np.ndarray]:
    """Join the blocks of a table in pandas' fixed layout in the order of its columns; others stay as they are."""
    blocks = [values for _, values in found]
    parents = {name.rpartition("/")[0] for name, _ in found}
    if len(blocks) < 2 or len(parents) != 1 or len({len(values) for values in blocks}) != 1:
        return blocks
    group = file[parents.pop() or "/"]
    columns = _column_names(group, "axis0")
    own = [_column_names(group, re.sub("_values$", "_items", name.rpartition("/")[2])) for name, _ in found]
    order = [column for names in own for column in names]
    values = np.concatenate(blocks, axis=1)
    if len(set(columns)) != values.shape[1] or sorted(order) != sorted(columns):
        return blocks
    return [values[:, [order.index(column) for column in columns]]]


def _column_names(group: Any, name: str) -> list[tuple[bytes, ...]]:
    """Return the names of columns that pandas wrote as numbers of the names of each level; none in another layout."""
    levels: list[list[bytes]] = []
    while f"{name}_label{len(levels)}" in group:
        numbers = np.asarray(group[f"{name}_label{len(levels)}"][()])
        names = np.asarray(group[f"{name}_level{len(levels)}"][()])
        if names.dtype.kind != "S" or numbers.dtype.kind != "i" or (numbers >= len(names)).any():
            return []  # pickled names are not read
        levels.append(names[numbers].tolist())
    return list(zip(*levels, strict=True))


def _columns(name: str, node: Any) -> list[np.ndarray]:
    """Return the numbers of pandas' fixed layout (`block0_values`) or table layout (`values_block_0`)."""
    kind = getattr(node, "dtype", None)  # groups have none
    if kind is None:
        return []
    if kind.names is not None:
        columns = [column for column in kind.names if column.startswith("values_block_")]
        found = [node[column] for column in columns if kind[column].base.kind in _NUMBERS]
    else:
        is_block = re.fullmatch(r"(?:.*/)?block\d+_values", name) and kind.kind in _NUMBERS
        found = [node[()]] if is_block else []
    arrays = [np.asarray(values, dtype=np.float64) for values in found]
    return [
        values.reshape(len(values), -1) if values.size else values.reshape(0, 0) for values in arrays if values.ndim
    ]
