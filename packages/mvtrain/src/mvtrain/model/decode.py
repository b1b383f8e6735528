"""Coordinates, confidence and covariance of keypoints from their heatmaps."""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA = 1.25
"""Standard deviation of target heatmaps, in heatmap px."""

WINDOW_RADIUS = 4
"""Half the side of the decoding window in heatmap px: beyond three sigma of a target."""

COVARIANCE_RADIUS = 8
"""Half the side of the window of the covariance in heatmap px: wide enough for heatmaps of twice a target's width."""


def decode(logits: Tensor, *, sigma: float = SIGMA, radius: int = WINDOW_RADIUS) -> tuple[Tensor, Tensor]:
    """Decode heatmap logits into keypoints and confidence.

    The mean is taken in a window around the highest pixel: mass elsewhere, such as a flat background, cannot move the
    point, so a diffuse heatmap cannot satisfy a loss on coordinates. The image border cuts windows off, and the
    mean of a cut Gaussian is biased; the bias is that of a Gaussian of the target's width, known in closed form, and
    is removed by Newton's method.

    Args:
        logits: (..., h, w); the heatmap is their softmax.
        sigma: Standard deviation of the target Gaussians in heatmap px.
        radius: Half the side of the window in heatmap px.

    Returns:
        Points (..., 2) in heatmap px, differentiable; confidence (...) in [0, 1], the mass inside the window.
    """
    peak = logits.flatten(-2).argmax(-1)
    window, (rows, rows_inside), (columns, columns_inside) = _cut_window(logits, peak, radius)
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


def heatmap_covariance(
    logits: Tensor, points: Tensor, *, sigma: float = SIGMA, radius: int = COVARIANCE_RADIUS
) -> Tensor:
    """Compute the covariance of heatmaps around their decoded points.

    Like the points it is that of a window: mass elsewhere, a second peak or a flat background, lowers the confidence
    instead. The part of a Gaussian of the target's width that the window and the image border cut off is restored in
    closed form, so the covariance of a target is sigma^2 anywhere; the target's own width is thus part of it. Of wider
    heatmaps the window loses more: 4 % of the variance at 2.4 sigma, 18 % at 3.2 sigma.

    Args:
        logits: (..., h, w); the heatmap is their softmax.
        points: (..., 2) in heatmap px, from `decode`; finite, inside the image or at most a pixel outside.
        sigma: Standard deviation of the target Gaussians in heatmap px.
        radius: Half the side of the window in heatmap px.

    Returns:
        (..., 2, 2) in heatmap px^2, symmetric, x before y.
    """
    height, width = logits.shape[-2:]
    center = points.detach().round().long()
    peak = center[..., 1].clamp(0, height - 1) * width + center[..., 0].clamp(0, width - 1)
    window, (rows, rows_inside), (columns, columns_inside) = _cut_window(logits, peak, radius)
    window = window / window.sum((-2, -1), keepdim=True).clamp(min=torch.finfo(window.dtype).tiny)
    along_x, along_y = window.sum(-2), window.sum(-1)
    x = columns - (along_x * columns).sum(-1, keepdim=True)
    y = rows - (along_y * rows).sum(-1, keepdim=True)
    # A cut Gaussian is narrower than a whole one: each axis is stretched by the factor that the target needs there.
    stretch_x = _lost_width(points[..., 0], columns, columns_inside, sigma)
    stretch_y = _lost_width(points[..., 1], rows, rows_inside, sigma)
    xx = (along_x * x.square()).sum(-1) * stretch_x.square()
    yy = (along_y * y.square()).sum(-1) * stretch_y.square()
    xy = ((window * x[..., None, :]).sum(-1) * y).sum(-1) * stretch_x * stretch_y
    return torch.stack([torch.stack([xx, xy], dim=-1), torch.stack([xy, yy], dim=-1)], dim=-2)


def heatmap_to_model(points: Tensor, downsample_factor: int) -> Tensor:
    """Convert heatmap px to model px."""
    stride = 2**downsample_factor
    return (points + 0.5) * stride - 0.5


def model_to_heatmap(points: Tensor, downsample_factor: int) -> Tensor:
    """Convert model px to heatmap px."""
    return (points + 0.5) / 2**downsample_factor - 0.5


def _cut_window(
    logits: Tensor, peak: Tensor, radius: int
) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Cut the heatmap (..., n, n) around a pixel, 0 outside the image; also its rows and columns."""
    height, width = logits.shape[-2:]
    heatmap = logits.flatten(-2).float().softmax(-1)
    offsets = torch.arange(-radius, radius + 1, device=logits.device)
    rows = (peak // width)[..., None] + offsets
    columns = (peak % width)[..., None] + offsets
    rows_inside = (rows >= 0) & (rows < height)
    columns_inside = (columns >= 0) & (columns < width)
    pixels = rows.clamp(0, height - 1)[..., :, None] * width + columns.clamp(0, width - 1)[..., None, :]
    inside = rows_inside[..., :, None] & columns_inside[..., None, :]
    window = heatmap.gather(-1, pixels.flatten(-2)).reshape(inside.shape) * inside
    return window, (rows, rows_inside), (columns, columns_inside)


def _undo_truncation(mean: Tensor, pixels: Tensor, inside: Tensor, sigma: float, steps: int = 3) -> Tensor:
    """Find the center of a Gaussian whose mean over the pixels inside the image is `mean`.

    Newton's method on f(c) = sum x g(x - c) / sum g(x - c), whose derivative is the variance over sigma^2.
    """
    center = mean
    # A peak at the border may belong to a Gaussian whose center lies up to half a pixel outside the image.
    lowest = torch.where(inside, pixels, pixels.amax(-1, keepdim=True)).amin(-1) - 0.5
    highest = torch.where(inside, pixels, pixels.amin(-1, keepdim=True)).amax(-1) + 0.5
    for _ in range(steps):
        expected, variance = _cut_gaussian(center, pixels, inside, sigma)
        center = center + (mean - expected) * sigma**2 / variance.clamp(min=0.1)
        center = torch.minimum(torch.maximum(center, lowest), highest)
    return center


def _lost_width(center: Tensor, pixels: Tensor, inside: Tensor, sigma: float) -> Tensor:
    """Compute how many times wider a Gaussian around `center` is than its part on the pixels inside the image."""
    _, variance = _cut_gaussian(center, pixels, inside, sigma)
    return sigma / variance.clamp(min=0.1).sqrt()


def _cut_gaussian(center: Tensor, pixels: Tensor, inside: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Compute mean and variance, over the pixels inside the image, of a Gaussian around `center`."""
    weights = torch.exp(-0.5 * ((pixels - center[..., None]) / sigma) ** 2) * inside
    weights = weights / weights.sum(-1, keepdim=True)
    expected = (weights * pixels).sum(-1)
    return expected, (weights * (pixels - expected[..., None]) ** 2).sum(-1)
