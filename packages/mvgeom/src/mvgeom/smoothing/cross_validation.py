"""Cross-validation of smoothed trajectories: every view is predicted from the others.

A view that is left out of the whole recording is independent of them: its residuals hold its own error, the uncertainty
of the others, and the motion.

Where only one other view sees a keypoint, that view's trajectory knows its rays, and of the depth along them no more
than the prior of motion makes of their turning. Residuals along the epipolar line would then test the prior alone, by
hundreds of px; only those across it count. They tell the noise of both views, but of the motion only that across the
line, which may be the least: two cameras beside each other would learn it from how high the subject jumps. So frames
that are left out test the motion of a keypoint that two views see, in all directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mvgeom.smoothing.noise import OUTLIER_AREA, Noise
from mvgeom.smoothing.passes import Estimate
from mvgeom.smoothing.state_space import transpose
from mvgeom.smoothing.trajectories import Observations, linearize, project_covariance, smooth_once

__all__ = ["across_lines", "cross_validate", "cross_validate_all", "cross_validate_frames", "seen_by", "split_unknown"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FOLDS = 2
"""Parts of the frames, of which each is predicted from the others where frames are left out."""

MOST_VIEWS, VARIANTS = 6, 4
"""Most views of which each is left out alone; of more, as many groups are left out, one after the other.

So many views predict a few of them well without these, and the time would grow with the square of their number.
"""

LEAST_SEEN = 0.1
"""Share of the frames from which a view counts as one that sees a keypoint."""

NEAR = 10
"""Frames before and after a sighting of a view through which it still tells of the depth.

Farther from it, the residual along the epipolar line would test how far the prior lets a keypoint go alone.
"""

ALONG = float(np.sqrt(OUTLIER_AREA / (2 * np.pi)))
"""Standard deviation in px along epipolar lines that do not count."""

LEAST_INFORMATION = 1e-7
"""Information of the depth along a ray, as a share of all that its view has: as good as none."""

MAX_CONDITION = 1e10
"""Condition number beyond which the views of a frame do not determine a position."""


def cross_validate_all(
    stretches: Sequence[Observations], noise: Noise, estimates: Sequence[Estimate], *, by_frames: bool = False
) -> tuple[Floats, Floats, Flags]:
    """Return the results of `cross_validate` for all stretches, one after the other."""
    pairs = zip(stretches, estimates, strict=True)
    validated = [cross_validate(stretch, noise, estimate, by_frames=by_frames) for stretch, estimate in pairs]
    residual, predicted, counted = (np.concatenate(parts) for parts in zip(*validated, strict=True))
    return residual, predicted, counted


def cross_validate(
    observations: Observations, noise: Noise, estimate: Estimate, *, by_frames: bool = False
) -> tuple[Floats, Floats, Flags]:
    """Predict each view from the others over the whole stretch, or each part of all views' frames from the rest.

    Of many views, each is predicted from those of the other groups (`VARIANTS`).

    Args:
        observations: Stretch.
        noise: Noise of the keypoints and of their motion.
        estimate: Trajectories about which it is linearized, and the weights of the keypoints.
        by_frames: Leave out frames; of a single view they are always.

    Returns:
        Residuals (T, V, K, 2) in px; their covariances (T, V, K, 2, 2) in px^2 but for the keypoint's own noise; and
        which count (T, V, K).
    """
    length, num_views, _ = estimate.weights.shape
    # (L, T, V, 1): which part of the keypoints is left out of which variant.
    by_frames = by_frames or num_views == 1
    if by_frames:
        parts = (np.arange(length) % FOLDS == np.arange(FOLDS)[:, None])[:, :, None, None]
        left = np.broadcast_to(parts, (FOLDS, length, num_views, 1))
    else:
        groups = _groups(num_views)
        left = np.broadcast_to(groups[:, None, :, None], (len(groups), length, num_views, 1))
    variants = smooth_once(
        estimate.points, observations, noise, estimate.weights * ~left, estimate.activity, estimate.unit, estimate.ray
    )
    projected, predicted = np.zeros_like(observations.points), np.zeros((*observations.points.shape, 2))
    # Linear about the estimate from all views, as the variants are: where a single view is left, they know no depth,
    # and the projection of a place that is far off means nothing.
    center, derivative = linearize(estimate.points, observations.cameras)
    for part, points, covariance in zip(left, variants.points, variants.covariance, strict=True):
        pixels = center + (derivative @ (points - estimate.points)[:, None, ..., None])[..., 0]
        projected = np.where(part[..., None], pixels, projected)
        predicted = np.where(part[..., None, None], project_covariance(derivative, covariance), predicted)
    residual = observations.points - projected
    if not by_frames:
        residual, predicted = _without_depth(residual, predicted, derivative, estimate.weights)
    counted = np.isfinite(residual).all(-1) & np.isfinite(predicted).all((-2, -1))
    return residual, predicted, np.asarray(counted)


def _groups(num_views: int) -> Flags:
    """Return which views (L, V) are left out of each of L variants: every view of one."""
    number = num_views if num_views <= MOST_VIEWS else VARIANTS
    return np.asarray(np.arange(num_views) % number == np.arange(number)[:, None])


def cross_validate_frames(
    observations: Observations, noise: Noise, estimate: Estimate, *, from_one: bool = False, by_groups: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Predict every view from the others of the same frame, linear about the trajectories as `cross_validate` is.

    Args:
        observations: Keypoints.
        noise: Noise of the keypoints.
        estimate: Trajectories to linearize about, and outliers, which predict nothing.
        from_one: Predict from a single other view as well, with an all but infinite variance along its epipolar line.
        by_groups: Of many views, predict from those of the other groups, as `cross_validate` does.

    Returns:
        Residuals (T, V, K, 2) in px and their covariances (T, V, K, 2, 2) but for the keypoint's own noise, NaN where
        the others give no position; and the covariances (T, K, 3, 3) of positions from all views of a frame.
    """
    center, derivative = linearize(estimate.points, observations.cameras)
    used = (estimate.weights > 0.5) & np.isfinite(center).all(-1)
    apart = np.where(used[..., None], observations.points - center, 0.0)
    jacobian = np.where(used[..., None, None], derivative, 0.0)
    weighted = transpose(jacobian) @ np.linalg.inv(observations.noise_covariance(noise))
    information, vector = weighted @ jacobian, (weighted @ apart[..., None])[..., 0]
    total, count = information.sum(1), used.sum(1)
    left, left_vector, left_count = information, vector, used
    if by_groups and used.shape[1] > MOST_VIEWS:
        groups = _groups(used.shape[1])
        together = (groups.T @ groups).astype(np.float64)
        left, left_vector, left_count = (
            np.einsum("vw,tw...->tv...", together, each) for each in (information, vector, used)
        )
    others, num_others = total[:, None] - left, count[:, None] - left_count
    if from_one:
        least = LEAST_INFORMATION * np.trace(others, axis1=-2, axis2=-1)
        others = others + least[..., None, None] * np.eye(3)
    covariance = _inverse(others, num_others >= (1 if from_one else 2))
    moved = (covariance @ (vector.sum(1)[:, None] - left_vector)[..., None])[..., 0]
    residual = observations.points - center - (derivative @ moved[..., None])[..., 0]
    return residual, derivative @ covariance @ transpose(derivative), _inverse(total, count >= 2)


def _inverse(information: Floats, enough: Flags) -> Floats:
    """Invert information matrices (..., 3, 3); NaN where there is not enough, or a direction is not determined."""
    inverse = np.full_like(information, np.nan)
    values = np.linalg.eigvalsh(np.where(enough[..., None, None], information, np.eye(3)))
    known = enough & (values[..., 0] * MAX_CONDITION > values[..., -1])
    inverse[known] = np.linalg.inv(information[known])
    return inverse


def seen_by(weights: Floats) -> Flags:
    """Return which views (V, K) see which keypoints, by the weights (T, V, K) of these."""
    return np.asarray((weights > 0).mean(0) >= LEAST_SEEN)


def _without_depth(residual: Floats, predicted: Floats, derivative: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Make residuals and covariances those across the epipolar line, where only one other view sees a keypoint.

    Along the line, the residual becomes 0 and its standard deviation a constant, with which the density there is that
    of outliers. Where no other view sees the keypoint, the residual is NaN.
    """
    residual, predicted = residual.copy(), predicted.copy()
    sees = seen_by(weights) & _seen_about(weights > 0)
    groups = _groups(weights.shape[1])
    for view, own_group in enumerate(groups.argmax(0)):
        others = sees & ~groups[own_group][:, None]
        count = others.sum(1)
        residual[:, view][count == 0] = np.nan
        chosen = np.nonzero(count == 1)
        if len(chosen[0]) == 0:
            continue
        own, rows, keypoints = derivative[:, view], *chosen
        across = across_lines(own[chosen], derivative[rows, others.argmax(1)[chosen], keypoints])
        along = np.stack([across[..., 1], -across[..., 0]], axis=-1)
        # Two cameras on one line of sight: no direction is better known than the other.
        known = (across != 0).any(-1)[..., None, None]
        spread, apart = predicted[:, view][chosen], residual[:, view][chosen]
        variance = (across[..., None, :] @ spread @ across[..., None])[..., 0, 0]
        flat = variance[..., None, None] * _outer(across) + ALONG**2 * _outer(along)
        predicted[:, view][chosen] = np.where(known, flat, spread)
        part = (apart * across).sum(-1, keepdims=True) * across
        residual[:, view][chosen] = np.where(known[..., 0], part, apart)
    return residual, predicted


def split_unknown(predicted: Floats) -> tuple[Floats, Floats]:
    """Split covariances (N, 2, 2) of predictions into what is known and what is not: along lines that do not count."""
    values, axes = np.linalg.eigh(predicted)
    unknown = np.where(values > ALONG**2 * (1 - 1e-6), values, 0.0)
    left = (axes * unknown[..., None, :]) @ transpose(axes)
    return predicted - left, left


def _seen_about(seen: Flags) -> Flags:
    """Return True (T, V, K) where a view sees a keypoint in the frame or in one near it."""
    total = np.cumsum(np.pad(seen.astype(np.intp), [(NEAR + 1, NEAR), (0, 0), (0, 0)]), axis=0)
    return np.asarray(total[2 * NEAR + 1 :] > total[: -2 * NEAR - 1])


def across_lines(derivative: Floats, other: Floats) -> Floats:
    """Return the unit vectors (..., 2) across the epipolar lines of another view's rays; 0 where a line is a point.

    Args:
        derivative: (..., 2, 3) derivatives of the projections by the position.
        other: (..., 2, 3) those of the other view.
    """
    ray = np.cross(other[..., 0, :], other[..., 1, :])  # moves no pixel of the other view
    line = (derivative @ ray[..., None])[..., 0]
    length = np.linalg.norm(line, axis=-1, keepdims=True)
    along = np.divide(line, length, out=np.zeros_like(line), where=length > 0)
    return np.stack([-along[..., 1], along[..., 0]], axis=-1)


def _outer(vectors: Floats) -> Floats:
    return np.asarray(vectors[..., :, None] * vectors[..., None, :])
