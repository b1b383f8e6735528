"""Heads: heatmap logits from patch features and the detail of the image, and the covariance of each keypoint."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvtrain.model.decode import decode, heatmap_covariance

SUBPIXELS = 2
"""Rows and columns that the head makes of each patch before it interpolates."""

_WIDTH = 64
"""Channels of the hidden layers."""

_LOWEST, _HIGHEST = -1.5, 4.0
"""Natural logarithms of the smallest and largest standard deviation in heatmap px: 0.2 and 55."""

_MOST_CORRELATED = 0.98
"""Largest correlation of x and y: the ellipse is then ten times as long as wide."""

_NUM_STATISTICS = 6
"""Numbers that describe a heatmap, see `_describe`."""


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


class CovarianceHead(nn.Module):
    """State the covariance of each keypoint of each view.

    A keypoint is described by the features of its view, averaged with the keypoint's heatmap as weights and over the
    whole view, by the shape of its heatmap, and by which keypoint it is.

    Args:
        embed_dim: Channels of the features.
        num_keypoints: Number of keypoints K.
        patch_size: Rows and columns of image pixels per feature.
        downsample_factor: Heatmap px are 2 to this power model px wide.
    """

    def __init__(
        self, embed_dim: int, num_keypoints: int, *, patch_size: tuple[int, int], downsample_factor: int
    ) -> None:
        super().__init__()
        self.stride = 2**downsample_factor
        self.patch_size = patch_size
        self.norm = nn.LayerNorm(embed_dim, elementwise_affine=False)
        self.there = nn.Linear(embed_dim, _WIDTH)
        self.everywhere = nn.Linear(embed_dim, _WIDTH, bias=False)
        self.shape = nn.Linear(_NUM_STATISTICS, _WIDTH, bias=False)
        self.keypoint = nn.Parameter(torch.zeros(num_keypoints, _WIDTH))
        self.hidden = nn.Sequential(nn.GELU(), nn.Linear(_WIDTH, _WIDTH), nn.GELU())
        self.last = nn.Linear(_WIDTH, 3)
        # At first every keypoint has the same covariance, in the middle of the range.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return covariances in heatmap px^2, in float32.

        Args:
            features: (N, D, rows, columns) of the images' patches.
            logits: (N, K, h, w) heatmap logits.

        Returns:
            (N, K, 2, 2), x before y; positive definite. Their gradient reaches the weights of this head only.
        """
        with torch.autocast(logits.device.type, enabled=False):
            # Layers compute in the type of their weights, which is not float32 with `precision: bf16-true`.
            dtype = self.keypoint.dtype
            features, logits = features.detach().to(dtype), logits.detach().float()
            heatmaps = logits.flatten(-2).softmax(-1).reshape(logits.shape)
            rows, columns = (
                round(number * size / self.stride)
                for number, size in zip(features.shape[-2:], self.patch_size, strict=True)
            )
            # Patches may reach beyond the image, on the right and below.
            padded = F.pad(heatmaps, (0, max(0, columns - logits.shape[-1]), 0, max(0, rows - logits.shape[-2])))
            grid = (features.shape[-2], features.shape[-1])
            shares = F.adaptive_avg_pool2d(padded, grid).flatten(2)
            shares = (shares / shares.sum(-1, keepdim=True)).to(dtype)
            tokens = self.norm(features.flatten(2).transpose(1, 2))
            described = self.there(shares @ tokens) + self.everywhere(tokens.mean(1, keepdim=True))
            described = described + self.shape(_describe(logits, heatmaps).to(dtype)) + self.keypoint
            numbers = self.last(self.hidden(described)).float()
            middle, half = (_HIGHEST + _LOWEST) / 2, (_HIGHEST - _LOWEST) / 2
            deviation = torch.exp(middle + half * torch.tanh(numbers[..., :2] / half))
            correlation = _MOST_CORRELATED * torch.tanh(numbers[..., 2])
            xx, yy = deviation.square().unbind(-1)
            xy = correlation * deviation.prod(-1)
            return torch.stack([torch.stack([xx, xy], dim=-1), torch.stack([xy, yy], dim=-1)], dim=-2)


def _describe(logits: Tensor, heatmaps: Tensor) -> Tensor:
    """Describe heatmaps (N, K, h, w) by numbers (N, K, 6) of the order of one.

    They are the mass around the peak and its log odds, the logarithms of the variances around the peak, the correlation
    there, and the entropy as a share of that of a uniform heatmap.
    """
    points, confidence = decode(logits)
    covariance = heatmap_covariance(logits, points)
    xx, xy, yy = (covariance[..., row, column] for row, column in ((0, 0), (0, 1), (1, 1)))
    variances = torch.stack([xx, yy], dim=-1).clamp(min=1e-3)
    # Of a single pixel, as of a small image, the entropy is 0.
    largest = math.log(max(2, heatmaps.shape[-2] * heatmaps.shape[-1]))
    entropy = torch.special.entr(heatmaps).sum((-2, -1)) / largest
    return torch.stack(
        [
            confidence,
            torch.logit(confidence.clamp(1e-4, 1 - 1e-4)) / 4,
            *variances.log().unbind(-1),
            xy / variances.prod(-1).sqrt(),
            entropy,
        ],
        dim=-1,
    )
