"""Pose of one camera, fitted to points that other cameras see."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mvgeom.calibration.board_poses import normalize_corners, pose_candidates
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.bundle import Scene, Views
from mvgeom.calibration.schur import adjust
from mvgeom.cameras import CameraGroup
from mvgeom.triangulation import covariance, projected_covariance, reprojection_error, triangulate

__all__ = ["expected_error", "fit_pose"]

_MIN_POINTS = 20


def fit_pose(cams: CameraGroup, flat: Floats, view: int, rest: list[int], noise: float) -> tuple[float, float, float]:
    """Fit the pose of a camera to the other cameras' points, starting from its given pose and from scratch.

    Args:
        cams: V cameras.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.
        view: Index of the camera to fit.
        rest: Indices of the cameras that points are triangulated from.
        noise: Standard deviation of the keypoints in px.

    Returns:
        Rotation of the camera relative to its given pose in degrees, shift in the world's unit, and median error in px
        with the new pose (infinite if no point is in front of it).
    """
    world = triangulate(flat[rest], cams.select([cams.names[other] for other in rest]))
    one, pixels = cams.select([cams.names[view]]), flat[[view]]
    best, smallest = one, _median_or_inf(reprojection_error(world, pixels, one))
    usable = np.flatnonzero(np.isfinite(world).all(-1) & seen_corners(pixels[0]))
    if len(usable) >= _MIN_POINTS:
        poses, _ = pose_candidates(normalize_corners(pixels[:, None, usable], one)[0], world[usable])
        for rotation, translation in ((one.rotation, one.translation), (poses[0, :1, :3, :3], poses[0, :1, :3, 3])):
            if not np.isfinite(translation).all():
                continue
            start = one.replace(rotation=rotation, translation=translation)
            moved = _adjust_pose(start, pixels, world, max(2 * noise, 1.0))
            left = _median_or_inf(reprojection_error(world, pixels, moved))
            if left < smallest:
                best, smallest = moved, left
    turn = Rotation.from_matrix(best.rotation[0] @ one.rotation[0].T).magnitude()
    return float(np.rad2deg(turn)), float(np.linalg.norm(best.centers - one.centers)), smallest


def expected_error(cams: CameraGroup, flat: Floats, view: int, rest: list[int], noise: float) -> float:
    """Compute the median error in px that a camera like the others has, with it left out of the triangulation.

    Args:
        cams: V cameras.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.
        view: Index of the camera that is left out.
        rest: Indices of the cameras that points are triangulated from.
        noise: Standard deviation of the keypoints per pixel coordinate in px.

    Returns:
        Median length of a 2D Gaussian with the variances of the keypoint and of the projected point; `noise` times 1.18
        where no point is in front of the camera.
    """
    group = cams.select([cams.names[other] for other in rest])
    world = triangulate(flat[rest], group)
    spread = covariance(world, group, max(noise, 1e-6), seen_corners(flat[rest]))
    projected = projected_covariance(world, spread, cams.select([cams.names[view]]))[0]
    variance = noise**2 + np.trace(projected, axis1=-2, axis2=-1) / 2
    finite = variance[np.isfinite(variance) & seen_corners(flat[view])]
    return float(np.sqrt(2 * np.log(2) * (np.median(finite) if len(finite) else noise**2)))


def _adjust_pose(start: CameraGroup, pixels: Floats, world: Floats, scale: float) -> CameraGroup:
    """Move one camera to the pose with the smallest robust error; points that start behind it do not count."""
    usable = np.isfinite(reprojection_error(world, pixels, start)[0])
    if usable.sum() < _MIN_POINTS:
        return start
    # The points are one rigid board, whose pose in the camera's frame is estimated.
    scene = Scene(
        cameras=start.replace(rotation=np.eye(3)[None], translation=np.zeros((1, 3))),
        rotation=start.rotation,
        position=start.translation,
        object_points=world[usable],
    )
    views = Views(
        camera=np.zeros(1, dtype=np.int64),
        block=np.zeros(1, dtype=np.int64),
        pixels=pixels[:, usable],
        weights=np.ones((1, int(usable.sum()))),
        num_cameras=1,
        num_blocks=1,
    )
    nothing = np.zeros((1, scene.camera_size), dtype=bool)
    fitted = adjust(scene, views, nothing, loss="cauchy", loss_scale=scale, tolerance=1e-8).scene
    return start.replace(rotation=fitted.rotation, translation=fitted.position)


def _median_or_inf(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("inf")
