"""Writer of DeepLabCut's tables of predictions: h5 and CSV of every view, and of 3D."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mvgeom.files import file_name
from mvtrain.exchange.write_options import WriteOptions
from mvtrain.predict.saved_predictions import PredictedSession
from mvtrain.runtime.imports import need

SCORER = "DLC_mvtrain"
"""Scorer in DeepLabCut's file names, `<video><scorer>.h5`."""

H5_KEY = "df_with_missing"


def write(session: PredictedSession, folder: Path, options: WriteOptions) -> list[str]:
    """Write `<session>_<view>DLC_mvtrain.h5` and `.csv`, and with 3D `<session>_3dDLC_mvtrain.h5` and `.csv`.

    Returns:
        Notes for the user.

    Raises:
        InputError: The library that writes h5 files is not installed (`missing-library`).
    """
    need("tables", "convert deeplabcut")
    for view, name in enumerate(session.view_names):
        _write_both(folder / file_name(f"{session.name}_{name}{SCORER}"), view_table(session, view))
    if session.in_3d is not None:
        _write_both(
            folder / file_name(f"{session.name}_3d{SCORER}"),
            _table(session.keypoint_names, "xyz", session.in_3d.points),
        )
    return []


def view_table(session: PredictedSession, view: int) -> pd.DataFrame:
    """Make DeepLabCut's table of a view: x, y, likelihood per keypoint under three header rows, a row per frame."""
    values = np.concatenate([session.points[:, view], session.likelihood[:, view, :, None]], axis=-1)
    return _table(session.keypoint_names, ("x", "y", "likelihood"), values)


def write_h5(table: pd.DataFrame, path: Path) -> None:
    """Write a table as the HDF5 file of pandas.

    HDF5 is let write to memory only: on a full disk it cuts its file off without an error.

    Raises:
        OSError: The file cannot be written, or the disk is full.
    """
    memory = {"driver": "H5FD_CORE", "driver_core_backing_store": 0}
    with pd.HDFStore(path.name, mode="w", **memory) as store:  # type: ignore[arg-type]
        store.put(H5_KEY, table, track_times=False)
        root: Any = store.root
        root._v_file.flush()
        content = root._v_file.get_file_image()
    path.write_bytes(content)


def _table(keypoint_names: Sequence[str], coords: Sequence[str], values: np.ndarray) -> pd.DataFrame:
    columns = pd.MultiIndex.from_product(
        [[SCORER], keypoint_names, list(coords)], names=["scorer", "bodyparts", "coords"]
    )
    return pd.DataFrame(values.reshape(len(values), -1), columns=columns)


def _write_both(stem: Path, table: pd.DataFrame) -> None:
    write_h5(table, Path(f"{stem}.h5"))
    table.to_csv(f"{stem}.csv", lineterminator="\n")
