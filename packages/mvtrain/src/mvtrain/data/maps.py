"""Between the pixels of a labelled image, file, frame and model, and from the world into them."""

from __future__ import annotations

import numpy as np

from mvgeom import affine
from mvgeom import project as project_points
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


def project_into_images(project: Project, rows: np.ndarray, points_3d: np.ndarray) -> np.ndarray:
    """(N, V, K, 2) world points in px of the stored images; NaN where they fall outside, or nothing is known.

    Args:
        project: that the frames are from.
        rows: (N,) which frames.
        points_3d: (N, K, 3) world points of the same frames, NaN where missing.
    """
    points = np.full((len(rows), len(project.view_names), points_3d.shape[1], 2), np.nan)
    for number, row in enumerate(rows):
        cameras = project.cameras[row]
        if cameras is not None:
            points[number] = project_points(points_3d[number], cameras)
    points = to_file(project, rows, points)
    inside = (points >= -0.5) & (points <= project.file_sizes[rows][:, :, None] - 0.5)
    return np.where(inside.all(-1, keepdims=True), points, np.nan)
