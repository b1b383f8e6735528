"""Triangulation that finds and leaves out outlier views."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mvgeom._arrays import Array, as_floating, stop_gradient
from mvgeom._checks import check_views, common_namespace
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.triangulation import MIN_PARALLAX_DEG, reprojection_error, triangulate, triangulate_pairs


@dataclass(frozen=True, kw_only=True, eq=False)
class RobustTriangulation:
    """What `triangulate_robust` found.

    Attributes:
        points: (..., K, 3) world; NaN where no two views agree.
        inliers: (..., V, K) booleans, observations that the point was triangulated from.
        error: (..., V, K) reprojection error in px, of outliers too; NaN where missing.
    """

    points: Array
    inliers: Array
    error: Array


def triangulate_robust(
    points: Array,
    cams: CameraGroup,
    weights: Array | None = None,
    *,
    threshold: Array | float = 10.0,
    refine_steps: int = 2,
    min_parallax_deg: float = MIN_PARALLAX_DEG,
) -> RobustTriangulation:
    """Triangulate from the views that agree with each other, leaving out the others.

    Every pair of views is triangulated and projected into all views; the pair with the smallest sum of squared errors,
    each cut off at the threshold, wins (MSAC over all minimal subsets, so the result is not random). The point is then
    triangulated from the observations within the threshold, and once more after these have been looked up again.

    Args:
        points: (..., V, K, 2) frame px; NaN is a missing observation.
        cams: V cameras; batch dimensions broadcast with `...`.
        weights: as in `triangulate`.
        threshold: reprojection error in px beyond which an observation is an outlier, one number or (..., V, K).
        refine_steps: Gauss-Newton steps of the final triangulation.
        min_parallax_deg: as in `triangulate`.

    Returns:
        Points, inliers and reprojection errors. Two views that contradict each other by more than the threshold give
        NaN: nothing tells which of them is wrong.

    Raises:
        ValueError: when shapes do not fit, or the threshold is not positive.
    """
    if isinstance(threshold, int | float) and not threshold > 0:
        raise InputError(
            f"threshold must be a positive number of px, got {threshold}",
            code="out-of-range",
            argument="threshold",
            found=threshold,
        )
    xp = common_namespace(points, cams)
    points = as_floating(xp, points)
    check_views(points, cams)
    fixed = stop_gradient(points)
    present = xp.all(xp.isfinite(fixed), axis=-1)
    weight = xp.where(present, 1.0, 0.0) if weights is None else xp.where(present & (weights > 0), weights, 0.0)
    weight = xp.astype(weight, points.dtype)
    counted = stop_gradient(weight)
    candidates = triangulate_pairs(fixed, cams, counted, min_parallax_deg=min_parallax_deg)
    for index in range(candidates.shape[-3]):
        candidate = candidates[..., index, :, :]
        error = reprojection_error(candidate, fixed, cams)
        error = xp.where(xp.isfinite(error), error, xp.inf)
        score = xp.sum(counted * xp.where(error < threshold, error, threshold) ** 2, axis=-2)
        score = xp.where(xp.isfinite(candidate[..., 0]), score, xp.inf)
        if index == 0:
            best_score, best_error = score, error
        else:
            better = score < best_score
            best_score = xp.where(better, score, best_score)
            best_error = xp.where(better[..., None, :], error, best_error)
    inliers = (best_error <= threshold) & (counted > 0)
    refined = partial(triangulate, refine_steps=refine_steps, min_parallax_deg=min_parallax_deg)
    first = refined(fixed, cams, xp.where(inliers, counted, 0.0))
    error = reprojection_error(first, fixed, cams)
    inliers = (xp.where(xp.isfinite(error), error, xp.inf) <= threshold) & (counted > 0)
    world = refined(points, cams, xp.where(inliers, weight, 0.0))
    error = reprojection_error(world, points, cams)
    return RobustTriangulation(points=world, inliers=inliers & xp.isfinite(world[..., None, :, 0]), error=error)
