"""One forward pass, from uint8 images to keypoints in frame px."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mvgeom import affine
from mvtrain.data.batch import Batch
from mvtrain.model.decode import decode, heatmap_to_model


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
