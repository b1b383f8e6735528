"""Test of standard deviations: how far views that were left out lie from what the others predict.

Standard deviations of triangulated points suppose independent Gaussian errors. Those of detectors have heavy tails and
are shared by views and frames, so that the deviations are too small. A view that is left out has no part in the point;
its distance from the point's projection, over the deviation that is stated for it, tells by what factor.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mvgeom._subset import spread_subset
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.projection import project
from mvgeom.reconstruction import CHUNK, MIN_THRESHOLD, OUTLIER_SIGMAS
from mvgeom.robust import triangulate_robust
from mvgeom.triangulation import covariance, projected_covariance

__all__ = ["LEVEL", "MIN_RESIDUALS", "deviation_factor", "factor_of_squares"]

Floats = npt.NDArray[np.float64]

LEVEL = 0.98
"""Share of left-out observations that must lie within their region of this probability: the tails must be covered."""

MIN_RESIDUALS = 200
"""Least number of left-out observations from which a factor is estimated."""


def deviation_factor(points: Floats, cams: CameraGroup, noise: Floats) -> float:
    """Estimate by which factor standard deviations of triangulated points must grow to hold what they say.

    Each view in turn is left out; the others are triangulated, without outliers. The squared distance of the left-out
    observation from the projection, in units of the covariance of projection and observation, is a chi-squared
    variable with two degrees of freedom if the noise is right. The factor makes its 98 % quantile so. Observations that
    all views together leave out as outliers do not count.

    Args:
        points: (V, K, 2) observations in full-image px; NaN is missing. If there are many points, a subset that is
            spread over them is used.
        cams: V cameras without batch dimensions, NumPy.
        noise: (V, K) stated standard deviations per pixel coordinate in px; NaN or infinity removes an observation.

    Returns:
        The factor, at least 1. 1 with fewer than three views or fewer than `MIN_RESIDUALS` left-out observations.

    Raises:
        InputError: `wrong-shape`, if shapes are inconsistent.
    """
    if points.ndim != 3 or points.shape[0] != len(cams) or points.shape[2] != 2 or noise.shape != points.shape[:2]:
        raise InputError(
            f"points: wrong shapes, found {points.shape} and noise {noise.shape}, expected ({len(cams)}, K, 2) and "
            f"({len(cams)}, K)",
            code="wrong-shape",
            argument="points",
            found=points.shape,
        )
    if len(cams) < 3:
        return 1.0
    shared = np.flatnonzero(_used(points, noise).sum(axis=0) >= 3)
    chosen = shared[spread_subset(len(shared), CHUNK)]
    return factor_of_squares(np.concatenate(list(_left_out_squares(points[:, chosen], cams, noise[:, chosen]))))


def factor_of_squares(squares: Floats, *, degrees: int = 2) -> float:
    """Return the factor of standard deviations, at least 1, with which the tails of left-out observations are covered.

    Args:
        squares: (N,) squared distances of left-out observations over their covariances, chi-squared variables if those
            are right. With fewer than `MIN_RESIDUALS`, the factor is 1.
        degrees: Their degrees of freedom.
    """
    if len(squares) < MIN_RESIDUALS:
        return 1.0
    from scipy.special import chdtri  # `import mvgeom` is fast without it

    return max(1.0, float(np.sqrt(np.quantile(squares, LEVEL) / chdtri(degrees, 1 - LEVEL))))


def _left_out_squares(points: Floats, cams: CameraGroup, noise: Floats) -> Iterator[Floats]:
    """Yield, of each view in turn, the squared distances from the other views' projection over their covariance."""
    used = _used(points, noise)
    deviation = np.where(used, noise, 1.0)
    limit = np.maximum(OUTLIER_SIGMAS * deviation, MIN_THRESHOLD)
    # Observations that all views together leave out have no part in any point.
    agreeing = triangulate_robust(points, cams, np.where(used, deviation**-2.0, 0.0), threshold=limit).inliers
    for view in range(len(cams)):
        others = used.copy()
        others[view] = False
        found = triangulate_robust(points, cams, np.where(others, deviation**-2.0, 0.0), threshold=limit)
        spread = covariance(found.points, cams, deviation, found.inliers)
        total = projected_covariance(found.points, spread, cams)[view] + deviation[view, :, None, None] ** 2 * np.eye(2)
        residual = points[view] - project(found.points, cams)[view]
        known = agreeing[view] & np.isfinite(total).all((-1, -2)) & np.isfinite(residual).all(-1)
        scaled = np.linalg.solve(total[known], residual[known][..., None])[..., 0]
        yield (residual[known] * scaled).sum(-1)


def _used(points: Floats, noise: Floats) -> npt.NDArray[np.bool_]:
    """Return (V, K) True for observations that are present and have a deviation."""
    return np.asarray(np.isfinite(noise) & (noise > 0) & np.isfinite(points).all(-1))
