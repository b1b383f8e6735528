"""Rotary position tables, made once per size of image instead of at every step."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RotaryTables(nn.Module):
    """Stands in for a rotary embedding of timm, which builds its table on the CPU and copies it at every call.

    That copy makes the host wait for the GPU.

    Args:
        rope: a rotary embedding without parameters, whose table depends on the patches' rows and columns alone.
    """

    def __init__(self, rope: nn.Module) -> None:
        super().__init__()
        self.rope = rope
        self._tables: dict[tuple[int, int, torch.device], Tensor] = {}

    @staticmethod
    def fit(rope: nn.Module) -> bool:
        """Whether an embedding's table is always the same: not learned, and not varied at random in training."""
        fixed = not list(rope.parameters()) and not getattr(rope, "aug_active", False)
        return fixed and next(rope.buffers(), None) is not None

    def get_embed(self, shape: tuple[int, int]) -> Tensor:
        """(N, channels) table of the patches of an image, row by row.

        Args:
            shape: rows and columns of patches.
        """
        key = (*shape, next(self.rope.buffers()).device)
        if key not in self._tables:
            # What inference mode makes cannot take part in training, which may come later.
            with torch.inference_mode(False):
                self._tables[key] = self.rope.get_embed(shape)  # type: ignore[operator]
        return self._tables[key]
