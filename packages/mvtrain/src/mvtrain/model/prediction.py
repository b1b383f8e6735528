"""One forward pass, from uint8 images to keypoints in frame px."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mvgeom import affine
from mvtrain.data.batch import Batch
from mvtrain.model.decode import decode, heatmap_covariance, heatmap_to_model, model_to_heatmap


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model says about a batch; everything is differentiable.

    Attributes:
        logits: (B, V, K, h, w) heatmap logits, float32.
        model_points: (B, V, K, 2) keypoints in model px.
        frame_points: (B, V, K, 2) keypoints in px of the full frame, the one calibration speaks of.
        confidence: (B, V, K) in [0, 1].
        downsample_factor: heatmap px are 2 to this power model px wide.
    """

    logits: Tensor
    model_points: Tensor
    frame_points: Tensor
    confidence: Tensor
    downsample_factor: int

    @property
    def model_covariance(self) -> Tensor:
        """(B, V, K, 2, 2) covariance of each keypoint in model px^2, x before y; see `heatmap_covariance`.

        Computed anew at every call, and so never in a training step, which has no use for it. For a view that has no
        image it means as little as the point.
        """
        stride = 2**self.downsample_factor
        points = model_to_heatmap(self.model_points, self.downsample_factor)
        return heatmap_covariance(self.logits, points) * stride**2


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 to float32 with a mean and standard deviation (3,) for values in [0, 1]."""
    mean, std = mean[:, None, None], std[:, None, None]
    return (images.float() / 255 - mean) / std


def to_prediction(logits: Tensor, batch: Batch, downsample_factor: int) -> Prediction:
    """Decode heatmap logits and undo the batch's image maps, in float32 whatever the precision of the model."""
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        heatmap_points, confidence = decode(logits)
        model_points = heatmap_to_model(heatmap_points, downsample_factor)
        frame_points = affine.apply(affine.invert(batch.to_model), model_points)
    return Prediction(
        logits=logits,
        model_points=model_points,
        frame_points=frame_points,
        confidence=confidence,
        downsample_factor=downsample_factor,
    )
