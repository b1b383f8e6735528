"""Head that turns patch features and the detail of the image into heatmap logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SUBPIXELS = 2
"""Rows and columns that the head makes of each patch before it interpolates."""


class HeatmapHead(nn.Module):
    """Upsample patch features to heatmaps that lie exactly on the image.

    Logits are the sum of two maps. The coarse map is a convolution of the features at twice the resolution of the
    patches, with weights of its own for each keypoint: keypoints share no narrow layer there, so none has to wait until
    the others are learned. The fine map is made at the resolution of the heatmaps, from a few channels of the features
    and a few of the image, which knows its edges to the pixel. Features are interpolated to the heatmaps from any patch
    size, aligned so that heatmap pixel i covers the image pixels i * 2**f to (i + 1) * 2**f - 1.

    Args:
        embed_dim: Channels of the features.
        num_keypoints: Heatmaps per image.
        patch_size: Rows and columns of image pixels per feature.
        downsample_factor: Heatmaps are the image size divided by 2 to this power.
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
        # In proportion to the transformer, and narrow where there are many pixels: the cost of the head is at the
        # heatmaps' resolution.
        wide = max(64, embed_dim // 3 // 64 * 64)
        fine = edges = max(16, wide // 8)
        self.channels = (num_keypoints, fine)
        self.scale = tuple(size / SUBPIXELS / stride for size in patch_size)
        self.expand = nn.Linear(embed_dim, SUBPIXELS**2 * wide)
        self.expanded = _activation(wide)
        # One convolution for both: the coarse maps, and the channels of the features that the fine maps begin with.
        self.coarse = nn.Conv2d(wide, num_keypoints + fine, 3, padding=1)
        self.hidden = _activation(fine)
        # Kernels of twice the stride lie symmetrically around the pixels they merge: no shift against the image.
        self.detail = nn.Sequential(
            nn.Conv2d(3, edges, 2 * stride, stride=stride, padding=stride // 2), _activation(edges)
        )
        self.fuse = nn.Sequential(nn.Conv2d(fine + edges, fine, 3, padding=1), _activation(fine))
        self.fine = nn.Conv2d(fine, num_keypoints, 1)

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Return heatmap logits.

        Args:
            features: (N, D, rows, columns) of the images' patches; fastest with channels last in memory.
            images: (N, 3, H, W) normalized.

        Returns:
            (N, K, H / 2**f, W / 2**f).
        """
        expanded = self.expanded(_to_subpixels(self.expand(features.permute(0, 2, 3, 1))))
        coarse, hidden = self.coarse(expanded).split(self.channels, dim=1)
        # scale_factor rather than size: the size may be cut off below, the alignment must not change by that.
        upsampled = F.interpolate(
            torch.cat([coarse, self.hidden(hidden)], dim=1),
            scale_factor=self.scale,
            mode="bilinear",
            align_corners=False,
            recompute_scale_factor=False,
        )
        detail = self.detail(images)
        upsampled = upsampled[..., : detail.shape[-2], : detail.shape[-1]]
        coarse, hidden = upsampled.split(self.channels, dim=1)
        return coarse + self.fine(self.fuse(torch.cat([hidden, detail], dim=1)))


def _to_subpixels(tokens: Tensor) -> Tensor:
    """Turn tokens (N, rows, columns, s * s * C) into (N, C, rows * s, columns * s), channels last in memory."""
    batch_size, rows, columns, channels = tokens.shape
    cells = tokens.reshape(batch_size, rows, columns, SUBPIXELS, SUBPIXELS, channels // SUBPIXELS**2)
    return cells.transpose(2, 3).reshape(batch_size, rows * SUBPIXELS, columns * SUBPIXELS, -1).permute(0, 3, 1, 2)


def _activation(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.GroupNorm(8, channels), nn.GELU())
