"""Patch masking: the schedule of hidden patches and views, and their random choice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mvgeom.errors import InputError
from mvtrain.model.backbone import patch_grid


@dataclass(frozen=True, kw_only=True)
class MaskingSchedule:
    """Share of masked patches over training: 0 before `init`, linear to `final`, constant until `clear`, then 0.

    Attributes:
        init: Epoch or step at which masking starts.
        final: Epoch or step from which the ratio is `final_ratio`.
        init_ratio: Ratio at `init`.
        final_ratio: Ratio from `final` on; 0 masks no patches at all.
        view_ratio: Share of whole views hidden from `final` on; rises from 0 at `init`.
        clear: Epoch or step from which nothing is masked: the last and smallest steps get the same input as prediction.
    """

    init: float
    final: float
    init_ratio: float
    final_ratio: float
    view_ratio: float = 0.0
    clear: float = math.inf

    def __post_init__(self) -> None:
        for name in ("init_ratio", "final_ratio", "view_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"training.patch_mask.{name}: expected a number in [0, 1], found {getattr(self, name)}",
                    code="bad-value",
                    key=f"training.patch_mask.{name}",
                )
        if self.final < self.init:
            raise InputError(
                f"training.patch_mask: masking reaches its full ratio at {self.final}, before it starts at {self.init}",
                code="bad-value",
                key="training.patch_mask",
            )

    def ratio(self, time: float) -> float:
        """Return the share of masked patches at an epoch or step."""
        return 0.0 if self.final_ratio == 0 else self._at(time, self.init_ratio, self.final_ratio)

    def views(self, time: float) -> float:
        """Return the share of hidden views at an epoch or step."""
        return self._at(time, 0.0, self.view_ratio)

    def _at(self, time: float, first: float, last: float) -> float:
        if time < self.init or time >= self.clear:
            return 0.0
        if time >= self.final:
            return last
        return first + (time - self.init) / (self.final - self.init) * (last - first)


@dataclass(frozen=True, kw_only=True)
class PatchMask:
    """Choice of the hidden patches of a batch.

    Attributes:
        hidden: (B, V, rows, columns) True where a patch is hidden; a patch cut off by the border counts as one.
        kept: (B, V, M) numbers of the patches, counted row by row, that were not chosen one by one, in any order; a
            view that is hidden as a whole has them too.
        patch_size: Rows and columns of pixels.
    """

    hidden: Tensor
    kept: Tensor
    patch_size: tuple[int, int]

    def blank(self, images: Tensor) -> Tensor:
        """Set the hidden patches of normalized images (B, V, 3, H, W) to 0, the mean color."""
        rows, columns = self.patch_size
        keep = (~self.hidden).repeat_interleave(rows, -2).repeat_interleave(columns, -1)
        return images * keep[:, :, None, : images.shape[-2], : images.shape[-1]]


def draw_mask(
    image_size: tuple[int, int],
    patch_size: tuple[int, int],
    *,
    ratio: float,
    view_ratio: float = 0.0,
    num_views: int,
    view_mask: Tensor | None = None,
    seed: int,
    epoch: int,
    index: Tensor,
) -> PatchMask | None:
    """Choose round(ratio * patches) patches of every view, and some views as a whole; None when that is nothing.

    The choice is a function of (seed, epoch, index, view) alone: the same however the samples are batched, and on any
    device.

    Args:
        image_size: Height and width in px.
        patch_size: Rows and columns of pixels, those of the backbone.
        ratio: Share of patches to hide.
        view_ratio: Share of a sample's views to hide as a whole, on average over samples; at least one is left.
        num_views: Number V of views.
        view_mask: (B, V) True where the view exists; others are not counted. None: all exist.
        seed: Random seed of the masks.
        epoch: Epoch of the run.
        index: (B,) numbers of the samples in the data set.
    """
    rows, columns = patch_grid(image_size, patch_size)
    num_patches = rows * columns
    num_masked = round(ratio * num_patches)
    if num_masked == 0 and view_ratio == 0:
        return None
    order = random_scores(seed, epoch, index, num_views, num_patches).argsort(-1)
    # The rank of every score: exactly num_masked patches have a rank below num_masked, ties or not.
    hidden = (order.argsort(-1) < num_masked).reshape(len(index), num_views, rows, columns)
    if view_ratio > 0:
        hidden = hidden | _hidden_views(view_ratio, num_views, view_mask, seed, epoch, index)[..., None, None]
    return PatchMask(hidden=hidden, kept=order[..., num_masked:], patch_size=patch_size)


def _hidden_views(
    ratio: float, num_views: int, view_mask: Tensor | None, seed: int, epoch: int, index: Tensor
) -> Tensor:
    """Return (B, V) True where a view is hidden."""
    # No run has epochs below 0: a random stream of its own. The last number rounds at random: the mean is exact.
    scores = random_scores(seed, -1 - epoch, index, 1, num_views + 1)[:, 0]
    fraction = _shift_right(scores[:, -1:], 40) / 2.0**24
    scores = scores[:, :-1]
    present = torch.ones_like(scores, dtype=torch.bool) if view_mask is None else view_mask
    num_present = present.sum(1, keepdim=True)
    num_hidden = torch.minimum((ratio * num_present + fraction).floor(), num_present - 1)
    return torch.where(present, scores, torch.iinfo(torch.int64).max).argsort(-1).argsort(-1) < num_hidden


def random_scores(seed: int, epoch: int, index: Tensor, num_views: int, num_patches: int) -> Tensor:
    """Return (B, V, N) pseudo-random int64, each a hash of (seed, epoch, index, view, patch)."""
    state = torch.full_like(index, seed, dtype=torch.int64)
    state = _hash(_hash(state) + epoch)
    state = _hash(state + index.long())[:, None]
    state = _hash(state + torch.arange(num_views, device=index.device))[..., None]
    return _hash(state + torch.arange(num_patches, device=index.device))


def _hash(value: Tensor) -> Tensor:
    """Hash int64, which wraps around like uint64, by the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    value = value + _signed(0x9E3779B97F4A7C15)
    value = (value ^ _shift_right(value, 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ _shift_right(value, 27)) * _signed(0x94D049BB133111EB)
    return value ^ _shift_right(value, 31)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
