"""Noise of keypoints and of their motion, and the covariances that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Noise", "averaged_covariance", "covariance_from_likelihood", "inlier_probability", "log_density"]

Floats = npt.NDArray[np.float64]

OUTLIER_AREA = 200.0**2
"""px^2 over which outliers are spread evenly; a factor of 4 moves their limit by half a standard deviation."""

FLOORS = (0.05, 1000.0)
"""px; the smallest is far below what labels and networks reach."""

_LEAST_DETERMINANT = 1e-12
"""Smallest determinant of a correlation matrix."""

MAX_STATED = 99.0
"""px^2; the variance that is stated for a likelihood of 1 % or less."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Noise:
    """Noise of a recording: what `smooth` needs, learned from the recording where it is not given.

    The error of keypoint k in view v has the covariance `keypoint[k]^2 (scale[v]^2 C + floor[v]^2 I)`, where C is the
    covariance stated with the keypoint. A share of this variance belongs to errors that decay exponentially in time,
    because a network errs alike on images that are alike. The rest is independent from frame to frame.

    Attributes:
        scale: (V,) factors of the stated standard deviations.
        floor: (V,) standard deviations in px that are added to the stated ones.
        keypoint: (K,) factors of both; their geometric mean is 1.
        share: Share of the variance that is correlated in time, from 0 to below 1.
        decay: Correlation of these errors with themselves one unit of time later, from 0 to below 1.
        motion: (K,) intensities of the white acceleration that disturbs a constant velocity, in the square of the
            positions' unit per cubed unit of time.
        outliers: Share of observations that are outliers, above 0 and below 1.
        window: Time before and after a frame over which the stated covariances of a keypoint in a view are averaged: a
            likelihood, or the spread of a few networks, tells the size of errors for a while better than for a frame.
        factor: Factor of the standard deviations of smoothed positions, 1 or more: by how much they are too small where
            errors are not as all of the above says, see `mvgeom.smoothing.interval_factor`.
    """

    scale: Floats
    floor: Floats
    keypoint: Floats
    share: float
    decay: float
    motion: Floats
    outliers: float
    window: float = 0.0
    factor: float = 1.0

    def covariance(self, stated: Floats) -> Floats:
        """Return the covariances (T, V, K, 2, 2) in px^2 of keypoints with the stated covariances C in px^2."""
        scale, floor = self.scale[:, None, None, None], self.floor[:, None, None, None]
        return np.asarray(self.keypoint[:, None, None] ** 2 * (scale**2 * stated + floor**2 * np.eye(2)))

    def of_views(self, views: list[int]) -> Noise:
        """Return the noise of some of the views."""
        return replace(self, scale=self.scale[views], floor=self.floor[views])

    def of_keypoints(self, keypoints: list[int]) -> Noise:
        """Return the noise of some of the keypoints."""
        return replace(self, keypoint=self.keypoint[keypoints], motion=self.motion[keypoints])


def averaged_covariance(stated: Floats, present: npt.NDArray[np.bool_], times: Floats, window: float) -> Floats:
    """Average stated covariances over time.

    Args:
        stated: (T, V, K, 2, 2) covariances in px^2, finite.
        present: (T, V, K) True where there is a keypoint; the covariances of the others have no part in it.
        times: (T,) times in typical steps, increasing.
        window: Time before and after each frame over which is averaged.

    Returns:
        (T, V, K, 2, 2) averages where there is a keypoint, and what is stated elsewhere.
    """
    if window == 0:
        return stated
    reach = window + 0.5  # a frame that is a little late belongs to it
    first, last = np.searchsorted(times, times - reach), np.searchsorted(times, times + reach, side="right")

    def sums(values: Floats) -> Floats:
        total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
        return np.asarray(total[last] - total[first])

    averaged = stated.copy()
    for view in range(stated.shape[1]):  # one after the other: long recordings take much memory
        there = present[:, view, :, None, None]
        total, count = sums(np.where(there, stated[:, view], 0.0)), sums(there.astype(np.float64))
        averaged[:, view] = np.where(there, total / np.maximum(count, 1.0), stated[:, view])
    return averaged


def covariance_from_likelihood(likelihood: Floats) -> Floats:
    """State covariances (..., 2, 2) in px^2 for keypoints of which only a likelihood is known.

    The variance is 1/likelihood - 1: 0 for certain keypoints, and doubled where the likelihood is halved. Its scale is
    learned.

    Args:
        likelihood: (...) likelihoods from 0 to 1; NaN counts as 0.
    """
    doubt = 1 / np.clip(np.nan_to_num(likelihood, nan=0.0), 1 / (1 + MAX_STATED), 1.0) - 1
    return np.asarray(doubt[..., None, None] * np.eye(2))


def log_density(residual: Floats, covariance: Floats) -> Floats:
    """Return log densities of residuals (..., 2) under centered Gaussians with covariances (..., 2, 2)."""
    a, b, c = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    # Where one direction is uncertain by many orders of magnitude more than the other, the difference is rounding.
    determinant = np.maximum(a * c - b**2, _LEAST_DETERMINANT * a * c)
    x, y = residual[..., 0], residual[..., 1]
    square = (c * x**2 - 2 * b * x * y + a * y**2) / determinant
    return np.asarray(-0.5 * (square + np.log(determinant)) - np.log(2 * np.pi))


def inlier_probability(residual: Floats, covariance: Floats, outliers: float) -> Floats:
    """Return the probabilities that residuals (..., 2) are not those of outliers, given their covariances."""
    inlier = np.log1p(-outliers) + log_density(residual, covariance)
    outlier = np.log(outliers / OUTLIER_AREA)
    return np.asarray(np.exp(inlier - np.logaddexp(inlier, outlier)))
