"""From predicted keypoints to the 3D losses: triangulate, compare, project back."""

from __future__ import annotations

import torch
from torch import Tensor

from mvgeom import CameraGroup, affine, pair_parallax, project, triangulate, triangulate_pairs
from mvtrain.data.batch import Batch
from mvtrain.losses.heatmap import VISIBLE, target_factors
from mvtrain.losses.pairwise import pairwise_projection_loss
from mvtrain.losses.reprojection import reprojection_heatmap_mse
from mvtrain.model.decode import model_to_heatmap
from mvtrain.model.prediction import Prediction


def pairwise_projections(prediction: Prediction, batch: Batch, scale: float) -> Tensor:
    """`supervised_pairwise_projections` of a batch.

    A pair counts by the confidence of both predictions and by sin^2 of its parallax at the label, to which the
    precision of its depth is proportional: cameras that look along one line do not rule the mean.
    """
    cameras, labels = _cameras(batch), frame_labels(batch)
    truth = triangulate_pairs(labels, cameras)
    predicted = triangulate_pairs(prediction.frame_points, cameras)
    weights = _pair_weights(trust(prediction, batch), labels, cameras)
    return pairwise_projection_loss(predicted, truth, weights, scale=scale)


def reprojection_heatmaps(prediction: Prediction, batch: Batch, scale: float) -> Tensor:
    """`supervised_reprojection_heatmap_mse` of a batch; it is measured in heatmaps, so `scale` plays no part."""
    del scale
    cameras = _cameras(batch)
    points_3d = triangulate(prediction.frame_points, cameras, weights=trust(prediction, batch))
    reprojected = affine.apply(batch.to_model, project(points_3d, cameras))
    factor = prediction.downsample_factor
    size = (prediction.logits.shape[-2], prediction.logits.shape[-1])
    target_x, target_y = target_factors(model_to_heatmap(batch.points, factor), batch.visibility, size)
    valid = (batch.visibility == VISIBLE) & batch.calibrated[:, None, None]
    return reprojection_heatmap_mse(model_to_heatmap(reprojected, factor), target_x, target_y, valid, size=size)


def frame_labels(batch: Batch) -> Tensor:
    """(B, V, K, 2) visible labels of calibrated samples in frame px, as augmented; NaN where there is none."""
    usable = (batch.visibility == VISIBLE) & batch.calibrated[:, None, None]
    return torch.where(usable[..., None], affine.apply(affine.invert(batch.to_model), batch.points), torch.nan)


def trust(prediction: Prediction, batch: Batch) -> Tensor:
    """(B, V, K) weights of predictions in a triangulation: their confidence, 0 for views without an image.

    Without gradient: a network must not lower a loss by doubting itself.
    """
    confidence = prediction.confidence.detach()
    return confidence if batch.view_mask is None else confidence * batch.view_mask[..., None]


def _pair_weights(trust: Tensor, labels: Tensor, cameras: CameraGroup) -> Tensor:
    """(B, P, K) product of the trust in both predictions and sin^2 of the parallax; 0 where a label is missing."""
    # Slices, not index lists, which would be copied to the device while the host waits.
    both = torch.cat([trust[:, one : one + 1] * trust[:, one + 1 :] for one in range(len(cameras) - 1)], dim=1)
    parallax = torch.deg2rad(pair_parallax(labels, cameras))
    return (both * parallax.sin().square()).nan_to_num()


def _cameras(batch: Batch) -> CameraGroup:
    if batch.cameras is None:
        raise ValueError("3D losses need calibrated cameras, and no sample of this batch has any")
    return batch.cameras
