"""DeepLabCut's HDF5 tables of predictions and labels: pandas tables with the CSV's header as column levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mvgeom.errors import InputError
from mvgeom.tables.keypoint_tables import KeypointTable
from mvgeom.tables.readers.columns import Column, table_from_columns
from mvgeom.tables.readers.hdf5 import is_hdf5, read_pandas_table

__all__ = ["DESCRIPTION", "NAME", "load", "matches"]

NAME = "deeplabcut_h5"
DESCRIPTION = "DeepLabCut's HDF5 table (.h5)"


def matches(path: Path) -> bool:
    """Return True for any HDF5 file that is not SLEAP's; `load` says what is wrong with it."""
    return is_hdf5(path)


def load(path: Path, individual: str | None = None) -> KeypointTable:
    """Read a table; rows are frame numbers or image paths, and the columns have the levels of the CSV table.

    Raises:
        InputError: As in `mvgeom.tables.read_keypoints`.
    """
    table = read_pandas_table(path)
    names = [str(name) for name in table.columns.names]
    animal = names.index("individuals") if "individuals" in names else None
    keypoint, coord = names.index("bodyparts"), names.index("coords")
    columns = [
        Column(None if animal is None else str(column[animal]), str(column[keypoint]), str(column[coord]).lower())
        for column in table.columns
    ]
    try:
        values = table.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: a coordinate is not a number: {error}", code="bad-number", path=path) from error
    rows = tuple("/".join(map(str, row)) if isinstance(row, tuple) else str(row) for row in table.index)
    return table_from_columns(path, columns, values, rows, individual=individual, recording=path.stem, first_line=1)
