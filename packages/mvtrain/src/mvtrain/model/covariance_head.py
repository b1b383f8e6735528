"""Head by which a network states the covariance of its own keypoints, from what it saw and how it answered.

It learns from the network's errors and does not change the network: no gradient leaves it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvtrain.model.decode import decode, heatmap_covariance

_WIDTH = 64
"""Channels of the hidden layers."""

_LOWEST, _HIGHEST = -1.5, 4.0
"""Natural logarithms of the smallest and largest standard deviation in heatmap px: 0.2 and 55."""

_MOST_CORRELATED = 0.98
"""Largest correlation of x and y: the ellipse is then ten times as long as wide."""

_NUM_STATISTICS = 6
"""Numbers that describe a heatmap, see `_describe`."""


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
