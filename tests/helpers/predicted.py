"""A recording to predict by `mvtrain predict`, with its calibration, and the 3D table that comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.runs import KEYPOINTS, VIEWS, cameras
from helpers.videos import SIZE, write_session

LENGTH = 7
"""Frames of the recording."""


def write_recording(folder: Path) -> Path:
    """Write the videos of a session `mouse` and `calibration.toml` beside them; return the folder."""
    write_session(folder, VIEWS, (LENGTH,) * 3)
    cameras(SIZE).save(folder / "calibration.toml")
    return folder


def read_3d(path: Path) -> np.ndarray:
    """Read the columns (N, K, 8) of a 3D table of that recording."""
    return pd.read_csv(path, header=[0, 1, 2], index_col=0).to_numpy().reshape(LENGTH, len(KEYPOINTS), 8)
