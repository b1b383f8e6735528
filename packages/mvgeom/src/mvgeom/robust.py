"""Triangulation that detects and leaves out outlier views."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mvgeom._arrays import Array, check_number, stop_gradient
from mvgeom._checks import beside_observations, check_views, floating_points
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.short_repr import short_repr
from mvgeom.triangulation import MIN_PARALLAX_DEG, reprojection_error, triangulate, triangulate_pairs

__all__ = ["RobustTriangulation", "triangulate_robust"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RobustTriangulation:
    """Result of `triangulate_robust`.

    Attributes:
        points: (..., K, 3) world points; NaN where no two views agree.
        inliers: (..., V, K) booleans, true for observations that the point was triangulated from.
        error: (..., V, K) reprojection error in px, also of outliers; NaN where missing.
    """

    points: Array
    inliers: Array
    error: Array

    __repr__ = short_repr


def triangulate_robust(
    points: Array,
    cams: CameraGroup,
    weights: Array | None = None,
    *,
    threshold: Array | float = 10.0,
    refine_steps: int = 2,
    min_parallax_deg: float = MIN_PARALLAX_DEG,
) -> RobustTriangulation:
    """Triangulate world points from the views that agree with each other, without the others.

    Every pair of views is triangulated and projected into all views. The pair with the smallest sum of squared errors,
    each limited by the threshold, is selected (MSAC over all minimal subsets, so the result is not random). The point
    is then triangulated from the observations within the threshold. These are determined once more, and the point is
    triangulated again.

    Args:
        points: (..., V, K, 2) observations in full-image px; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.
        weights: (..., V, K) weights of the observations, as in `triangulate`.
        threshold: Reprojection error in px beyond which an observation is an outlier, one number or (..., V, K).
        refine_steps: Number of Gauss-Newton steps of the final triangulation.
        min_parallax_deg: Smallest angle between viewing lines in degrees, as in `triangulate`.

    Returns:
        World points, inliers and reprojection errors in px. If only two views see a point and contradict each other by
        more than the threshold, the point is NaN, because nothing shows which view is wrong.

    Raises:
        InputError: `wrong-shape`, if shapes are inconsistent; `wrong-array`, if cameras and points are of different
            libraries; `too-few-views`, if there are fewer than two cameras; `out-of-range`, if the threshold is not
            positive.
    """
    check_number(refine_steps, "refine_steps", whole=True)
    check_number(min_parallax_deg, "min_parallax_deg")
    if isinstance(threshold, int | float) and not threshold > 0:
        raise InputError(
            f"threshold: must be a positive number of px, found {threshold}",
            code="out-of-range",
            argument="threshold",
            found=threshold,
        )
    xp, points = floating_points(points, cams)
    check_views(points, cams)
    fixed = stop_gradient(points)
    present = xp.all(xp.isfinite(fixed), axis=-1)
    beside = partial(beside_observations, xp, like=points, leading=points.shape[:-3], num_points=points.shape[-2])
    if not isinstance(threshold, int | float):
        threshold = beside(threshold, cams=cams, argument="threshold")
    given = xp.ones_like(fixed[..., 0]) if weights is None else beside(weights, cams=cams, argument="weights")
    weight = xp.where(present & (given > 0), given, 0.0)
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
