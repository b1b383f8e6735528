"""Writer of anipose projects: sessions with 2D poses (DeepLabCut's h5), calibration and 3D poses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import tomli_w

from mvgeom.files import file_name, write_text
from mvtrain.exchange.to_deeplabcut import view_table, write_h5
from mvtrain.exchange.write_options import WriteOptions, write_cameras
from mvtrain.predict.saved_predictions import Points3D, PredictedSession
from mvtrain.runtime.imports import need


def write(session: PredictedSession, folder: Path, options: WriteOptions) -> list[str]:
    """Write `<session>/pose-2d/<session>_<view>.h5`, `<session>/calibration/calibration.toml`,
    `<session>/pose-3d/<session>.csv`, and a `config.toml` that distinguishes the cameras.

    Returns:
        Notes for the user.

    Raises:
        InputError: The library that writes h5 files is not installed (`missing-library`).
    """
    need("tables", "convert anipose")
    home = folder / file_name(session.name)
    (home / "pose-2d").mkdir(parents=True)
    for view, name in enumerate(session.view_names):
        write_h5(view_table(session, view), home / "pose-2d" / file_name(f"{session.name}_{name}.h5"))
    notes = write_cameras(options.cameras, home / "calibration" / "calibration.toml", "anipose")
    if session.in_3d is not None:
        (home / "pose-3d").mkdir()
        table = _table_3d(session, session.in_3d)
        table.to_csv(home / "pose-3d" / file_name(f"{session.name}.csv"), index=False, lineterminator="\n")
    names = "|".join(re.escape(name) for name in session.view_names)
    config = {
        "project": "mvtrain",
        "nesting": 1,
        "filter": {"enabled": False},
        "triangulation": {"cam_regex": f"_({names})$", "triangulate": True, "optim": False},
    }
    write_text(folder / "config.toml", tomli_w.dumps(config))
    return notes


def _table_3d(session: PredictedSession, in_3d: Points3D) -> pd.DataFrame:
    """Make anipose's table; `score` is the lowest likelihood of the views that have the keypoint."""
    located = np.isfinite(session.points).all(axis=-1)
    scores = np.where(located, session.likelihood, np.inf).min(axis=1)
    known = np.isfinite(in_3d.points).all(axis=-1)
    columns: dict[str, np.ndarray | float] = {}
    for k, name in enumerate(session.keypoint_names):
        columns |= {f"{name}_{axis}": in_3d.points[:, k, number] for number, axis in enumerate("xyz")}
        columns[f"{name}_error"] = in_3d.error[:, k]
        columns[f"{name}_ncams"] = np.where(known[:, k], in_3d.num_views[:, k], np.nan)
        columns[f"{name}_score"] = np.where(known[:, k], scores[:, k], np.nan)
    columns |= {f"M_{row}{column}": float(row == column) for row in range(3) for column in range(3)}
    columns |= {f"center_{axis}": 0.0 for axis in range(3)}
    return pd.DataFrame({**columns, "fnum": np.arange(len(session))})
