"""The 3D pairwise projection loss: each pair of views triangulates its predictions to where it does its labels."""

from __future__ import annotations

import torch
from torch import Tensor

from mvtrain.losses.heatmap import masked_mean


def pairwise_projection_loss(
    predicted: Tensor, labelled: Tensor, weights: Tensor, *, scale: Tensor | float = 1.0, max_distance: float = 1.0
) -> Tensor:
    """Mean squared 3D distance between the triangulated predictions and the triangulated labels of each pair of views.

    Labels are triangulated pair by pair like the predictions, so that a camera whose pose is a little off displaces
    both
    alike: the loss is zero exactly where predictions equal labels.

    Args:
        predicted: (B, P, K, 3) world, from `mvgeom.triangulate_pairs` on the predictions.
        labelled: (B, P, K, 3) world, from the same on the labels; NaN where a label is missing.
        weights: (B, P, K) at least 0: how well the pair constrains depth, and how far the predictions can be trusted.
            The loss is the weighted mean, so that weights of another scale change nothing.
        scale: the subject's size in world units; distances are divided by it. 1 gives calibration units.
        max_distance: distance, after division, beyond which the loss grows linearly instead of quadratically: one
            wild triangulation does not rule the batch.

    Returns:
        A scalar; 0 with zero gradient where no pair has both.
    """
    valid = torch.isfinite(labelled).all(-1) & torch.isfinite(predicted).all(-1) & (weights > 0)
    # Fill before subtracting: NaN times zero is NaN in the backward pass.
    difference = torch.where(valid[..., None], predicted, 0) - torch.where(valid[..., None], labelled, 0)
    squared = (difference / scale).square().sum(-1)
    # Huber on the distance, written on its square so that the gradient at distance 0 is 0 and finite.
    beyond = squared > max_distance**2
    distance = torch.where(beyond, squared, 1).sqrt()
    robust = torch.where(beyond, max_distance * (2 * distance - max_distance), squared)
    weights = torch.where(valid, weights, 0)
    normalized = weights * valid.sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
    return masked_mean(robust * normalized, valid)
