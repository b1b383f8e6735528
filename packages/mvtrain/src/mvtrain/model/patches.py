"""Where the patches of an image lie."""

from __future__ import annotations

import torch
from torch import Tensor


def patch_grid(image_size: tuple[int, int], patch_size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the patches of an image; those that the border cuts off count.

    Args:
        image_size: height and width in px.
        patch_size: rows and columns of pixels.
    """
    return -(-image_size[0] // patch_size[0]), -(-image_size[1] // patch_size[1])


def patch_centers(grid: tuple[int, int], patch_size: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """(N, 2) x and y in px of the patches' centres, row by row; the centre of the first pixel is (0, 0)."""
    y = (torch.arange(grid[0], device=device) + 0.5) * patch_size[0] - 0.5
    x = (torch.arange(grid[1], device=device) + 0.5) * patch_size[1] - 0.5
    return torch.stack([x.expand(grid), y[:, None].expand(grid)], dim=-1).flatten(0, 1)
