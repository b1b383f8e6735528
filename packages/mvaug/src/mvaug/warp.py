"""Image warping by affine maps.

The warp is bilinear, takes the center of the top-left pixel as (0, 0), and fills with 0 (black) what lies outside the
image; a border pixel fades into that black over one pixel. Shrinking by 2 or more would alias, so the image is first
averaged over blocks of whole pixels (OpenCV's INTER_AREA) until less than a factor of 2 is left for the bilinear step.
"""

from __future__ import annotations

from math import ceil, floor

import cv2
import numpy as np

from mvgeom import affine
from mvgeom.errors import InputError


def shrink_factors(matrix: np.ndarray) -> tuple[int, int]:
    """Compute how many whole pixels of the source to average along x and y before a bilinear warp.

    Args:
        matrix: (2, 3) map from source px to output px.

    Returns:
        Factors along x and y, at least 1, such that the averaged image still has at least as many pixels as the
        output needs.
    """
    lengths = np.linalg.norm(np.asarray(matrix, dtype=np.float64)[:2, :2], axis=0)
    # A map that keeps nothing of an axis (degenerate) must not average the whole image away.
    factors = [int(np.clip(floor(1.0 / length + 1e-9), 1, 64)) if length > 0 else 1 for length in lengths]
    return factors[0], factors[1]


def warp_image(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], *, antialias: bool = True) -> np.ndarray:
    """Warp an image by an affine map.

    Args:
        image: (H, W) or (H, W, C) uint8.
        matrix: (2, 3) map from the image's px to output px.
        size: Width and height of the output in px.
        antialias: Average before shrinking by 2 or more.

    Returns:
        (height, width[, C]) uint8; 0 where the map reaches outside the image.

    Raises:
        InputError: `wrong-array`, if the image is not such an array or is empty; `wrong-shape`, if the matrix is not
            (2, 3); `out-of-range`, if the size is not two whole numbers above 0.
    """
    matrix = np.array(matrix, dtype=np.float64)
    _check_arguments(image, matrix, size)
    width, height = int(size[0]), int(size[1])
    factors = shrink_factors(matrix) if antialias else (1, 1)
    if factors != (1, 1):
        image, matrix = _averaged(image, matrix, size, factors)
    output = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))
    return output.reshape(height, width, *image.shape[2:])


def _check_arguments(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> None:
    kind = f"{getattr(image, 'dtype', type(image).__name__)} of shape {np.shape(image)}"
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise InputError(
            f"image: found {kind}, expected uint8 of shape (H, W) or (H, W, C). Convert it.",
            code="wrong-array",
            argument="image",
        )
    if matrix.shape != (2, 3):
        raise InputError(
            f"matrix: wrong shape, found {matrix.shape}, expected (2, 3)", code="wrong-shape", argument="matrix"
        )
    if len(size) != 2 or any(length < 1 or length != int(length) for length in size):
        raise InputError(
            f"size: found {tuple(size)}, expected width and height in px, whole numbers above 0",
            code="out-of-range",
            argument="size",
        )


def _averaged(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], factors: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Average what the output shows of the image over blocks of pixels; return it and its map to the output."""
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
    """Find left, top, right, bottom (exclusive) of the source px that contribute, aligned to blocks; never empty."""
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
