"""Labels for views that do not see a keypoint, from the views that do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mvtrain.data.maps import project_into_images
from mvtrain.data.project import Project

LARGEST_DISAGREEMENT = 0.03
"""Distance between a label and the projection of its 3D point, as a fraction of the image's longer side, beyond which
the point is not carried into other views: about two heatmap px where these are a quarter of an input of 256 px."""


def complete_labels(project: Project, points_3d: np.ndarray) -> Project:
    """The project with the projection of the 3D label wherever a view does not see the keypoint.

    People label what they see, so nothing tells a network where a hidden keypoint is, although the other views say it.
    Labels that are missing and those marked as occluded are replaced and become visible; labels of keypoints that are
    seen stay as they are. Nothing is changed where the labels behind a 3D point contradict each other (they or the
    calibration are off), where it falls outside the stored image, and where there is no image.

    Args:
        project: its images are the network's input, crop and all, so sizes relative to them are sizes relative to it.
        points_3d: (N, K, 3) visible labels in the world, NaN where missing.
    """
    seen = project.visibility == 2
    projected = project_into_images(project, np.arange(len(project)), points_3d)
    distance = np.linalg.norm(projected - project.points, axis=-1)
    too_far = distance > LARGEST_DISAGREEMENT * project.file_sizes.max(-1)[..., None]
    agreed = ~(seen & too_far).any(1, keepdims=True)
    new = ~seen & agreed & np.isfinite(projected).all(-1)
    return replace(
        project,
        points=np.where(new[..., None], projected, project.points),
        visibility=np.where(new, 2, project.visibility).astype(np.int8),
    )
