"""The project human4, read as the tests of calibration need it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mvgeom import CameraGroup, affine
from mvgeom.tables import read_keypoints, read_labeled_boxes, stack_views

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "human4"
CROP = (320, 320)


def human4() -> tuple[CameraGroup, np.ndarray]:
    """Its cameras, and its labels (100, 4, 19, 2) in full-image px; skips where the project is absent."""
    if not FOLDER.is_dir():
        pytest.skip(f"{FOLDER} is absent")
    cameras = CameraGroup.load(FOLDER / "calibration.toml")
    tables = {name: read_keypoints(FOLDER / f"CollectedData_{name}.csv") for name in cameras.names}
    points = stack_views(tables).points.copy()
    for view, name in enumerate(cameras.names):
        boxes = read_labeled_boxes(FOLDER / f"bboxes_{name}.csv").select(tables[name].rows)
        to_frame = np.asarray(affine.invert(affine.from_box(boxes, CROP)))
        points[:, view] = affine.apply(to_frame, points[:, view])
    return cameras, points
