"""Places of occluded keypoints: a generator's truth, or else the 3D label that the other views triangulate to."""

from __future__ import annotations

import numpy as np

from mvtrain.data.completion import complete_labels
from mvtrain.data.maps import project_into_images
from mvtrain.data.project import Project
from mvtrain.losses.heatmap import VISIBLE

OCCLUDED_SOURCE = (
    "occluded: without a visible label in this view (visible = 1, 0 or empty), inside the image; its place is the "
    "project's true 3D point, or else the 3D label that at least two other views agree about, projected"
)
"""Definition of an occluded keypoint and the source of its place, for captions."""


def occluded_points(project: Project, labels_3d: np.ndarray, truth_3d: np.ndarray | None) -> np.ndarray:
    """Return the places of all keypoints without a visible label, as far as they are known.

    The x and y that a label table gives for an occluded keypoint are not used: they may be anything.

    Args:
        project: with N frames, V views and K keypoints.
        labels_3d: (N, K, 3) triangulated visible labels in the world, NaN where missing.
        truth_3d: (N, K, 3) true keypoints in the world, NaN where missing; None where the project has none.

    Returns:
        (N, V, K, 2) px of the stored images. NaN for visible keypoints, where the place is outside the image, without a
        calibration, and where neither truth nor agreeing labels of two other views tell it.
    """
    completed = complete_labels(project, labels_3d)
    from_labels = (completed.visibility == VISIBLE) & (project.visibility != VISIBLE)
    places = np.where(from_labels[..., None], completed.points, np.nan)
    if truth_3d is None:
        return places
    # A true place outside the image is known as well: no label of another view overrules it.
    has_truth = np.isfinite(truth_3d).all(-1)[:, None, :]
    projected = project_into_images(project, np.arange(len(project)), truth_3d)
    places = np.where(has_truth[..., None], projected, places)
    return np.where((project.visibility == VISIBLE)[..., None], np.nan, places)
