"""Standard deviations of refined cameras for keypoints whose errors are correlated in time and by keypoint."""

from __future__ import annotations

import numpy as np

from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.bundle import Booleans, Views, linearize
from mvgeom.calibration.schur import Loss, Solution, robust_weights

__all__ = ["clustered_covariance"]

_NUM_STRETCHES = 10
_MIN_CLUSTERS = 3


def clustered_covariance(
    solution: Solution, views: Views, free: Booleans, frame: Ints, keypoint: Ints, *, loss: Loss, loss_scale: float
) -> Floats:
    """Compute the covariance of the camera parameters without the assumption of independent errors.

    A detector errs alike in neighboring frames, and puts a keypoint of one view beside that of another view in all
    frames. Observations are therefore grouped twice, into stretches of time and by keypoint; the sums of their
    gradients over groups take the place of the assumed variance (sandwich estimator, clustered in two ways: Cameron,
    Gelbach and Miller 2011). A way with fewer than three groups is left out. The curvature of the robust loss is
    accounted for on average.

    Args:
        solution: Adjusted cameras and points.
        views: Observations, one point per view.
        free: (V, C) booleans, true for camera parameters that were adjusted.
        frame: (B,) frame of each point.
        keypoint: (B,) keypoint of each point.
        loss: Loss of the adjustment.
        loss_scale: Its scale in px.

    Returns:
        Covariance (V, C, V, C), in the units of the parameters.
    """
    linear = linearize(solution.scene, views)
    weight = robust_weights(linear.residuals, loss, loss_scale)
    num_views, size = free.shape
    by_view = np.einsum("gpic,gpi->gc", linear.by_camera, linear.residuals * (views.weights * weight)[..., None])
    by_point = np.zeros((views.num_blocks, num_views, size))
    np.add.at(by_point, (views.block, views.camera), by_view)
    gradients = (by_point * free).reshape(views.num_blocks, -1)

    order = np.unique(frame, return_inverse=True)[1]
    stretch = order * min(_NUM_STRETCHES, int(order.max()) + 1) // (int(order.max()) + 1)
    both = np.unique(np.stack([stretch, keypoint], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    groupings = [each for each in (stretch, keypoint) if len(np.unique(each)) >= _MIN_CLUSTERS]
    if len(groupings) == 2:
        meat = _by_group(gradients, stretch) + _by_group(gradients, keypoint) - _by_group(gradients, both)
    else:
        # Of one keypoint, as of a lamp, groups of both kinds are stretches, and their difference would be nothing.
        meat = _by_group(gradients, groupings[0] if groupings else np.arange(len(gradients)))
    values, vectors = np.linalg.eigh(meat)
    meat = (vectors * np.maximum(values, 0)) @ vectors.T
    bread = solution.covariance.reshape(len(meat), -1) * _flatness(linear.residuals, views, weight, loss, loss_scale)
    return np.asarray(bread @ meat @ bread.T).reshape(solution.covariance.shape)


def _by_group(gradients: Floats, group: Ints) -> Floats:
    """Return the sum of outer products of the groups' gradients."""
    names, places = np.unique(group, return_inverse=True)
    sums = np.zeros((len(names), gradients.shape[1]))
    np.add.at(sums, places, gradients)
    return np.asarray(sums.T @ sums) * len(names) / (len(names) - 1)


def _flatness(error: Floats, views: Views, weight: Floats, loss: Loss, scale: float) -> float:
    """Return the sum of the weights divided by the sum of the loss's second derivatives; 1 for a linear loss."""
    s = (error * error).sum(-1) / scale**2
    # Along the residual the second derivative is w + 2 s dw/ds, across it is w.
    slope = {"cauchy": -(weight**2), "huber": np.where(s > 1, -0.5 * weight / np.maximum(s, 1), 0.0)}
    slope["soft_l1"] = -0.5 * weight / (1 + s)
    along = weight + 2 * s * slope.get(loss, np.zeros_like(s))
    counted = views.weights
    return float((counted * weight).sum() / max(float((counted * (weight + along) / 2).sum()), 1e-9))
