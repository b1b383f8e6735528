"""Attention bias that keeps attention between views near epipolar lines.

A point that a patch of one view shows lies, in every other view, on the epipolar line of that patch. Plain attention
over all views has to learn which patches belong together; known cameras give it. The idea of attending along epipolar
lines is that of Epipolar Transformers (He, Yan, Fragkiadaki and Yu, CVPR 2020); here it is an additive bias on the
attention of every block, and so costs no parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mvgeom import CameraGroup, affine, rays
from mvtrain.model.backbone import patch_centers, patch_grid

WIDTH = 0.7
"""Standard deviation of the bias across an epipolar line, in patches: a patch is wide, and so is its line."""

LOWEST = -8.0
"""Bias of patches far from the line: e^-8 of the weight, which is nearly nothing but never zero."""


def epipolar_bias(
    cameras: CameraGroup,
    to_model: Tensor,
    calibrated: Tensor,
    *,
    image_size: tuple[int, int],
    patch_size: tuple[int, int],
) -> Tensor:
    """Compute the term that is added to the attention logits between patches of all views; see `bias_between_rays`.

    Args:
        cameras: (B, V) cameras with distinct centers.
        to_model: (B, V, 2, 3) full-image px to model px.
        calibrated: (B,) False where the cameras are placeholders: the bias is 0 there, plain attention.
        image_size: Height and width in model px.
        patch_size: Rows and columns of pixels.

    Returns:
        (B, V * N, V * N) float32. Patches that no ray reaches (beyond the lens's range) have the bias 0.
    """
    grid = patch_grid(image_size, patch_size)
    batch_size, num_views = to_model.shape[:2]
    centers = patch_centers(grid, patch_size, to_model.device)
    full = affine.apply(affine.invert(to_model), centers.expand(batch_size, num_views, -1, 2))
    origins, directions = rays(full, cameras)
    known = directions.isfinite().all(-1) & calibrated[:, None, None]
    return bias_between_rays(origins, torch.where(known[..., None], directions, 0), grid)


def bias_between_rays(origins: Tensor, directions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Compute the attention bias from the rays through the patches' centers.

    -d^2 / (2 WIDTH^2), no lower than LOWEST, with d the distance of either patch's center from the epipolar line of the
    other, in patches: angles from the epipolar plane over the angle between neighboring patches, root mean square of
    the two. 0 within a view, and where a ray is unknown. No gradient.

    Args:
        origins: (B, V, 3) centers of the cameras, in any one coordinate frame and unit.
        directions: (B, V, N, 3) unit vectors, patches row by row; zeros where a ray is unknown.
        grid: Rows and columns of the N patches.

    Returns:
        (B, V * N, V * N) float32, views one after another; symmetric.
    """
    num_views = origins.shape[1]
    baselines = origins[:, None, :] - origins[:, :, None]
    # (B, V, N, V, 3) normal of the plane through a patch's ray and another view's camera.
    normals = torch.linalg.cross(baselines[:, :, None], directions[:, :, :, None], dim=-1)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    angles = torch.einsum("bvnwc,bwmc->bvnwm", normals, directions)
    distances = angles / _patch_angle(directions, grid)[:, None, None, :, None]
    squared = (distances.square() + distances.square().permute(0, 3, 4, 1, 2)) / 2
    bias = (-squared / (2 * WIDTH**2)).clamp(min=LOWEST)

    # A ray of zeros has no plane and lies in every other: it is at distance 0 already.
    other = ~torch.eye(num_views, dtype=torch.bool, device=bias.device)[:, None, :, None]
    return torch.where(other, bias, 0).flatten(3, 4).flatten(1, 2)


def _patch_angle(directions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Compute the (B, V) mean angle between the known rays of neighboring patches, in rad."""
    rows, columns = grid
    directions = directions.unflatten(2, (rows, columns))
    known = (directions != 0).any(-1)
    total, count = directions.new_zeros(directions.shape[:2]), directions.new_zeros(directions.shape[:2])
    for axis, length in ((2, rows), (3, columns)):
        here, there = slice(0, length - 1), slice(1, length)
        first, second = directions.movedim(axis, 2)[:, :, here], directions.movedim(axis, 2)[:, :, there]
        usable = known.movedim(axis, 2)[:, :, here] & known.movedim(axis, 2)[:, :, there]
        total = total + ((second - first).norm(dim=-1) * usable).sum((2, 3))
        count = count + usable.sum((2, 3))
    # A single patch has no neighbor: no line is then far from it.
    return torch.where(count > 0, total / count.clamp(min=1), 2.0).clamp(min=1e-9)
