"""From patch features, and the image itself for its detail, to heatmap logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class HeatmapHead(nn.Module):
    """Upsamples patch features to heatmaps that lie exactly on the image.

    Features know what is where to within a patch; the image knows its edges to the pixel. Sub-pixel convolution doubles
    the features' resolution once; interpolation then reaches the heatmap's from any patch size, aligned so that heatmap
    pixel i covers the image pixels i * 2**f to (i + 1) * 2**f - 1. There they meet a few convolutions of the image.

    Args:
        embed_dim: channels of the features.
        num_keypoints: heatmaps.
        patch_size: rows and columns of image pixels per feature.
        downsample_factor: heatmaps are the image size divided by 2 to this power.
    """

    def __init__(
        self,
        embed_dim: int,
        num_keypoints: int,
        *,
        patch_size: tuple[int, int],
        downsample_factor: int = 2,
    ) -> None:
        super().__init__()
        stride = 2**downsample_factor
        # In proportion to the transformer: a wide head at the heatmaps' resolution would outweigh a small backbone.
        width = max(32, embed_dim // 6 // 8 * 8)
        self.scale = tuple(size / 2 / stride for size in patch_size)
        self.expand = nn.Sequential(
            nn.Conv2d(embed_dim, 8 * width, 1), nn.PixelShuffle(2), nn.GroupNorm(8, 2 * width), nn.GELU()
        )
        self.refine = _convolution(2 * width, width, kernel_size=3)
        # Kernels of 4 with stride 2 lie symmetrically around the pixels they merge: no shift against the image.
        self.detail = nn.Sequential(
            *(
                _convolution(3 if level == 0 else width, width, kernel_size=4, stride=2)
                for level in range(downsample_factor)
            )
        )
        self.fuse = _convolution(2 * width, width, kernel_size=3)
        self.to_heatmaps = nn.Conv2d(width, num_keypoints, 1)

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Heatmap logits.

        Args:
            features: (N, D, rows, columns) of the images' patches.
            images: (N, 3, H, W) normalised.

        Returns:
            (N, K, H / 2**f, W / 2**f).
        """
        hidden = self.refine(self.expand(features))
        # scale_factor rather than size: the size may be cut off below, the alignment must not change by that.
        hidden = F.interpolate(
            hidden, scale_factor=self.scale, mode="bilinear", align_corners=False, recompute_scale_factor=False
        )
        detail = self.detail(images)
        hidden = hidden[..., : detail.shape[-2], : detail.shape[-1]]
        return self.to_heatmaps(self.fuse(torch.cat([hidden, detail], dim=1)))


def _convolution(channels_in: int, channels_out: int, *, kernel_size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size, stride=stride, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(8, channels_out), nn.GELU())
