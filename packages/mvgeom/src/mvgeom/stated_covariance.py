"""World points from observations of which each has a covariance of its own, wider along one direction than another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mvgeom.cameras import CameraGroup
from mvgeom.projection import project
from mvgeom.triangulation import projection_jacobian

__all__ = ["mean_precision", "refine_by_covariance"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_STEPS = 4
"""Gauss-Newton steps at most; from the solution for mean variances, two reach the optimum on ordinary rigs."""

_LEAST_DETERMINANT = 1e-13
"""Determinant of the information, in units of its diagonal, below which depth is not observed."""


def mean_precision(covariances: Floats) -> Floats:
    """Return the inverse mean variances (...) of covariances (..., 2, 2); 0 where one is not positive definite."""
    xx, xy, yy = covariances[..., 0, 0], covariances[..., 0, 1], covariances[..., 1, 1]
    valid = np.isfinite(covariances).all((-1, -2)) & (xx > 0) & (yy > 0) & (xx * yy - xy**2 > 0)
    return np.asarray(np.where(valid, 2 / np.where(valid, xx + yy, 1.0), 0.0))


def refine_by_covariance(
    points_3d: Floats, points: Floats, cams: CameraGroup, covariances: Floats, used: Flags
) -> tuple[Floats, Floats]:
    """Move world points to the minimum of the squared reprojection errors in units of their covariances.

    The minimum is the maximum-likelihood estimate for Gaussian noise (Hartley and Zisserman, Multiple View Geometry,
    2nd edition, 4.3). Gauss-Newton steps that would increase the sum are not taken.

    Args:
        points_3d: (K, 3) world points to start from; NaN is missing.
        points: (V, K, 2) observations in full-image px.
        cams: V cameras without batch dimensions, NumPy.
        covariances: (V, K, 2, 2) positive definite covariances in px^2.
        used: (V, K) booleans, True for observations that count.

    Returns:
        World points (K, 3), and their covariances (K, 3, 3) in the square of the world's unit: the inverse of the sum
        of J' C^-1 J. NaN where a point is missing, or fewer than two observations count.
    """
    precisions = _inverse(np.where(used[..., None, None], covariances, np.eye(2)))
    enough = np.isfinite(points_3d).all(-1) & (used.sum(0) >= 2)
    found = np.where(enough[:, None], points_3d, np.nan)
    sums, information, gradient = _normal_equations(found, points, cams, precisions, used)
    for _ in range(_STEPS):
        moved = found + _solve(information, gradient)
        sums_moved, information_moved, gradient_moved = _normal_equations(moved, points, cams, precisions, used)
        better = sums_moved < sums
        if not better.any():
            break
        found, sums = np.where(better[:, None], moved, found), np.where(better, sums_moved, sums)
        information = np.where(better[:, None, None], information_moved, information)
        gradient = np.where(better[:, None], gradient_moved, gradient)
    return found, _covariance(information)


def _normal_equations(
    points_3d: Floats, points: Floats, cams: CameraGroup, precisions: Floats, used: Flags
) -> tuple[Floats, Floats, Floats]:
    """Return the sums (K,) of squared errors, the information (K, 3, 3), and minus half the gradient (K, 3).

    All are NaN where an observation counts of which the point has no projection.
    """
    residual = np.where(used[..., None], points - project(points_3d, cams), 0.0)
    jacobian = np.where(used[..., None, None], projection_jacobian(points_3d, cams), 0.0)
    weighted = precisions @ jacobian
    information = (jacobian.swapaxes(-1, -2) @ weighted).sum(0)
    gradient = np.einsum("vkji,vkj->ki", weighted, residual)
    return np.einsum("vki,vkij,vkj->k", residual, precisions, residual), information, gradient


def _inverse(covariances: Floats) -> Floats:
    """Invert symmetric (..., 2, 2)."""
    xx, xy, yy = covariances[..., 0, 0], covariances[..., 0, 1], covariances[..., 1, 1]
    adjugate = np.stack([np.stack([yy, -xy], -1), np.stack([-xy, xx], -1)], -2)
    return np.asarray(adjugate / (xx * yy - xy**2)[..., None, None])


def _solve(information: Floats, gradient: Floats) -> Floats:
    """Return the steps (K, 3); NaN where the information is not that of a point."""
    return np.asarray((_covariance(information) @ gradient[..., None])[..., 0])


def _covariance(information: Floats) -> Floats:
    """Invert (K, 3, 3); NaN where a direction is not observed at all."""
    # In units in which the diagonal is 1, so that the limit does not depend on the world's unit.
    diagonal = np.einsum("kii->ki", information)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    relative = information / (scale[:, :, None] * scale[:, None, :])
    known = np.isfinite(relative).all((-1, -2))
    known[known] = np.linalg.det(relative[known]) > _LEAST_DETERMINANT
    inverse = np.full_like(information, np.nan)
    inverse[known] = np.linalg.inv(relative[known])
    return np.asarray(inverse / (scale[:, :, None] * scale[:, None, :]))
