"""One transformer over the patches of every view, and a heatmap for each keypoint and view."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mvtrain.model.head import HeatmapHead

Attention = Literal["joint", "per_view"]


class MultiviewTransformer(nn.Module):
    """Heatmap logits of V views from one pretrained vision transformer.

    Patch tokens of all views, each with the learned embedding of its view, form one sequence, so that every block
    attends over all views (`attention="joint"`), or every view is a sequence of its own (`"per_view"`).

    Args:
        backbone: a timm transformer with global attention; class and register tokens are kept per view.
        num_views: views of every sample; another number is an error.
        num_keypoints: heatmaps per view.
        downsample_factor: heatmaps are the image size divided by 2 to this power.
        attention: see above.
        gradient_checkpointing: recompute blocks in the backward pass, which saves memory and costs about a third more
            time.
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
        if isinstance(backbone, Eva):
            # Rotary attention skips the prefix tokens by their number; here the prefix tokens of all views come first.
            views_in_sequence = num_views if attention == "joint" else 1
            for block in backbone.blocks:
                attention_layer: Any = block.attn
                attention_layer.num_prefix_tokens = backbone.num_prefix_tokens * views_in_sequence

    def forward(self, images: Tensor, view_mask: Tensor | None = None) -> Tensor:
        """Heatmap logits.

        Args:
            images: (B, V, 3, H, W) normalised; sizes that the patch does not divide are padded on the right and below
                with zeros, the mean colour.
            view_mask: (B, V) true where the view exists; views that do not exist are not attended to. None: all exist.

        Returns:
            (B, V, K, H / 2**f, W / 2**f) logits; their softmax over the pixels is the heatmap.

        Raises:
            ValueError: another number of views than the model was built for.
        """
        batch_size, num_views = images.shape[:2]
        if num_views != self.num_views:
            raise ValueError(f"this model was built for {self.num_views} views, the batch has {num_views}")
        patches, grid = self._features(images, view_mask)
        features = patches.transpose(-1, -2).reshape(batch_size * num_views, -1, *grid)
        logits = self.head(features, images.flatten(0, 1))
        return logits.reshape(batch_size, num_views, *logits.shape[1:])

    def _features(self, images: Tensor, view_mask: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
        """Normalised patch tokens (B, V, N, D) after the last block, and their rows and columns."""
        batch_size, num_views = images.shape[:2]
        tokens, rope, grid = self._embed(images.flatten(0, 1))
        num_prefix = self.backbone.num_prefix_tokens
        tokens = tokens.reshape(batch_size, num_views, *tokens.shape[1:]) + self.view_embedding
        prefix, patches = tokens[:, :, :num_prefix], tokens[:, :, num_prefix:]
        num_patches = patches.shape[2]
        attention_mask = None
        if self.attention == "joint":
            sequence = torch.cat([prefix.flatten(1, 2), patches.flatten(1, 2)], dim=1)
            if rope is not None:
                rope = rope.repeat(*(1,) * (rope.ndim - 2), num_views, 1)
            if view_mask is not None:
                attention_mask = torch.cat(
                    [view_mask.repeat_interleave(num_prefix, 1), view_mask.repeat_interleave(num_patches, 1)], dim=1
                )[:, None, None, :]
        else:
            sequence = torch.cat([prefix, patches], dim=2).flatten(0, 1)
        sequence = self._blocks(self.backbone.norm_pre(sequence), rope, attention_mask)
        sequence = self.backbone.norm(sequence)
        num_leading = num_prefix * (num_views if self.attention == "joint" else 1)
        return sequence[:, num_leading:].reshape(batch_size, num_views, num_patches, -1), grid

    def _embed(self, images: Tensor) -> tuple[Tensor, Tensor | None, tuple[int, int]]:
        rows, columns = self.patch_size
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % columns, 0, -height % rows))
        grid = (images.shape[-2] // rows, images.shape[-1] // columns)
        tokens = self.backbone.patch_embed(images)
        if isinstance(self.backbone, Eva):
            tokens, rope = self.backbone._pos_embed(tokens)
            return tokens, rope, grid
        return self.backbone._pos_embed(tokens), None, grid

    def _blocks(self, sequence: Tensor, rope: Tensor | None, attention_mask: Tensor | None) -> Tensor:
        extra: dict[str, Any] = {"attn_mask": attention_mask}
        if isinstance(self.backbone, Eva):
            extra["rope"] = rope
        for block in self.backbone.blocks:
            if self.gradient_checkpointing and self.training:
                sequence = checkpoint(partial(block, **extra), sequence, use_reentrant=False)
            else:
                sequence = block(sequence, **extra)
        return sequence
