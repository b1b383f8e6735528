"""Labels for views that do not see a keypoint, from the views that do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mvgeom import affine, project, reprojection_error
from mvtrain.data.maps import frame_to_model
from mvtrain.data.project import Project

LARGEST_DISAGREEMENT = 0.03
"""Reprojection error in the views a point was triangulated from, as a fraction of the network's input, beyond which
it is not projected into other views: with 256 px about two pixels of a heatmap of a quarter of that."""


def complete_labels(labelled: Project, points_3d: np.ndarray, size: tuple[int, int]) -> Project:
    """The project with the projection of the 3D label wherever a view does not see the keypoint.

    People label what they see, so nothing tells a network where a hidden keypoint is, although the other views say it.
    Labels that are missing and those marked as occluded are replaced and become visible; labels of keypoints that are
    seen stay as they are. Where the labels that make a 3D point contradict each other (labels or calibration are off),
    or the projection is not defined, nothing is changed.

    Args:
        labelled: the project.
        points_3d: (N, K, 3) visible labels in the world, NaN where missing.
        size: width and height of the network's input in model px.
    """
    points, visibility = labelled.points.copy(), labelled.visibility.copy()
    frame_points = np.where((visibility == 2)[..., None], labelled.points_frame, np.nan)
    for row, cameras in enumerate(labelled.cameras):
        if cameras is None:
            continue
        scale = np.sqrt(np.abs(np.linalg.det(frame_to_model(labelled, row, size)[:, :, :2])))
        error = reprojection_error(points_3d[row], frame_points[row], cameras) * scale[:, None]
        agree = (np.nan_to_num(error) <= LARGEST_DISAGREEMENT * max(size)).all(0)
        to_file = affine.invert(labelled.file_to_frame[row])
        projected = affine.apply(to_file, project(points_3d[row], cameras))
        has_image = np.array([name is not None for name in labelled.image_names[row]])
        new = (visibility[row] != 2) & has_image[:, None] & agree & np.isfinite(projected).all(-1)
        points[row][new], visibility[row][new] = projected[new], 2
    return replace(labelled, points=points, visibility=visibility)
