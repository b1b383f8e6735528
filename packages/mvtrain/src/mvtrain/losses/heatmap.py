"""Heatmap losses: predicted heatmaps against Gaussian targets.

A target is kept as its two factors along x and y: building it costs h + w numbers instead of h * w, and sums over its
pixels factor too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mvtrain.model.decode import SIGMA
from mvtrain.project.label_tables import OCCLUDED

HeatmapLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Function from logits, target along x, target along y and the mask of valid keypoints to a scalar."""

GRADIENT_SCALES = {"mse": 1.0, "kl": 40.0, "js": 8.0}
"""Size of each loss's gradient relative to that of `mse`, in a network that has found its keypoints (measured by
`benchmarks/loss_gradients.py`). Weights of all other losses are multiplied by it, so that `log_weight` means the same
strength beside any heatmap loss."""

GUIDE_WEIGHT = 0.05
"""Weight of `starvation_guide` beside `mse`: flat heatmaps get as much gradient from it as peaks get from `mse`."""


def gaussian_factors(points: Tensor, size: tuple[int, int], sigma: float = SIGMA) -> tuple[Tensor, Tensor]:
    """Make Gaussians over a heatmap as factors along x (..., w) and y (..., h); each sums to 1 over the pixels.

    Args:
        points: (..., 2) centers in heatmap px, finite. Centers far outside give all the mass to the nearest border
            pixels.
        size: Height and width in heatmap px.
        sigma: Standard deviation in heatmap px.
    """
    factors = []
    for axis, length in ((0, size[1]), (1, size[0])):
        pixels = torch.arange(length, device=points.device, dtype=points.dtype)
        # softmax, not exp: it sums to 1 over the pixels and does not underflow for a center far outside.
        factors.append(torch.softmax(-0.5 * ((pixels - points[..., axis, None]) / sigma) ** 2, dim=-1))
    return factors[0], factors[1]


def target_factors(
    points: Tensor, visibility: Tensor, size: tuple[int, int], sigma: float = SIGMA
) -> tuple[Tensor, Tensor]:
    """Make target heatmaps as factors along x and y: Gaussian where the label is visible, uniform where occluded.

    Args:
        points: (..., 2) labels in heatmap px, finite also where they are missing.
        visibility: (...) `EXCLUDED`, `OCCLUDED` or `VISIBLE`.
        size: Height and width in heatmap px.
        sigma: Standard deviation in heatmap px.
    """
    along_x, along_y = gaussian_factors(points, size, sigma)
    occluded = (visibility == OCCLUDED)[..., None]
    return torch.where(occluded, 1 / size[1], along_x), torch.where(occluded, 1 / size[0], along_y)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average the values where the mask is True; 0, with zero gradient, where it is True nowhere."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def heatmap_mse(logits: Tensor, target_x: Tensor, target_y: Tensor, valid: Tensor) -> Tensor:
    """Compute the squared difference of heatmaps, summed over pixels, averaged over valid keypoints.

    Args:
        logits: (..., h, w); their softmax over all pixels is the predicted heatmap.
        target_x: (..., w) target along x.
        target_y: (..., h) target along y.
        valid: (...) True for keypoints that count. With none, the loss is 0 and so is its gradient.
    """
    heatmap = logits.flatten(-2).softmax(-1).reshape(logits.shape)
    target = target_y[..., :, None] * target_x[..., None, :]
    return masked_mean((heatmap - target).square().sum((-2, -1)), valid)


def heatmap_kl(logits: Tensor, target_x: Tensor, target_y: Tensor, valid: Tensor) -> Tensor:
    """Compute the Kullback-Leibler divergence of the target from the prediction in nats; arguments as `heatmap_mse`."""
    log_heatmap = logits.flatten(-2).log_softmax(-1).reshape(logits.shape)
    target = target_y[..., :, None] * target_x[..., None, :]
    cross_entropy = -(target * log_heatmap).sum((-2, -1))
    return masked_mean(cross_entropy - _entropy(target_x) - _entropy(target_y), valid)


def heatmap_js(logits: Tensor, target_x: Tensor, target_y: Tensor, valid: Tensor) -> Tensor:
    """Compute the Jensen-Shannon divergence of both in nats, at most log 2; arguments as for `heatmap_mse`."""
    log_heatmap = logits.flatten(-2).log_softmax(-1).reshape(logits.shape)
    target = target_y[..., :, None] * target_x[..., None, :]
    # The floor is far below any pixel of a mixture that matters, and keeps 0 log 0 and its gradient finite.
    floor = torch.finfo(log_heatmap.dtype).tiny
    log_target = target.clamp(min=floor).log()
    log_mixture = torch.logaddexp(log_heatmap, log_target) - math.log(2)
    divergence = 0.5 * (
        (log_heatmap.exp() * (log_heatmap - log_mixture)).sum((-2, -1))
        + (target * (log_target - log_mixture)).sum((-2, -1))
    )
    return masked_mean(divergence, valid)


def starvation_guide(logits: Tensor, target_x: Tensor, target_y: Tensor, valid: Tensor) -> Tensor:
    """Compute a divergence that helps heatmaps without a peak learn under `heatmap_mse`; arguments as `heatmap_mse`.

    The gradient of the squared difference through the softmax is proportional to the probability, 1 / (h w) on a flat
    heatmap, so keypoints that have no peak yet get a hundredth of the gradient of those that have one, and may never
    learn. The Kullback-Leibler divergence has no such factor. Here each keypoint's divergence is weighted by the total
    variation distance of prediction and target, without gradient: 1 where they do not overlap, 0 where they are equal,
    so that it fades where there is a peak in the right place.
    """
    log_heatmap = logits.flatten(-2).log_softmax(-1).reshape(logits.shape)
    target = target_y[..., :, None] * target_x[..., None, :]
    distance = 0.5 * (log_heatmap.detach().exp() - target).abs().sum((-2, -1))
    cross_entropy = -(target * log_heatmap).sum((-2, -1))
    return masked_mean(distance * (cross_entropy - _entropy(target_x) - _entropy(target_y)), valid)


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.xlogy(probabilities, probabilities).sum(-1)


HEATMAP_LOSSES: dict[str, HeatmapLoss] = {"mse": heatmap_mse, "kl": heatmap_kl, "js": heatmap_js}
"""Heatmap losses by their name in `model.heatmap_loss_type`."""
