"""Multi-view transformer over the patches of all views, with a heatmap for each keypoint and view."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mvgeom.errors import InputError
from mvgeom.wording import counted
from mvtrain.model.head import CovarianceHead, HeatmapHead
from mvtrain.model.linear import OneDNNLinear, onednn_is_faster

Attention = Literal["joint", "per_view"]


class MultiviewTransformer(nn.Module):
    """Heatmap logits of V views from one pretrained vision transformer.

    Patch tokens of all views, each with the learned embedding of its view, form one sequence, so that every block
    attends over all views (`attention="joint"`), or every view is a sequence of its own (`"per_view"`).

    Args:
        backbone: Timm transformer with global attention; class and register tokens are kept per view.
        num_views: Views of every sample; another number is an error.
        num_keypoints: Heatmaps per view.
        downsample_factor: Heatmaps are the image size divided by 2 to this power.
        attention: `joint` or `per_view`, as above.
        gradient_checkpointing: Recompute blocks in the backward pass, which saves memory and costs about a third more
            time.
        covariance_head: State the covariance of each keypoint, too.
    """

    def __init__(
        self,
        backbone: VisionTransformer | Eva,
        *,
        num_views: int,
        num_keypoints: int,
        downsample_factor: int = 2,
        attention: Attention = "joint",
        gradient_checkpointing: bool = False,
        covariance_head: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_views = num_views
        self.attention = attention
        self.gradient_checkpointing = gradient_checkpointing
        self.patch_size: tuple[int, int] = tuple(backbone.patch_embed.patch_size)
        self.view_embedding = nn.Parameter(torch.zeros(num_views, 1, backbone.embed_dim))
        nn.init.trunc_normal_(self.view_embedding, std=0.02)
        self.head = HeatmapHead(
            backbone.embed_dim, num_keypoints, patch_size=self.patch_size, downsample_factor=downsample_factor
        )
        self.covariance_head = None
        if covariance_head:
            self.covariance_head = CovarianceHead(
                backbone.embed_dim, num_keypoints, patch_size=self.patch_size, downsample_factor=downsample_factor
            )
        self.table_per_block = bool(getattr(backbone, "rope_mixed", False))
        if isinstance(backbone, Eva):
            # Rotary attention skips the prefix tokens by their number; here the prefix tokens of all views come first.
            views_in_sequence = num_views if attention == "joint" else 1
            for block in backbone.blocks:
                attention_layer: Any = block.attn
                attention_layer.num_prefix_tokens = backbone.num_prefix_tokens * views_in_sequence
        if onednn_is_faster():
            OneDNNLinear.replace(self)

    def forward(
        self,
        images: Tensor,
        view_mask: Tensor | None = None,
        kept_patches: Tensor | None = None,
        attention_bias: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Predict heatmap logits, and covariances if there is a head for them.

        Args:
            images: (B, V, 3, H, W) normalized; sizes that the patch does not divide are padded on the right and below
                with zeros, the mean color.
            view_mask: (B, V) True where the view exists; views that do not exist are not attended to. None: all exist.
            kept_patches: (B, V, M) numbers of the patches, counted row by row, that go through all blocks. The others
                join them before the last block, as they were embedded: there they learn from the rest, at a fraction of
                the cost. None: all do.
            attention_bias: (B, V * N, V * N) term of the joint attention between patches in every block, added before
                the softmax; see `epipolar_bias`. None: nothing.

        Returns:
            (B, V, K, H / 2**f, W / 2**f) logits; their softmax over the pixels is the heatmap. With a covariance head
            also the covariances (B, V, K, 2, 2) of the keypoints in heatmap px^2, see `CovarianceHead`.

        Raises:
            InputError: `wrong-count` for another number of views than the model was built for.
        """
        batch_size, num_views = images.shape[:2]
        if num_views != self.num_views:
            raise InputError(
                f"images: found {counted(num_views, 'view')}, expected {self.num_views} as the model was built for",
                code="wrong-count",
                found=num_views,
                expected=self.num_views,
            )
        if view_mask is not None:
            # Attention to nothing at all would be NaN; the output of a sample without any view is not used.
            view_mask = view_mask | ~view_mask.any(1, keepdim=True)
        patches, grid = self._features(images, view_mask, kept_patches, attention_bias)
        # Channels last in memory, as the tokens are: the head takes them without another copy.
        features = patches.flatten(0, 1).unflatten(1, grid).permute(0, 3, 1, 2)
        logits = self.head(features, images.flatten(0, 1))
        by_view = logits.reshape(batch_size, num_views, *logits.shape[1:])
        if self.covariance_head is None:
            return by_view
        return by_view, self.covariance_head(features, logits).reshape(*by_view.shape[:3], 2, 2)

    def _features(
        self,
        images: Tensor,
        view_mask: Tensor | None = None,
        kept: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, tuple[int, int]]:
        """Return normalized patch tokens (B, V, N, D) after the last block, and their rows and columns."""
        batch_size, num_views = images.shape[:2]
        tokens, ropes, grid = self._embed(images.flatten(0, 1))
        tokens = tokens.reshape(batch_size, num_views, *tokens.shape[1:]) + self.view_embedding
        tokens = self.backbone.norm_pre(tokens)
        num_prefix = self.backbone.num_prefix_tokens
        prefix, patches = tokens[:, :, :num_prefix], tokens[:, :, num_prefix:]
        blocks = list(self.backbone.blocks)
        if kept is None:
            sequence = self._attend(blocks, prefix, patches, self._spread(ropes), view_mask, bias)
        else:
            places = kept[..., None].expand(-1, -1, -1, patches.shape[-1])
            first = self._attend(
                blocks[:-1],
                prefix,
                patches.gather(2, places),
                self._spread(ropes[:-1], kept),
                view_mask,
                None if bias is None else _bias_between(bias, kept),
            )
            prefix, some = self._split(first, batch_size, num_prefix)
            patches = patches.scatter(2, places, some.to(patches.dtype))
            sequence = self._attend(blocks[-1:], prefix, patches, self._spread(ropes[-1:]), view_mask, bias)
        return self._split(self.backbone.norm(sequence), batch_size, num_prefix)[1], grid

    def _embed(self, images: Tensor) -> tuple[Tensor, list[Tensor | None], tuple[int, int]]:
        """Return tokens of each view, rotary table of each block (..., N, channels), rows and columns of patches."""
        rows, columns = self.patch_size
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % columns, 0, -height % rows))
        grid = (images.shape[-2] // rows, images.shape[-1] // columns)
        tokens = self.backbone.patch_embed(images)
        depth = len(self.backbone.blocks)
        if not isinstance(self.backbone, Eva):
            return self.backbone._pos_embed(tokens), [None] * depth, grid
        tokens, rope = self.backbone._pos_embed(tokens)
        if rope is not None and self.table_per_block:
            return tokens, list(rope), grid
        return tokens, [rope] * depth, grid

    def _spread(self, ropes: list[Tensor | None], kept: Tensor | None = None) -> list[Tensor | None]:
        """Extend rotary tables of one view's patches to the sequence of all views, each view by its own positions."""

        def spread(rope: Tensor | None) -> Tensor | None:
            if rope is None:
                return None
            if kept is not None:
                # (heads or nothing, B, V, M, channels) to (B, heads or 1, V, M, channels)
                rope = rope[..., kept, :]
                rope = rope[:, None] if rope.ndim == 4 else rope.movedim(0, 1)
                return rope.flatten(2, 3) if self.attention == "joint" else rope.transpose(1, 2).flatten(0, 1)
            return rope.repeat(*(1,) * (rope.ndim - 2), self.num_views, 1) if self.attention == "joint" else rope

        if not ropes or self.table_per_block:
            return [spread(rope) for rope in ropes]
        return [spread(ropes[0])] * len(ropes)

    def _attend(
        self,
        blocks: list[nn.Module],
        prefix: Tensor,
        patches: Tensor,
        ropes: list[Any],
        view_mask: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        """Pass the sequence of prefix tokens (B, V, n, D) and patches (B, V, N, D) through blocks."""
        attention_mask = None
        if self.attention == "joint":
            sequence = torch.cat([prefix.flatten(1, 2), patches.flatten(1, 2)], dim=1)
            if view_mask is not None:
                counts = (prefix.shape[2], patches.shape[2])
                attention_mask = torch.cat([view_mask.repeat_interleave(count, 1) for count in counts], dim=1)
                attention_mask = attention_mask[:, None, None, :]
            if bias is not None:
                num_leading = self.num_views * prefix.shape[2]
                bias = F.pad(bias, (num_leading, 0, num_leading, 0))[:, None].to(sequence.dtype)
                attention_mask = bias if attention_mask is None else bias.masked_fill(~attention_mask, float("-inf"))
        else:
            sequence = torch.cat([prefix, patches], dim=2).flatten(0, 1)
        for block, rope in zip(blocks, ropes, strict=True):
            extra: dict[str, Any] = {"attn_mask": attention_mask}
            if isinstance(self.backbone, Eva):
                extra["rope"] = rope
            if self.gradient_checkpointing and self.training:
                sequence = checkpoint(partial(block, **extra), sequence, use_reentrant=False)
            else:
                sequence = block(sequence, **extra)
        return sequence

    def _split(self, sequence: Tensor, batch_size: int, num_prefix: int) -> tuple[Tensor, Tensor]:
        """Split a sequence into prefix tokens (B, V, n, D) and patches (B, V, N, D)."""
        num_leading = num_prefix * (self.num_views if self.attention == "joint" else 1)
        shape = (batch_size, self.num_views, -1, sequence.shape[-1])
        if num_leading == 0:
            return sequence.new_empty((batch_size, self.num_views, 0, sequence.shape[-1])), sequence.reshape(shape)
        return sequence[:, :num_leading].reshape(shape), sequence[:, num_leading:].reshape(shape)


def split_output(output: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return logits, and covariances or None, of what `MultiviewTransformer` returns."""
    return output if isinstance(output, tuple) else (output, None)


def _bias_between(bias: Tensor, kept: Tensor) -> Tensor:
    """Select from the bias (B, V * N, V * N) that between the kept patches (B, V, M): (B, V * M, V * M)."""
    num_views, num_patches = kept.shape[1], bias.shape[-1] // kept.shape[1]
    first = torch.arange(num_views, device=kept.device)[:, None] * num_patches
    places = (kept + first).flatten(1)
    queries = bias.gather(1, places[:, :, None].expand(-1, -1, bias.shape[-1]))
    return queries.gather(2, places[:, None].expand(-1, places.shape[1], -1))
