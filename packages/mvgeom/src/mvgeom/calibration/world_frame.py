"""Alignment of adjusted cameras with their original world, because points alone leave its frame and scale open."""

from __future__ import annotations

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.cameras import CameraGroup

__all__ = ["keep_world", "similarity"]

_ROUNDS = 100


def keep_world(
    adjusted: CameraGroup, given: CameraGroup, reach: float, *, hold: str | None = None
) -> tuple[CameraGroup, float]:
    """Transform adjusted cameras by one similarity into the world of the given cameras.

    Args:
        adjusted: V adjusted cameras, at least two, in their own world.
        given: V cameras before the adjustment, in the same order.
        reach: Distance from the cameras to the recorded scene, in the given world's unit; it weights rotations against
            shifts.
        hold: Name of the camera whose pose is kept exactly; the median distance from the other cameras to it is kept
            too. None minimizes the sum of the changes (not squared) of all cameras, so that a wrong camera moves and
            the correct ones stay.

    Returns:
        The moved cameras, and the factor by which lengths grew.
    """
    if hold is not None:
        view = given.names.index(hold)
        others = np.arange(len(given)) != view
        distances = [np.linalg.norm(group.centers[others] - group.centers[view], axis=1) for group in (given, adjusted)]
        scale = float(np.median(distances[0] / distances[1]))
        rotation = given.rotation[view].T @ adjusted.rotation[view]
        shift = given.centers[view] - scale * rotation @ adjusted.centers[view]
    else:
        scale, rotation, shift = _least_change(adjusted, given, reach)
    turned = adjusted.rotation @ rotation.T
    moved = adjusted.replace(rotation=turned, translation=scale * adjusted.translation - turned @ shift)
    return moved, scale


def similarity(source: Floats, target: Floats, weights: Floats) -> tuple[float, Floats, Floats]:
    """Fit scale s, rotation R and translation t that minimize the weighted sum of |s R x + t - y|^2 (Umeyama 1991).

    Args:
        source: (N, 3) points x.
        target: (N, 3) points y.
        weights: (N,) positive weights.
    """
    weights = weights / weights.sum()
    source_mean, target_mean = weights @ source, weights @ target
    centered_source, centered_target = source - source_mean, target - target_mean
    left, values, right = np.linalg.svd((centered_target * weights[:, None]).T @ centered_source)
    sign = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    scale = float((values * sign).sum() / (weights @ (centered_source**2).sum(1)))
    return scale, rotation, target_mean - scale * rotation @ source_mean


def _least_change(adjusted: CameraGroup, given: CameraGroup, reach: float) -> tuple[float, Floats, Floats]:
    """Fit a similarity by iteratively reweighted least squares to the centers and to points ahead and to the right."""
    lengths = [np.linalg.norm(group.centers[:, None] - group.centers, axis=-1).mean() for group in (adjusted, given)]
    source, target = _probes(adjusted, reach * lengths[0] / lengths[1]), _probes(given, reach)
    weights = np.ones(len(given))
    for _ in range(_ROUNDS):
        scale, rotation, shift = similarity(source.reshape(-1, 3), target.reshape(-1, 3), np.repeat(weights, 3))
        change = np.sqrt(((scale * source @ rotation.T + shift - target) ** 2).sum(-1).mean(-1))
        weights = 1 / np.maximum(change, 1e-6 * reach)
    return scale, rotation, shift


def _probes(cameras: CameraGroup, reach: float) -> Floats:
    """Return points (V, 3, 3): the center, a point ahead and a point to the right of each camera."""
    centers: Floats = cameras.centers[:, None]
    return np.concatenate([centers, centers + reach * cameras.rotation[:, [2, 0]]], axis=1)
