"""World points against images: how far predictions are from the projections of what they triangulate to."""

from __future__ import annotations

import numpy as np

from mvgeom import reprojection_error
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
