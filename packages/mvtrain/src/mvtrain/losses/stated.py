"""Loss of the covariances that a network states: the likelihood of its errors in 2D and in 3D."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mvgeom import CameraGroup, project, projection_jacobian, triangulate
from mvtrain.data.batch import Batch
from mvtrain.losses.geometric import frame_labels
from mvtrain.losses.heatmap import masked_mean
from mvtrain.model.inference import Prediction
from mvtrain.project.label_tables import VISIBLE

STATED_WEIGHT = 0.01
"""Weight of the loss in the total.

No gradient reaches the rest of the network, and the optimizer divides it by its own size: the weight only keeps it from
counting where the gradients of all weights are clipped by their common norm.
"""

_RELATIVE = 1e-5
"""Share of its trace that is added to the information about a point, for points of which a direction is not seen."""


def stated_covariance_loss(prediction: Prediction, batch: Batch) -> Tensor:
    """Compute the mean negative log-likelihood of a batch's errors under the stated covariances, in 2D and in 3D.

    In 2D it is that of the distance between keypoint and label in model px. In 3D it is that of the distance between
    the point that all views weighted by their precision give and the point of the labels, see `point_loss`: covariances
    that are right for each view, but whose errors the views share, are corrected by it.

    Args:
        prediction: Prediction with stated covariances.
        batch: Batch that it is of.

    Returns:
        A scalar; 0 with zero gradient where there is no label.
    """
    covariance = prediction.full_covariance
    if covariance is None:
        raise ValueError("the network states no covariances")
    scale = batch.to_model[:, :, None, :, :2]
    error = (prediction.model_points - batch.points).detach()
    likelihood = gaussian_log_likelihood(error, scale @ covariance @ scale.mT)
    in_2d = masked_mean(-likelihood, batch.visibility == VISIBLE)
    if batch.cameras is None or len(batch.cameras) < 2:
        return in_2d
    labels = triangulate(frame_labels(batch), batch.cameras)
    present = batch.calibrated[:, None]
    present = present.expand(covariance.shape[:2]) if batch.view_mask is None else present & batch.view_mask
    return in_2d + point_loss(prediction.full_points.detach(), covariance, labels, batch.cameras, present)


def gaussian_log_likelihood(error: Tensor, covariance: Tensor) -> Tensor:
    """Return log densities (...) of errors (..., 2) under centered Gaussians of covariances (..., 2, 2)."""
    xx, xy, yy = (covariance[..., row, column] for row, column in ((0, 0), (0, 1), (1, 1)))
    determinant = xx * yy - xy.square()
    x, y = error.unbind(-1)
    squared = (yy * x.square() - 2 * xy * x * y + xx * y.square()) / determinant
    return -0.5 * (squared + determinant.log()) - math.log(2 * math.pi)


def point_loss(points: Tensor, covariance: Tensor, labels: Tensor, cameras: CameraGroup, present: Tensor) -> Tensor:
    """Compute the mean negative log-likelihood of the errors of precision-weighted triangulation.

    The triangulation is one Gauss-Newton step from the label, exact to first order of the error: with residuals r
    there, Jacobians J and precisions W, the information is A = sum J' W J and the error d = A^-1 sum J' W r. Its log
    density under A^-1 is taken relative to the volume of precisions of 1/px^2, so that the unit of length drops out.

    Args:
        points: (B, V, K, 2) keypoints in full-image px.
        covariance: (B, V, K, 2, 2) their stated covariances in px^2.
        labels: (B, K, 3) labels in 3D; NaN where missing.
        cameras: (B, V) cameras.
        present: (B, V) False for views that do not count.

    Returns:
        A scalar; 0 with zero gradient where no label is known.
    """
    residual = points - project(labels, cameras)
    jacobian = projection_jacobian(labels, cameras)
    seen = torch.isfinite(residual).all(-1) & torch.isfinite(jacobian).all((-1, -2)) & present[..., None]
    counted = seen.sum(1) >= 2
    used = (seen & counted[:, None])[..., None]
    residual = torch.where(used, residual, 0)
    jacobian = torch.where(used[..., None], jacobian, 0)
    weighted = jacobian.mT @ _inverse(covariance)
    information = _regular((weighted @ jacobian).sum(1))
    # cholesky_ex does not make the host wait for the device's word on whether a matrix is positive definite.
    factor = torch.linalg.cholesky_ex(information).L
    gradient = (weighted @ residual[..., None]).sum(1)
    squared = (gradient * torch.cholesky_solve(gradient, factor)).sum((-2, -1))
    of_pixels = torch.linalg.cholesky_ex(_regular((jacobian.mT @ jacobian).sum(1))).L
    volume = 2 * (_log_diagonal(factor) - _log_diagonal(of_pixels))
    return masked_mean(0.5 * (squared - volume), counted)


def _log_diagonal(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _regular(information: Tensor) -> Tensor:
    """Add a small share of its trace to the information (B, K, 3, 3); one where there is none becomes the identity."""
    trace = information.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    unit = torch.eye(3, dtype=information.dtype, device=information.device)
    return information + torch.where(trace > 0, _RELATIVE * trace, 1.0) * unit


def _inverse(covariance: Tensor) -> Tensor:
    xx, xy, yy = (covariance[..., row, column] for row, column in ((0, 0), (0, 1), (1, 1)))
    adjugate = torch.stack([torch.stack([yy, -xy], dim=-1), torch.stack([-xy, xx], dim=-1)], dim=-2)
    return adjugate / (xx * yy - xy.square())[..., None, None]
