"""Heatmaps to coordinates and confidence."""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA = 1.25
"""Standard deviation of target heatmaps, in heatmap px."""

WINDOW_RADIUS = 4
"""Half the side of the decoding window in heatmap px: beyond three sigma of a target."""


def decode(logits: Tensor, *, sigma: float = SIGMA, radius: int = WINDOW_RADIUS) -> tuple[Tensor, Tensor]:
    """Keypoints and confidence from heatmap logits.

    The mean is taken in a window around the highest pixel: mass elsewhere, such as a flat background, cannot move the
    point, so a diffuse heatmap is no way to satisfy a loss on coordinates. The image border cuts windows off, and the
    mean of a cut Gaussian is biased; the bias is that of a Gaussian of the target's width, known in closed form, and
    is removed by Newton's method.

    Args:
        logits: (..., h, w); the heatmap is their softmax.
        sigma: width of the target Gaussians in heatmap px.
        radius: half the side of the window in heatmap px.

    Returns:
        points (..., 2) in heatmap px, differentiable; confidence (...) in [0, 1], the mass inside the window.
    """
    height, width = logits.shape[-2:]
    flat = logits.flatten(-2).float()
    heatmap = flat.softmax(-1)
    peak = flat.argmax(-1)
    offsets = torch.arange(-radius, radius + 1, device=logits.device)
    rows = (peak // width)[..., None] + offsets
    columns = (peak % width)[..., None] + offsets
    rows_inside = (rows >= 0) & (rows < height)
    columns_inside = (columns >= 0) & (columns < width)
    pixels = rows.clamp(0, height - 1)[..., :, None] * width + columns.clamp(0, width - 1)[..., None, :]
    inside = rows_inside[..., :, None] & columns_inside[..., None, :]
    window = heatmap.gather(-1, pixels.flatten(-2)).reshape(inside.shape) * inside
    mass = window.sum((-2, -1))
    # The peak is at least 1 / (h w), so the division is safe.
    window = window / mass[..., None, None]
    points = torch.stack(
        [
            _undo_truncation((window.sum(-2) * columns).sum(-1), columns, columns_inside, sigma),
            _undo_truncation((window.sum(-1) * rows).sum(-1), rows, rows_inside, sigma),
        ],
        dim=-1,
    )
    return points, mass.clamp(max=1)


def _undo_truncation(mean: Tensor, pixels: Tensor, inside: Tensor, sigma: float, steps: int = 3) -> Tensor:
    """The centre of a Gaussian whose mean over the pixels inside the image is `mean`.

    Newton's method on f(c) = sum x g(x - c) / sum g(x - c), whose derivative is the variance over sigma^2.
    """
    center = mean
    # A peak at the border may belong to a Gaussian whose centre lies up to half a pixel outside the image.
    lowest = torch.where(inside, pixels, pixels.amax(-1, keepdim=True)).amin(-1) - 0.5
    highest = torch.where(inside, pixels, pixels.amin(-1, keepdim=True)).amax(-1) + 0.5
    for _ in range(steps):
        weights = torch.exp(-0.5 * ((pixels - center[..., None]) / sigma) ** 2) * inside
        weights = weights / weights.sum(-1, keepdim=True)
        expected = (weights * pixels).sum(-1)
        variance = (weights * (pixels - expected[..., None]) ** 2).sum(-1)
        center = center + (mean - expected) * sigma**2 / variance.clamp(min=0.1)
        center = torch.minimum(torch.maximum(center, lowest), highest)
    return center


def heatmap_to_model(points: Tensor, downsample_factor: int) -> Tensor:
    """Heatmap px to model px."""
    stride = 2**downsample_factor
    return (points + 0.5) * stride - 0.5


def model_to_heatmap(points: Tensor, downsample_factor: int) -> Tensor:
    """Model px to heatmap px."""
    return (points + 0.5) / 2**downsample_factor - 0.5
