"""Predictions of labelled frames in 3D."""

from __future__ import annotations

import numpy as np

from mvgeom import triangulate
from mvtrain.data.project import Project
from mvtrain.prediction.predict import FramePredictions


def triangulate_predictions(project: Project, predictions: FramePredictions) -> np.ndarray:
    """(N, K, 3) world points of predicted frames, weighted by confidence; NaN for frames without calibration.

    Args:
        project: that the frames are from.
        predictions: of N of its frames, in any order.
    """
    points_3d = np.full((*predictions.points.shape[:1], *predictions.points.shape[2:3], 3), np.nan)
    cameras_of = [project.cameras[row] for row in predictions.index]
    for cameras in {id(group): group for group in cameras_of if group is not None}.values():
        numbers = [number for number, group in enumerate(cameras_of) if group is cameras]
        weights = np.nan_to_num(predictions.confidence[numbers])
        points_3d[numbers] = triangulate(predictions.points[numbers], cameras, weights=weights)
    return points_3d
