"""Boards of one camera, each at the pose that this camera's image alone gives it."""

from __future__ import annotations

import numpy as np

from mvgeom.calibration.board_poses import normalize_corners, pose_candidates
from mvgeom.calibration.bundle import Booleans, Scene, Views
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.rig_adjustment import views_of_boards
from mvgeom.calibration.schur import adjust
from mvgeom.cameras import CameraGroup

__all__ = ["boards_alone"]


def boards_alone(cameras: CameraGroup, view: int, detections: Detections, used: Booleans) -> tuple[Scene, Views] | None:
    """Adjust the boards of one camera to it, without any other camera.

    Args:
        cameras: V cameras.
        view: Index of the camera; its intrinsics are kept.
        detections: Corners of the boards.
        used: (F,) booleans, true for its boards to adjust.

    Returns:
        The camera at the world's origin with its boards, and their corners; None if no board has a pose.
    """
    frames = np.flatnonzero(used)
    one = cameras.select([cameras.names[view]]).replace(rotation=np.eye(3)[None], translation=np.zeros((1, 3)))
    points = detections.points[view, frames]
    poses, errors = pose_candidates(normalize_corners(points[None], one)[0], detections.object_points)
    solved = np.isfinite(errors[:, 0])
    points, poses = points[solved], poses[solved, 0]
    if not len(points):
        return None
    views = views_of_boards(points[None], np.ones((1, len(points)), dtype=bool), np.arange(len(points)))
    scene = Scene(
        cameras=one, rotation=poses[:, :3, :3], position=poses[:, :3, 3], object_points=detections.object_points
    )
    fixed = np.zeros((1, scene.camera_size), dtype=bool)
    return adjust(scene, views, fixed, loss="huber", max_iterations=20, tolerance=1e-6).scene, views
