"""The reprojected heatmap loss: predictions of all views, triangulated and projected back, make the target heatmap."""

from __future__ import annotations

import torch
from torch import Tensor

from mvtrain.losses.heatmap import gaussian_factors, masked_mean
from mvtrain.model.decode import SIGMA


def reprojection_heatmap_mse(
    reprojected: Tensor,
    target_x: Tensor,
    target_y: Tensor,
    valid: Tensor,
    *,
    size: tuple[int, int],
    sigma: float = SIGMA,
) -> Tensor:
    """Squared difference between the heatmap of the reprojected point and the target, reduced like `heatmap_mse`.

    Both heatmaps are outer products, so the sum over pixels is one of products of sums over rows and columns, and no
    heatmap is ever built.

    Args:
        reprojected: (B, V, K, 2) heatmap px of the triangulated predictions in every view; NaN where there is none.
        target_x: (B, V, K, w) target along x.
        target_y: (B, V, K, h) target along y.
        valid: (B, V, K) labels that count.
        size: height and width in heatmap px.
        sigma: of the heatmaps.

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
