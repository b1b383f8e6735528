"""World points against images: how far predictions are from the projections of what they triangulate to."""

from __future__ import annotations

import numpy as np

from mvgeom import project as project_points
from mvgeom import reprojection_error
from mvtrain.data.maps import to_file
from mvtrain.data.project import Project
from mvtrain.prediction.predict import FramePredictions


def reprojection_errors(project: Project, predictions: FramePredictions, points_3d: np.ndarray) -> np.ndarray:
    """(N, V, K) distances in frame px between predictions and projected world points; NaN without either.

    Args:
        project: that the frames are from.
        predictions: of N of its frames, in any order.
        points_3d: (N, K, 3) world points of the same frames, NaN where missing.
    """
    errors = np.full(predictions.confidence.shape, np.nan)
    for number, row in enumerate(predictions.index):
        cameras = project.cameras[row]
        if cameras is not None:
            errors[number] = reprojection_error(points_3d[number], predictions.points[number], cameras)
    return errors


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
