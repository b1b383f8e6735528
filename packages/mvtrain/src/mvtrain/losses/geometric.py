"""3D losses: pairwise triangulated predictions against labels, reprojected predictions against heatmap targets."""

from __future__ import annotations

import torch
from torch import Tensor

from mvgeom import CameraGroup, affine, pair_parallax, project, triangulate, triangulate_pairs
from mvtrain.data.batch import Batch
from mvtrain.losses.heatmap import gaussian_factors, masked_mean, target_factors
from mvtrain.model.decode import SIGMA, model_to_heatmap
from mvtrain.model.inference import Prediction
from mvtrain.project.label_tables import VISIBLE


def pairwise_projection_loss(
    predicted: Tensor, labeled: Tensor, weights: Tensor, *, scale: Tensor | float = 1.0, max_distance: float = 1.0
) -> Tensor:
    """Average the squared 3D distances between triangulated predictions and labels of each pair of views.

    Labels are triangulated pair by pair like the predictions, so that a camera whose pose is a little off displaces
    both alike: the loss is zero exactly where predictions equal labels.

    Args:
        predicted: (B, P, K, 3) world, from `mvgeom.triangulate_pairs` on the predictions.
        labeled: (B, P, K, 3) world, from the same on the labels; NaN where a label is missing.
        weights: (B, P, K) at least 0: the pair's precision in depth times the confidence of its predictions. The loss
            is the weighted mean, so that weights of another scale change nothing.
        scale: Subject's size in world units; distances are divided by it. 1 gives world units.
        max_distance: Distance, after division, beyond which the loss grows linearly instead of quadratically: one
            triangulation that is far off does not dominate the batch.

    Returns:
        A scalar; 0 with zero gradient where no pair has both.
    """
    valid = torch.isfinite(labeled).all(-1) & torch.isfinite(predicted).all(-1) & (weights > 0)
    # Fill before subtracting: NaN times zero is NaN in the backward pass.
    difference = torch.where(valid[..., None], predicted, 0) - torch.where(valid[..., None], labeled, 0)
    squared = (difference / scale).square().sum(-1)
    # Huber on the distance, written on its square so that the gradient at distance 0 is 0 and finite.
    beyond = squared > max_distance**2
    distance = torch.where(beyond, squared, 1).sqrt()
    robust = torch.where(beyond, max_distance * (2 * distance - max_distance), squared)
    weights = torch.where(valid, weights, 0)
    normalized = weights * valid.sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
    return masked_mean(robust * normalized, valid)


def reprojection_heatmap_mse(
    reprojected: Tensor,
    target_x: Tensor,
    target_y: Tensor,
    valid: Tensor,
    *,
    size: tuple[int, int],
    sigma: float = SIGMA,
) -> Tensor:
    """Compare the heatmap of the reprojected point with the target by squared difference, reduced like `heatmap_mse`.

    Both heatmaps are outer products, so the sum over pixels is one of products of sums over rows and columns, and no
    heatmap is built.

    Args:
        reprojected: (B, V, K, 2) heatmap px of the triangulated predictions in every view; NaN where there is none.
        target_x: (B, V, K, w) target along x.
        target_y: (B, V, K, h) target along y.
        valid: (B, V, K) True for labels that count.
        size: Height and width in heatmap px.
        sigma: Standard deviation of the heatmaps in heatmap px.

    Returns:
        A scalar; 0 with zero gradient where nothing counts.
    """
    valid = valid & torch.isfinite(reprojected).all(-1)
    along_x, along_y = gaussian_factors(torch.where(valid[..., None], reprojected, 0), size, sigma)
    squared = (
        along_x.square().sum(-1) * along_y.square().sum(-1)
        - 2 * (along_x * target_x).sum(-1) * (along_y * target_y).sum(-1)
        + target_x.square().sum(-1) * target_y.square().sum(-1)
    )
    return masked_mean(squared, valid)


def pairwise_projections(prediction: Prediction, batch: Batch, scale: float) -> Tensor:
    """Compute `supervised_pairwise_projections` of a batch.

    A pair counts by the confidence of both predictions and by sin^2 of its parallax at the label, to which the
    precision of its depth is proportional: pairs of cameras with nearly parallel rays do not dominate the mean.
    """
    cameras, labels = _cameras(batch), frame_labels(batch)
    truth = triangulate_pairs(labels, cameras)
    predicted = triangulate_pairs(prediction.full_points, cameras)
    weights = _pair_weights(prediction_weights(prediction, batch), labels, cameras)
    return pairwise_projection_loss(predicted, truth, weights, scale=scale)


def reprojection_heatmaps(prediction: Prediction, batch: Batch, scale: float) -> Tensor:
    """Compute `supervised_reprojection_heatmap_mse` of a batch; in heatmap px, so that `scale` has no effect."""
    del scale
    cameras = _cameras(batch)
    points_3d = triangulate(prediction.full_points, cameras, weights=prediction_weights(prediction, batch))
    reprojected = affine.apply(batch.to_model, project(points_3d, cameras))
    factor = prediction.downsample_factor
    size = (prediction.logits.shape[-2], prediction.logits.shape[-1])
    target_x, target_y = target_factors(model_to_heatmap(batch.points, factor), batch.visibility, size)
    valid = (batch.visibility == VISIBLE) & batch.calibrated[:, None, None]
    return reprojection_heatmap_mse(model_to_heatmap(reprojected, factor), target_x, target_y, valid, size=size)


def frame_labels(batch: Batch) -> Tensor:
    """Return (B, V, K, 2) visible labels of calibrated samples in full-image px, as augmented; NaN where missing."""
    usable = (batch.visibility == VISIBLE) & batch.calibrated[:, None, None]
    return torch.where(usable[..., None], affine.apply(affine.invert(batch.to_model), batch.points), torch.nan)


def prediction_weights(prediction: Prediction, batch: Batch) -> Tensor:
    """Return (B, V, K) weights of predictions in a triangulation: their confidence, 0 for views without an image.

    Without gradient: a network must not lower a loss by lowering its confidence.
    """
    confidence = prediction.confidence.detach()
    return confidence if batch.view_mask is None else confidence * batch.view_mask[..., None]


def _pair_weights(weights: Tensor, labels: Tensor, cameras: CameraGroup) -> Tensor:
    """Multiply both predictions' weights and sin^2 of the parallax to (B, P, K); 0 where a label is missing."""
    # Slices, not index lists, which would be copied to the device while the host waits.
    both = torch.cat([weights[:, one : one + 1] * weights[:, one + 1 :] for one in range(len(cameras) - 1)], dim=1)
    parallax = torch.deg2rad(pair_parallax(labels, cameras))
    return (both * parallax.sin().square()).nan_to_num()


def _cameras(batch: Batch) -> CameraGroup:
    if batch.cameras is None:
        raise ValueError("3D losses need calibrated cameras, and no sample of this batch has any")
    return batch.cameras
