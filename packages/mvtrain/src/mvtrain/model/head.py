"""From patch features to heatmap logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class HeatmapHead(nn.Module):
    """Upsamples patch features to heatmaps that lie exactly on the image.

    Sub-pixel convolution doubles the resolution once; interpolation then reaches the heatmap's from any patch size,
    aligned so that heatmap pixel i covers the image pixels i * 2**f to (i + 1) * 2**f - 1.

    Args:
        embed_dim: channels of the features.
        num_keypoints: heatmaps.
        patch_size: rows and columns of image pixels per feature.
        downsample_factor: heatmaps are the image size divided by 2 to this power.
        width: channels inside the head.
    """

    def __init__(
        self,
        embed_dim: int,
        num_keypoints: int,
        *,
        patch_size: tuple[int, int],
        downsample_factor: int = 2,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.stride = 2**downsample_factor
        self.scale = tuple(size / 2 / self.stride for size in patch_size)
        self.expand = nn.Sequential(
            nn.Conv2d(embed_dim, 4 * width, 1), nn.PixelShuffle(2), nn.GroupNorm(8, width), nn.GELU()
        )
        self.refine = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.GELU())
        self.to_heatmaps = nn.Conv2d(width, num_keypoints, 3, padding=1)

    def forward(self, features: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Logits (N, K, height / 2**f, width / 2**f) of features (N, D, rows, columns) of images (height, width)."""
        hidden = self.refine(self.expand(features))
        # scale_factor rather than size: the size may be cut off below, the alignment must not change by that.
        hidden = F.interpolate(
            hidden, scale_factor=self.scale, mode="bilinear", align_corners=False, recompute_scale_factor=False
        )
        height, width = (size // self.stride for size in image_size)
        return self.to_heatmaps(hidden[..., :height, :width])
