"""Views predicted from the others: the judge of smoothed trajectories.

A view that is left out of the whole recording is independent of them: its residuals hold its own error, the uncertainty
of the others, and the motion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mvgeom.smoothing.noise import Noise
from mvgeom.smoothing.passes import Estimate
from mvgeom.smoothing.trajectories import Observations, linearize, project_covariance, smooth_once

__all__ = ["judge", "judge_all"]

Floats = npt.NDArray[np.float64]

FOLDS = 2
"""Parts of a single view's frames, of which each is predicted from the others."""


def judge_all(
    stretches: Sequence[Observations], noise: Noise, estimates: Sequence[Estimate]
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return the results of `judge` for all stretches, one after the other."""
    judged = [judge(stretch, noise, estimate) for stretch, estimate in zip(stretches, estimates, strict=True)]
    residual, predicted, counted = (np.concatenate(parts) for parts in zip(*judged, strict=True))
    return residual, predicted, counted


def judge(observations: Observations, noise: Noise, estimate: Estimate) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Predict each view from the others over the whole stretch, or each part of a single view's frames from the rest.

    Returns:
        Residuals (T, V, K, 2) in px; their covariances (T, V, K, 2, 2) in px^2 but for the keypoint's own noise; and
        which count (T, V, K).
    """
    length, num_views, _ = estimate.weights.shape
    # (L, T, V, 1): which part of the keypoints is left out of which variant.
    if num_views == 1:
        left = (np.arange(length) % FOLDS == np.arange(FOLDS)[:, None])[:, :, None, None]
    else:
        left = np.broadcast_to(np.eye(num_views, dtype=bool)[:, None, :, None], (num_views, length, num_views, 1))
    variants = smooth_once(
        estimate.points, observations, noise, estimate.weights * ~left, estimate.activity, estimate.unit
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
    counted = np.isfinite(residual).all(-1) & np.isfinite(predicted).all((-2, -1))
    return residual, predicted, np.asarray(counted)
