"""The affine maps between the three kinds of pixels of a labelled image: file, frame and model."""

from __future__ import annotations

import numpy as np

from mvgeom import affine
from mvtrain.data.project import Project


def frame_to_model(project: Project, row: int, size: tuple[int, int]) -> np.ndarray:
    """(V, 2, 3) maps of the views' boxes, or of the whole images where there are no boxes, onto the network's input.

    Args:
        project: of the frame.
        row: which frame.
        size: width and height in model px.
    """
    if project.boxes is not None:
        boxes = project.boxes[row]
    else:
        sizes = project.file_sizes[row].astype(np.float64)
        boxes = np.concatenate([np.zeros_like(sizes), sizes], axis=-1)
    # An absent view has no box; its image is black and any map will do.
    present = np.isfinite(boxes).all(-1) & (boxes[:, 2:] > 0).all(-1)
    boxes = np.where(present[:, None], boxes, np.array([0.0, 0.0, *size]))
    return affine.from_box(boxes, np.array(size, dtype=np.float64))


def to_file(project: Project, rows: np.ndarray, frame_points: np.ndarray) -> np.ndarray:
    """Points (N, V, K, 2) in frame px of the given rows, in px of the stored images; NaN where an image is absent."""
    return affine.apply(affine.invert(project.file_to_frame[rows]), frame_points)
