"""Triangulation of whole tables of keypoints: world points with error, number of views and standard deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mvgeom._arrays import as_array, as_float64, as_floating, check_number
from mvgeom._subset import spread_subset
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.projection import undistort
from mvgeom.robust import triangulate_robust
from mvgeom.short_repr import short_repr
from mvgeom.stated_covariance import mean_precision, refine_by_covariance
from mvgeom.triangulation import covariance, reprojection_error, triangulate

__all__ = [
    "CHUNK",
    "MIN_THRESHOLD",
    "OUTLIER_SIGMAS",
    "Floats",
    "Method",
    "Reconstruction",
    "keypoint_noise",
    "noise_from_errors",
    "reconstruct",
]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Method = Literal["robust", "refined", "linear"]

CHUNK = 20_000
"""Number of points triangulated at a time; limits memory on long videos."""

OUTLIER_SIGMAS = 4.0
"""Threshold of outlier views in standard deviations; 3 in 10,000 Gaussian keypoints exceed it."""

_SMALLEST_NOISE = 1e-9
"""px; standard deviation of keypoints that agree exactly."""

MIN_THRESHOLD = 1.0
"""px; smaller differences are rounding in the tables, not outliers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """World points of N frames with their quality.

    Attributes:
        points: (N, K, 3) world points; NaN where a point cannot be triangulated.
        std: (N, K, 3) standard deviations along the world's axes in the world's unit, for the noise below; NaN where
            there is no point.
        error: (N, K) mean reprojection error in px over the views used; NaN where there is no point.
        num_views: (N, K) number of views used; 0 where there is no point.
        noise: Standard deviation per pixel coordinate, in px, of a keypoint of weight 1; `std` is computed for it.
        threshold: Reprojection error in px beyond which views of weight 1 were left out; infinite if none were.
    """

    points: Floats
    std: Floats
    error: Floats
    num_views: npt.NDArray[np.int64]
    noise: float
    threshold: float

    __repr__ = short_repr


def reconstruct(
    points: Floats,
    cams: CameraGroup,
    *,
    method: Method = "robust",
    threshold: float | None = None,
    noise: float | None = None,
    weights: Floats | None = None,
    covariances: Floats | None = None,
) -> Reconstruction:
    """Triangulate the keypoints of a whole video or label table.

    Args:
        points: (N, V, K, 2) keypoints in full-image px; NaN is missing.
        cams: V cameras without batch dimensions, NumPy.
        method: Triangulation method. `robust` leaves out views that disagree with the others, `refined` minimizes the
            reprojection error over all views, `linear` is the closed-form solution without that refinement.
        threshold: Reprojection error in px beyond which `robust` leaves out a view of weight 1; None means
            `OUTLIER_SIGMAS` times the noise of these keypoints.
        noise: Standard deviation of the keypoints per pixel coordinate in px; None estimates it from the reprojection
            errors.
        weights: (N, V, K) inverse variances of the keypoints relative to that of a keypoint of weight 1, whose standard
            deviation is `noise`; standard deviation and threshold are larger for smaller weights. 0 or NaN removes a
            keypoint. None means that all weights are 1.
        covariances: (N, V, K, 2, 2) covariances of the keypoints in place of weights, relative to that of a keypoint
            whose standard deviation is `noise` along every direction. Outlier views are found by the mean variance; the
            point then minimizes the reprojection error in units of these covariances (not with `linear`). NaN, or a
            matrix that is not positive definite, removes a keypoint.

    Returns:
        Points with their standard deviations, errors and numbers of views; NaN where fewer than two views agree.

    Raises:
        InputError: `wrong-shape`, if shapes are inconsistent; `too-few-views` for one camera; `unknown-choice`, if the
            method is unknown; `excluded-options`, for weights beside covariances; `out-of-range`, if the noise is not
            positive and finite, or the threshold is not positive.
    """
    for name, value in (("threshold", threshold), ("noise", noise)):
        if value is not None:
            check_number(value, name)
    points = _as_numpy(points, "points")
    weights = None if weights is None else _as_numpy(weights, "weights")
    covariances = None if covariances is None else _as_numpy(covariances, "covariances")
    _check_arguments(points, cams, method, noise, weights, covariances)
    shapes = None
    if covariances is not None:
        weights = mean_precision(covariances)
        shapes = np.moveaxis(covariances, 1, 0).reshape(points.shape[1], -1, 2, 2)
    num_rows, num_views, num_keypoints = points.shape[:3]
    flat = np.ascontiguousarray(np.moveaxis(points, 1, 0).reshape(num_views, num_rows * num_keypoints, 2))
    flat_weights = None if weights is None else np.moveaxis(weights, 1, 0).reshape(num_views, -1)
    sigma = noise if noise is not None else keypoint_noise(flat, cams, flat_weights)
    limit = float("inf")
    if method == "robust":
        limit = threshold if threshold is not None else _outlier_threshold(sigma)
        world, errors = _from_agreeing_views(flat, cams, limit, flat_weights)
    else:
        world, errors = _from_all_views(flat, cams, flat_weights, refine_steps=0 if method == "linear" else 2)
    used = ~np.isnan(errors)
    counts = used.sum(axis=0)
    found = ~np.isnan(world).any(-1)
    # Keypoints that agree exactly, as projected ones may, have noise 0, which the covariance cannot divide by.
    each = max(sigma, _SMALLEST_NOISE)
    if shapes is None or method == "linear":
        variance = _variance(world, cams, each, flat_weights, used)
    else:
        world, variance = _refine(world, flat, cams, each**2 * shapes, used)
        errors = np.where(used, reprojection_error(world, flat, cams), np.nan)
    mean_error = np.where(found, np.where(used, errors, 0).sum(0) / np.maximum(counts, 1), np.nan)
    return Reconstruction(
        points=world.reshape(num_rows, num_keypoints, 3),
        std=np.sqrt(variance).reshape(num_rows, num_keypoints, 3),
        error=mean_error.reshape(num_rows, num_keypoints),
        num_views=np.where(found, counts, 0).reshape(num_rows, num_keypoints),
        noise=sigma,
        threshold=limit,
    )


def _as_numpy(values: Any, argument: str) -> np.ndarray:
    array = as_array(values, argument)
    numbers: np.ndarray = (
        as_floating(np, array, argument) if isinstance(array, np.ndarray) else as_float64(array, argument)
    )
    return numbers


def _check_arguments(
    points: Floats,
    cams: CameraGroup,
    method: Method,
    noise: float | None,
    weights: Floats | None,
    covariances: Floats | None,
) -> None:
    """Refuse arguments of `reconstruct` that are wrong; see there."""
    if noise is not None and not 0 < noise < np.inf:
        raise InputError(
            f"noise: must be positive, finite px, found {noise}", code="out-of-range", argument="noise", found=noise
        )
    if method not in ("robust", "refined", "linear"):
        raise InputError(
            f"method: unknown, found {method!r}, expected robust, refined or linear",
            code="unknown-choice",
            argument="method",
            found=method,
        )
    if weights is not None and covariances is not None:
        raise InputError(
            "weights and covariances exclude each other. Give one of them.",
            code="excluded-options",
            argument="weights",
            other="covariances",
        )
    if points.ndim != 4 or points.shape[1] != len(cams) or points.shape[3] != 2:
        raise InputError(
            f"points: wrong shape, found {points.shape}, expected (N, {len(cams)}, K, 2) for {list(cams.names)}",
            code="wrong-shape",
            argument="points",
            found=points.shape,
        )
    wanted = {"weights": (weights, points.shape[:3]), "covariances": (covariances, (*points.shape, 2))}
    for argument, (array, shape) in wanted.items():
        if array is not None and array.shape != shape:
            raise InputError(
                f"{argument}: wrong shape, found {array.shape}, expected {shape} as for the points",
                code="wrong-shape",
                argument=argument,
                found=array.shape,
            )


def keypoint_noise(points: Floats, cams: CameraGroup, weights: Floats | None = None) -> float:
    """Estimate the keypoints' standard deviation per pixel coordinate from the agreement of views, without outliers.

    Args:
        points: (V, K, 2) keypoints in full-image px; NaN is missing. If there are many points that two views see, a
            subset that is spread over them is used.
        cams: V cameras without batch dimensions, NumPy.
        weights: (V, K) inverse variances as in `reconstruct`; the result is that of a keypoint of weight 1. None means
            that all weights are 1.

    Returns:
        Standard deviation in px; NaN if no point is seen by two views.
    """
    seen = np.isfinite(points).all(-1) & (True if weights is None else weights > 0)
    shared = np.flatnonzero(seen.sum(axis=0) >= 2)
    chosen = shared[spread_subset(len(shared), CHUNK)]
    sample, scale = points[:, chosen], None if weights is None else weights[:, chosen]

    def noise(errors: Floats) -> float:
        return noise_from_errors(errors if scale is None else errors * np.sqrt(scale))

    sigma = noise(_from_all_views(sample, cams, scale, refine_steps=2)[1])
    for _ in range(3):  # if many points have outliers, the first estimate is too high
        if not np.isfinite(sigma):
            break
        sigma = min(sigma, noise(_from_agreeing_views(sample, cams, _outlier_threshold(sigma), scale)[1]))
    return sigma


def noise_from_errors(errors: Floats) -> float:
    """Estimate the standard deviation of keypoints per pixel coordinate from their reprojection errors.

    With n views, the squared errors of a point sum to sigma^2 times a chi-squared variable with 2 n - 3 degrees of
    freedom. Each point's sum divided by the median of that variable (approximation of Wilson and Hilferty) estimates
    sigma^2. The median over points is used, so up to half of the points may be wrong.

    Args:
        errors: (V, K) reprojection errors in px; NaN for views that were not used.

    Returns:
        Standard deviation in px; NaN if no point has two views.
    """
    freedom = 2 * (~np.isnan(errors)).sum(axis=0) - 3
    usable = freedom > 0
    if not usable.any():
        return float("nan")
    squares = np.nansum(errors[:, usable] ** 2, axis=0)
    typical = freedom[usable] * (1 - 2 / (9 * freedom[usable])) ** 3
    return float(np.sqrt(np.median(squares / typical)))


def _outlier_threshold(noise: float) -> float:
    """Return the threshold in px; an arbitrary one if no noise can be estimated (no point with two views)."""
    return max(OUTLIER_SIGMAS * noise, MIN_THRESHOLD) if np.isfinite(noise) else MIN_THRESHOLD


def _variance(world: Floats, cams: CameraGroup, noise: float, weights: Floats | None, used: Flags) -> Floats:
    """Return the variances (K, 3) of points from observations (V, K) that are alike along every direction."""
    spread = np.full(used.shape, noise) if weights is None else noise / np.sqrt(np.where(used, weights, 1.0))
    parts = [covariance(world[chunk], cams, spread[:, chunk], used[:, chunk]) for chunk in _chunks(len(world))]
    return np.diagonal(np.concatenate(parts), axis1=-2, axis2=-1)


def _refine(world: Floats, flat: Floats, cams: CameraGroup, covariances: Floats, used: Flags) -> tuple[Floats, Floats]:
    """Return world points (K, 3) and their variances (K, 3) by the covariances (V, K, 2, 2) of the observations."""
    parts = [
        refine_by_covariance(world[chunk], flat[:, chunk], cams, covariances[:, chunk], used[:, chunk])
        for chunk in _chunks(len(world))
    ]
    points, spread = (np.concatenate(values) for values in zip(*parts, strict=True))
    return points, np.diagonal(spread, axis1=-2, axis2=-1)


def _from_all_views(
    flat: Floats, cams: CameraGroup, weights: Floats | None, refine_steps: int
) -> tuple[Floats, Floats]:
    """Return world points (K, 3) and reprojection errors (V, K), NaN for views without weight or viewing ray."""
    parts = []
    for chunk in _chunks(flat.shape[1]):
        weight = None if weights is None else weights[:, chunk]
        world = triangulate(flat[:, chunk], cams, weight, refine_steps=refine_steps)
        used = np.isfinite(undistort(flat[:, chunk], cams)).all(-1) & (True if weight is None else weight > 0)
        parts.append((world, np.where(used, reprojection_error(world, flat[:, chunk], cams), np.nan)))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts], axis=1)


def _from_agreeing_views(
    flat: Floats, cams: CameraGroup, threshold: float, weights: Floats | None
) -> tuple[Floats, Floats]:
    """Return world points (K, 3) and reprojection errors (V, K), NaN for the views that were left out."""
    parts = []
    for chunk in _chunks(flat.shape[1]):
        weight = None if weights is None else weights[:, chunk]
        limit = threshold if weight is None else threshold / np.sqrt(np.where(weight > 0, weight, 1.0))
        parts.append(triangulate_robust(flat[:, chunk], cams, weight, threshold=limit))
    errors = [np.where(part.inliers, part.error, np.nan) for part in parts]
    return np.concatenate([part.points for part in parts]), np.concatenate(errors, axis=1)


def _chunks(length: int) -> list[slice]:
    """Return at least one slice, so that a table without rows is processed by the same code."""
    return [slice(start, start + CHUNK) for start in range(0, max(1, length), CHUNK)]
