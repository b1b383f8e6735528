"""Comparison of DeepLabCut's two files of the same labels, CSV and h5."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.tables import H5_ERRORS
from mvtrain.exchange.deeplabcut_animals import AnimalTable

_SECONDS = 60.0
"""DeepLabCut writes one file after the other, so their times differ by a little."""


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
    numbers = _numbers(h5)
    if numbers is None and not newer:
        return None
    if numbers is not None:
        own = np.sort(table.values[np.isfinite(table.values)])
        if own.shape == numbers.shape and np.allclose(own, numbers, rtol=1e-9, atol=1e-9):
            return None
    difference = "is newer" if numbers is None else f"has other labels{' and is newer' if newer else ''}"
    return (
        f"{table.path}: read, though {h5.name} beside it {difference}. DeepLabCut itself reads the h5. "
        "Remove the CSV if the h5 is right"
    )


def _numbers(path: Path) -> np.ndarray | None:
    """Return all finite numbers of an h5 of pandas, ascending; None if it has another layout or cannot be read."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        return None
    arrays: list[np.ndarray] = []
    try:
        with h5py.File(path, "r") as file:
            file.visititems(lambda name, node: arrays.extend(_columns(name, node)))
    except H5_ERRORS:
        return None
    if not arrays:
        return None
    values = np.concatenate(arrays)
    return np.sort(values[np.isfinite(values)])


def _columns(name: str, node: Any) -> list[np.ndarray]:
    """Return the numbers of pandas' fixed layout (`block0_values`) or table layout (`values_block_0`)."""
    kind = getattr(node, "dtype", None)  # groups have none
    if kind is None:
        return []
    if kind.names is not None:
        columns = [column for column in kind.names if column.startswith("values_block_")]
        return [
            np.asarray(node[column], dtype=np.float64).ravel() for column in columns if kind[column].base.kind == "f"
        ]
    is_block = re.fullmatch(r"(?:.*/)?block\d+_values", name) and kind.kind == "f"
    return [np.asarray(node[()], dtype=np.float64).ravel()] if is_block else []
