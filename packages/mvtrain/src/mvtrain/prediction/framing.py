"""How a run's training images were cropped about their subject, so that tracking can crop alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup, boxes, project, world_to_camera
from mvtrain.data.dataset import triangulate_labels
from mvtrain.data.project import Project

_LEAST_LABELLED = 0.5
_LARGEST_CHANGE = 1.6


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Where boxes lie about their subject.

    Attributes:
        margin: of a box about the keypoints on every side, as a fraction of their larger extent.
        aspect: width of a box divided by its height.
        side: the longer side of a typical box in world units, at the subject's distance.
    """

    margin: float
    aspect: float
    side: float

    def about_pose(self, pose: np.ndarray, cameras: CameraGroup) -> np.ndarray:
        """(V, 4) boxes about a pose, as in training.

        Keypoints far from the others do not count, and no box is much larger or smaller than a typical one: a pose may
        be found in part, and some of it may be wrong.

        Args:
            pose: (K, 3) world, NaN where missing; not all missing.
            cameras: V cameras.

        Returns:
            x, y, width, height in frame px; NaN for views that cannot see it.
        """
        center = np.nanmedian(pose, axis=0)
        near = np.linalg.norm(pose - center, axis=-1) < self.side
        trusted = np.where(near[:, None], pose, np.nan)
        tight = np.asarray(boxes.from_points_3d(trusted, cameras, margin=self.margin, aspect=self.aspect))
        typical = self.about_points(center[None], cameras)[0, :, 2:]
        extent = np.clip(tight[:, 2:], typical / _LARGEST_CHANGE, typical * _LARGEST_CHANGE)
        return np.concatenate([tight[:, :2] + (tight[:, 2:] - extent) / 2, extent], axis=-1)

    def about_points(self, centers: np.ndarray, cameras: CameraGroup) -> np.ndarray:
        """(H, V, 4) boxes of typical size about H world points (H, 3); NaN for views that cannot see them."""
        middle = np.moveaxis(project(centers, cameras), 0, 1)
        depth = world_to_camera(centers, cameras)[..., 2].T
        focal = (cameras.matrix[:, 0, 0] + cameras.matrix[:, 1, 1]) / 2
        longer = self.side * focal / np.where(depth > 0, depth, np.nan)
        extent = longer[..., None] * np.array([min(1.0, self.aspect), min(1.0, 1 / self.aspect)])
        # A pixel's centre is whole, so the range from x - 0.5 belongs to the box that starts at x.
        return np.concatenate([middle - extent / 2 + 0.5, extent], axis=-1)


def learn_framing(labelled: Project) -> Framing:
    """The framing of a project's images: the medians over its frames and views.

    Raises:
        ValueError: the project has no boxes, or none whose subject is labelled and calibrated.
    """
    if labelled.boxes is None:
        raise ValueError(
            f"--track follows the subject with crops like those of the training images, but those of {labelled.root} "
            "are whole frames (no data.bbox_file); it needs a run that was trained on crops"
        )
    points_3d = triangulate_labels(labelled)
    seen = np.isfinite(labelled.points_frame).all(-1)
    extents = np.asarray(boxes.from_keypoints(labelled.points_frame, margin=0.0))[..., 2:].max(-1)
    enough = (seen.mean(-1) >= _LEAST_LABELLED) & (extents > 1) & np.isfinite(labelled.boxes).all(-1)
    sides = []
    for row, cameras in enumerate(labelled.cameras):
        center = np.nanmedian(points_3d[row], axis=0) if np.isfinite(points_3d[row]).any() else np.full(3, np.nan)
        if cameras is not None and np.isfinite(center).all():
            depth = world_to_camera(center[None], cameras)[:, 0, 2]
            focal = (cameras.matrix[:, 0, 0] + cameras.matrix[:, 1, 1]) / 2
            sides += list((labelled.boxes[row, :, 2:].max(-1) * depth / focal)[enough[row] & (depth > 0)])
    if not sides:
        raise ValueError(
            f"--track learns from the labelled images how large the subject is, but no frame of {labelled.root} has a "
            "calibration, boxes and labels of two views"
        )
    longer = labelled.boxes[enough][:, 2:].max(-1)
    return Framing(
        margin=max(0.0, float(np.median(longer / extents[enough]) - 1) / 2),
        aspect=float(np.median(labelled.boxes[enough][:, 2] / labelled.boxes[enough][:, 3])),
        side=float(np.median(sides)),
    )
