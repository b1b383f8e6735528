"""Standard deviations of the parameters of adjusted cameras."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import NUM_POSE
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS
from mvgeom.cameras import CameraGroup

__all__ = ["Deviations", "center_by_pose", "deviations", "larger_deviations"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Deviations:
    """Standard deviations of adjusted camera parameters; 0 for parameters that were held fixed.

    Attributes:
        focal: (V, 2) standard deviations of fx and fy in px.
        center: (V, 2) standard deviations of cx and cy in px.
        distortion: (V, n) standard deviations of the distortion coefficients.
        rotation_deg: (V, 3) standard deviations of the rotation about the camera's x, y and z axes in degrees.
        position: (V, 3) standard deviations of the camera position in the world's unit, along the axes of the reference
            camera's frame.
    """

    focal: Floats
    center: Floats
    distortion: Floats
    rotation_deg: Floats
    position: Floats


def deviations(cameras: CameraGroup, covariance: Floats, noise: float) -> Deviations:
    """Compute standard deviations of camera parameters, with all other parameters unknown.

    Args:
        cameras: V adjusted cameras.
        covariance: (V, C, V, C) covariance of their parameters for residuals of variance 1 px^2; see `schur.Solution`.
        noise: Standard deviation of an observation per pixel coordinate, in px.
    """
    own = np.stack([covariance[view, :, view] for view in range(len(cameras))]) * noise**2
    spread = np.sqrt(np.clip(np.diagonal(own, axis1=1, axis2=2), 0, None))
    by_pose = center_by_pose(cameras)
    position = by_pose @ own[:, :NUM_POSE, :NUM_POSE] @ np.swapaxes(by_pose, 1, 2)
    lens = spread[:, NUM_POSE:]
    return Deviations(
        focal=lens[:, :2],
        center=lens[:, 2:NUM_INTRINSICS],
        distortion=lens[:, NUM_INTRINSICS:],
        rotation_deg=np.rad2deg(spread[:, :3]),
        position=np.sqrt(np.clip(np.diagonal(position, axis1=1, axis2=2), 0, None)),
    )


def center_by_pose(cameras: CameraGroup) -> Floats:
    """Return derivatives (V, 3, 6) of the camera centers with respect to steps of rotation and translation.

    The center is -R't; with R <- exp(w) R and t <- t + d it moves by R'(w x t) - R'd = -R'[t] w - R'd.
    """
    turned = np.swapaxes(cameras.rotation, 1, 2)
    return np.concatenate([-turned @ _cross(cameras.translation), -turned], axis=2)


def larger_deviations(one: Deviations, other: Deviations) -> Deviations:
    """Return the larger of two standard deviations of each parameter."""
    pairs = {field.name: (getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)}
    return Deviations(**{name: np.maximum(*pair) for name, pair in pairs.items()})


def _cross(vectors: Floats) -> Floats:
    """Return (..., 3, 3) matrices [v] with [v] w = v x w."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([np.stack(row, axis=-1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))], axis=-2)
