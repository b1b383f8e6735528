"""Projection of points in a camera's frame, with derivatives by the point, the intrinsics and the distortion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.distortion import (
    apply_homography,
    distort_with_jacobian,
    homography_jacobian,
    tilt_matrices,
)
from mvgeom.lens_range import Lens, lens_terms, polynomial

__all__ = ["NUM_INTRINSICS", "ProjectionJacobian", "project_with_jacobian"]

NUM_INTRINSICS = 4
"""Number of lens parameters before the distortion: fx, fy, cx, cy; the coefficients follow in OpenCV's order."""


class ProjectionJacobian(NamedTuple):
    """Projected pixels and their derivatives.

    Attributes:
        pixels: (N, 2) projections in full-image px.
        by_point: (N, 2, 3) derivatives with respect to the point in the camera's frame.
        by_lens: (N, 2, 4 + n) derivatives with respect to fx, fy, cx, cy and n distortion coefficients. Skew is
            constant.
    """

    pixels: Floats
    by_point: Floats
    by_lens: Floats


def project_with_jacobian(points: Floats, matrix: Floats, distortion: Floats, *, fisheye: bool) -> ProjectionJacobian:
    """Project points into one camera, with derivatives.

    Unlike `mvgeom.project`, this does not test that the lens model is invertible at the point, because an optimizer may
    pass through such values.

    Args:
        points: (N, 3) points in the camera's frame, in front of the camera (z > 0).
        matrix: (3, 3) camera matrix in px.
        distortion: (n,) distortion coefficients, n one of 0, 4, 5, 8, 12, 14.
        fisheye: True for the Kannala-Brandt model, which uses the first four coefficients; False for Brown-Conrady.
    """
    inverse = 1 / points[:, 2]
    x, y = points[:, 0] * inverse, points[:, 1] * inverse
    lens = lens_terms(distortion[None, :], fisheye=fisheye)
    (xd, yd), jacobian = distort_with_jacobian(x[None], y[None], lens, np)
    by_coefficients = _by_coefficients(x, y, lens, len(distortion))
    if lens.tilt:
        forward = tilt_matrices(lens, np)[0]
        # All coefficients except the tilt move the point before the homography of the tilt.
        bent = homography_jacobian(forward, xd, yd, jacobian)
        inner = homography_jacobian(forward, xd, yd, type(jacobian)(1.0, 0.0, 0.0, 1.0))
        map_2x2 = np.stack([np.stack([inner.xx[0], inner.xy[0]], -1), np.stack([inner.yx[0], inner.yy[0]], -1)], -2)
        by_coefficients[..., :12] = map_2x2 @ by_coefficients[..., :12]
        by_coefficients[..., 12:] = _by_tilt(xd[0], yd[0], *(float(angle[0, 0]) for angle in lens.tilt))
        xd, yd = apply_homography(forward, xd, yd)
        jacobian = bent
    xd, yd = np.broadcast_to(xd[0], x.shape), np.broadcast_to(yd[0], x.shape)
    entries = np.stack([np.broadcast_to(entry[0], x.shape) for entry in jacobian], axis=-1).reshape(-1, 2, 2)

    affine = matrix[:2, :2]
    by_normalized = affine @ entries
    along_ray = -(by_normalized[..., 0] * x[:, None] + by_normalized[..., 1] * y[:, None])
    by_point = np.concatenate([by_normalized, along_ray[..., None]], axis=-1) * inverse[:, None, None]
    by_lens = np.zeros((len(points), 2, NUM_INTRINSICS + len(distortion)))
    by_lens[:, 0, 0], by_lens[:, 1, 1] = xd, yd
    by_lens[:, 0, 2] = by_lens[:, 1, 3] = 1
    by_lens[:, :, NUM_INTRINSICS:] = affine @ by_coefficients
    pixels = np.stack([xd, yd], axis=-1) @ affine.T + matrix[:2, 2]
    return ProjectionJacobian(pixels, by_point, by_lens)


def _by_coefficients(x: Floats, y: Floats, lens: Lens, num_coefficients: int) -> Floats:
    """Return derivatives (N, 2, n) of distorted normalized coordinates, before the tilt, by the coefficients."""
    result = np.zeros((len(x), 2, num_coefficients))
    if num_coefficients == 0:
        return result
    xy = np.stack([x, y], axis=-1)
    r2 = x * x + y * y
    if lens.fisheye:
        # theta_d / r = theta / r (1 + k1 theta^2 + ...); on the axis theta / r is 1 and the powers are 0.
        r = np.sqrt(r2)
        theta = np.arctan(r)
        ratio = np.divide(theta, r, out=np.ones_like(r), where=r > 0)
        for power in range(4):
            result[..., power] = xy * (ratio * theta ** (2 * power + 2))[:, None]
        return result
    numerator = np.broadcast_to(polynomial(r2[None], lens.numerator)[0], r2.shape)
    denominator = np.ones_like(r2)
    if lens.denominator:
        denominator = polynomial(r2[None], lens.denominator)[0]
    places = (0, 1, 4) if num_coefficients > 4 else (0, 1)
    for power, place in enumerate(places, start=1):
        result[..., place] = xy * (r2**power / denominator)[:, None]
    result[:, 0, 2] = result[:, 1, 3] = 2 * x * y
    result[:, 1, 2] = r2 + 2 * y * y
    result[:, 0, 3] = r2 + 2 * x * x
    if lens.denominator:
        for power, place in enumerate((5, 6, 7), start=1):
            result[..., place] = -xy * (numerator * r2**power / denominator**2)[:, None]
    if lens.prism:
        result[:, 0, 8] = result[:, 1, 10] = r2
        result[:, 0, 9] = result[:, 1, 11] = r2 * r2
    return result


def _by_tilt(x: Floats, y: Floats, tau_x: float, tau_y: float) -> Floats:
    """Return derivatives (N, 2, 2) of tilted coordinates by tau_x, tau_y; see OpenCV's computeTiltProjectionMatrix."""
    sx, cx, sy, cy = np.sin(tau_x), np.cos(tau_x), np.sin(tau_y), np.cos(tau_y)
    turn_x, slope_x = (
        np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]]),
        np.array([[0, 0, 0], [0, -sx, cx], [0, -cx, -sx]]),
    )
    turn_y, slope_y = (
        np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]]),
        np.array([[-sy, 0, -cy], [0, 0, 0], [cy, 0, -sy]]),
    )

    def projection(rotation: Floats, constant: float) -> Floats:
        return np.array([[rotation[2, 2], 0, -rotation[0, 2]], [0, rotation[2, 2], -rotation[1, 2]], [0, 0, constant]])

    rotation = turn_y @ turn_x
    points = np.stack([x, y, np.ones_like(x)], axis=-1)
    mapped = points @ (projection(rotation, 1) @ rotation).T
    tilted = mapped[:, :2] / mapped[:, 2:]
    slopes = []
    for slope in (turn_y @ slope_x, slope_y @ turn_x):
        change = points @ (projection(slope, 0) @ rotation + projection(rotation, 1) @ slope).T
        slopes.append((change[:, :2] - tilted * change[:, 2:]) / mapped[:, 2:])
    return np.stack(slopes, axis=-1)
