"""Patch masking: how many patches are hidden when, and which ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MaskingSchedule:
    """The share of masked patches over training: 0 before `init`, linear to `final`, constant after.

    Attributes:
        init: epoch or step at which masking starts.
        final: epoch or step from which the ratio is `final_ratio`.
        init_ratio: the ratio at `init`.
        final_ratio: the ratio from `final` on; 0 turns masking off altogether.
    """

    init: float
    final: float
    init_ratio: float
    final_ratio: float

    def __post_init__(self) -> None:
        for name in ("init_ratio", "final_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"training.patch_mask.{name} must lie in [0, 1], got {getattr(self, name)}")
        if self.final < self.init:
            raise ValueError(
                f"training.patch_mask: masking ends to grow at {self.final}, before it starts at {self.init}"
            )

    def ratio(self, time: float) -> float:
        """The share of masked patches at an epoch or step."""
        if self.final_ratio == 0 or time < self.init:
            return 0.0
        if time >= self.final:
            return self.final_ratio
        progress = (time - self.init) / (self.final - self.init)
        return self.init_ratio + progress * (self.final_ratio - self.init_ratio)


def mask_patches(
    images: Tensor, ratio: float, *, patch_size: tuple[int, int], seed: int, epoch: int, index: Tensor
) -> Tensor:
    """Images with round(ratio * patches) patches of every view set to 0, the mean colour of normalised images.

    Which patches is a function of (seed, epoch, index, view) alone: the same however the samples are batched, and on
    any device.

    Args:
        images: (B, V, 3, H, W) normalised; a patch cut off by the border counts as one.
        ratio: share of patches to mask.
        patch_size: rows and columns of pixels, those of the backbone.
        seed: of the run.
        epoch: of the run.
        index: (B,) which sample of the data set each one is.
    """
    batch_size, num_views, _, height, width = images.shape
    rows, columns = patch_size
    grid = (-(-height // rows), -(-width // columns))
    num_patches = grid[0] * grid[1]
    num_masked = round(ratio * num_patches)
    if num_masked == 0:
        return images
    scores = random_scores(seed, epoch, index, num_views, num_patches)
    # The rank of every score: exactly num_masked patches have a rank below num_masked, ties or not.
    keep = scores.argsort(-1).argsort(-1) >= num_masked
    keep = keep.reshape(batch_size, num_views, *grid)
    keep = keep.repeat_interleave(rows, -2).repeat_interleave(columns, -1)
    return images * keep[:, :, None, :height, :width]


def random_scores(seed: int, epoch: int, index: Tensor, num_views: int, num_patches: int) -> Tensor:
    """(B, V, N) pseudo-random int64, each a hash of (seed, epoch, index, view, patch)."""
    state = torch.full_like(index, seed, dtype=torch.int64)
    state = _hash(_hash(state) + epoch)
    state = _hash(state + index.long())[:, None]
    state = _hash(state + torch.arange(num_views, device=index.device))[..., None]
    return _hash(state + torch.arange(num_patches, device=index.device))


def _hash(value: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), on int64, which wraps around like uint64."""
    value = value + _signed(0x9E3779B97F4A7C15)
    value = (value ^ _shift_right(value, 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ _shift_right(value, 27)) * _signed(0x94D049BB133111EB)
    return value ^ _shift_right(value, 31)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
