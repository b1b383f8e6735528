"""Images through an affine map: OpenCV on uint8 in loader workers, a batched torch path on the device.

Both are bilinear, take the centre of the top-left pixel as (0, 0), and fill with 0 (black) what lies outside the image;
a border pixel fades into that black over one pixel. Shrinking by 2 or more would alias, so the image is first averaged
over blocks of whole pixels (OpenCV's INTER_AREA) until less than a factor of 2 is left for the bilinear step.
"""

from __future__ import annotations

from math import ceil, floor

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from mvgeom import affine


def shrink_factors(matrix: np.ndarray) -> tuple[int, int]:
    """By how many whole pixels of the source, along x and y, to average before a bilinear warp.

    Args:
        matrix: (2, 3) map from source px to output px.

    Returns:
        Factors >= 1 such that the averaged image still has at least as many pixels as the output needs.
    """
    lengths = np.linalg.norm(np.asarray(matrix, dtype=np.float64)[:2, :2], axis=0)
    # A map that keeps nothing of an axis (degenerate) must not average the whole image away.
    factors = [int(np.clip(floor(1.0 / length + 1e-9), 1, 64)) if length > 0 else 1 for length in lengths]
    return factors[0], factors[1]


def warp_image(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], *, antialias: bool = True) -> np.ndarray:
    """One image through an affine map.

    Args:
        image: (H, W) or (H, W, C) uint8.
        matrix: (2, 3) map from the image's px to output px.
        size: output width and height in px.
        antialias: average before shrinking by 2 or more.

    Returns:
        (height, width[, C]) uint8; 0 where the map reaches outside the image.
    """
    width, height = size
    matrix = np.array(matrix, dtype=np.float64)
    factors = shrink_factors(matrix) if antialias else (1, 1)
    if factors != (1, 1):
        image, matrix = _averaged(image, matrix, size, factors)
    output = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))
    return output.reshape(height, width, *image.shape[2:])


def _averaged(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], factors: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image that the output shows, averaged over blocks of whole pixels, and the map from there."""
    image_height, image_width = image.shape[:2]
    left, top, right, bottom = _visible_region(matrix, size, (image_width, image_height), factors)
    region = image[top:bottom, left:right]
    num_columns, num_rows = ceil((right - left) / factors[0]), ceil((bottom - top) / factors[1])
    padding = (num_rows * factors[1] - (bottom - top), num_columns * factors[0] - (right - left))
    if any(padding):
        # The last block sticks out of the image; outside is black, here as everywhere.
        region = cv2.copyMakeBorder(region, 0, padding[0], 0, padding[1], cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    small = cv2.resize(region, (num_columns, num_rows), interpolation=cv2.INTER_AREA)
    from_small = affine.compose(matrix, affine.translate((left, top)), affine.resize((1.0, 1.0), factors))
    return small.reshape(num_rows, num_columns, *image.shape[2:]), from_small


def _visible_region(
    matrix: np.ndarray, size: tuple[int, int], image_size: tuple[int, int], factors: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (exclusive) of the source px that can contribute, aligned to blocks; never empty."""
    width, height = size
    corners = np.array([[-1, -1], [width, -1], [-1, height], [width, height]], dtype=np.float64)
    linear = matrix[:, :2]
    if abs(np.linalg.det(linear)) < 1e-12:
        return 0, 0, image_size[0], image_size[1]
    source = np.linalg.solve(linear, (corners - matrix[:, 2]).T).T
    bounds = []
    for axis, (length, factor) in enumerate(zip(image_size, factors, strict=True)):
        first = floor((source[:, axis].min() - factor) / factor) * factor
        last = ceil((source[:, axis].max() + factor) / factor + 1) * factor
        start = int(np.clip(first, 0, (length - 1) // factor * factor))
        bounds.append((start, min(max(last, start + factor), length)))
    return bounds[0][0], bounds[1][0], bounds[0][1], bounds[1][1]


def warp_batch(
    images: torch.Tensor, matrices: torch.Tensor, size: tuple[int, int], *, shrink: tuple[int, int] = (1, 1)
) -> torch.Tensor:
    """A batch of images through one affine map each, on whatever device they are.

    Differentiable in images and matrices. Agrees with `warp_image` within 1 grey level when `shrink` is what
    `shrink_factors` says; the factors are an argument because reading them from a device would wait for it.

    Args:
        images: (B, C, H, W), floating, or uint8 which is converted and rounded back.
        matrices: (B, 2, 3) maps from image px to output px.
        size: output width and height in px.
        shrink: block along x and y to average over first, the same for the whole batch.

    Returns:
        (B, C, height, width) of the images' dtype; 0 where the map reaches outside an image.
    """
    width, height = size
    is_uint8 = images.dtype == torch.uint8
    values = images.to(torch.float32) if is_uint8 else images
    if shrink != (1, 1):
        padding = (-values.shape[-1] % shrink[0], -values.shape[-2] % shrink[1])
        values = F.avg_pool2d(F.pad(values, (0, padding[0], 0, padding[1])), (shrink[1], shrink[0]))
        blocks = affine.resize((1.0, 1.0), shrink)
        matrices = affine.compose(matrices, torch.as_tensor(blocks, dtype=matrices.dtype, device=matrices.device))
    # By component instead of a matrix product: exact on GPUs with TF32.
    inverse = affine.invert(matrices).to(values.dtype)[:, None, None]
    x = torch.arange(width, device=values.device, dtype=values.dtype)
    y = torch.arange(height, device=values.device, dtype=values.dtype)[:, None]
    source = torch.stack(
        [inverse[..., row, 0] * x + inverse[..., row, 1] * y + inverse[..., row, 2] for row in range(2)], dim=-1
    )
    extent = source.new_tensor([values.shape[-1], values.shape[-2]])
    output = F.grid_sample(
        values, (2.0 * source + 1.0) / extent - 1.0, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return output.round().clamp(0, 255).to(torch.uint8) if is_uint8 else output
