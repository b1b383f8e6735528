"""Which patches of two views can show the same point: a bias that keeps attention near epipolar lines.

A point that a patch of one view shows lies, in every other view, on the epipolar line of that patch. Plain attention
over all views has to find out which patches belong together; with known cameras it can be told. The idea of looking
along epipolar lines is that of Epipolar Transformers (He, Yan, Fragkiadaki and Yu, CVPR 2020); here it is an additive
bias on the attention of every block, and so costs no parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mvgeom import CameraGroup, affine, rays

WIDTH = 0.7
"""Standard deviation of the bias across an epipolar line, in patches: a patch is wide, and so is its line."""

LOWEST = -8.0
"""Bias of patches far from the line: e^-8 of the weight, as good as nothing, but never nothing at all."""


def epipolar_bias(
    cameras: CameraGroup,
    to_model: Tensor,
    calibrated: Tensor,
    *,
    image_size: tuple[int, int],
    patch_size: tuple[int, int],
) -> Tensor:
    """What is added to the attention between the patches of all views, before the softmax.

    -d^2 / (2 WIDTH^2), no lower than LOWEST, with d the distance of either patch's centre from the epipolar line of the
    other, in patches: angles from the epipolar plane over the angle between neighbouring patches, root mean square of
    the two. 0 within a view. No gradient.

    Args:
        cameras: (B, V) rigs with distinct centres.
        to_model: (B, V, 2, 3) frame px to model px.
        calibrated: (B,) false where the cameras are placeholders: the bias is 0 there, plain attention.
        image_size: height and width in model px.
        patch_size: rows and columns of pixels.

    Returns:
        (B, V * N, V * N) float32 for the N patches of each view, counted row by row, views one after another;
        symmetric. Patches that no ray reaches (beyond the lens's range) have the bias 0.
    """
    rows, columns = (-(-length // size) for length, size in zip(image_size, patch_size, strict=True))
    batch_size, num_views = to_model.shape[:2]
    y = (torch.arange(rows, device=to_model.device) + 0.5) * patch_size[0] - 0.5
    x = (torch.arange(columns, device=to_model.device) + 0.5) * patch_size[1] - 0.5
    centers = torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)], dim=-1).flatten(0, 1)
    frame = affine.apply(affine.invert(to_model), centers.expand(batch_size, num_views, -1, 2))
    origins, directions = rays(frame, cameras)
    known = directions.isfinite().all(-1)
    directions = torch.where(known[..., None], directions, 0)

    baselines = origins[:, None, :] - origins[:, :, None]
    # (B, V, N, V, 3) normal of the plane through a patch's ray and another view's camera.
    normals = torch.linalg.cross(baselines[:, :, None], directions[:, :, :, None], dim=-1)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    angles = torch.einsum("bvnwc,bwmc->bvnwm", normals, directions)
    distances = angles / _patch_angle(directions, known, (rows, columns))[:, None, None, :, None]
    squared = (distances.square() + distances.square().permute(0, 3, 4, 1, 2)) / 2
    bias = (-squared / (2 * WIDTH**2)).clamp(min=LOWEST)

    other = ~torch.eye(num_views, dtype=torch.bool, device=bias.device)[:, None, :, None]
    both = known[:, :, :, None, None] & known[:, None, None]
    bias = torch.where(other & both & calibrated[:, None, None, None, None], bias, 0)
    return bias.flatten(3, 4).flatten(1, 2)


def _patch_angle(directions: Tensor, known: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, V) mean angle between the rays of neighbouring patches, in rad."""
    rows, columns = grid
    directions, known = directions.unflatten(2, (rows, columns)), known.unflatten(2, (rows, columns))
    total, count = directions.new_zeros(directions.shape[:2]), directions.new_zeros(directions.shape[:2])
    for axis, length in ((2, rows), (3, columns)):
        here, there = slice(0, length - 1), slice(1, length)
        first, second = directions.movedim(axis, 2)[:, :, here], directions.movedim(axis, 2)[:, :, there]
        usable = known.movedim(axis, 2)[:, :, here] & known.movedim(axis, 2)[:, :, there]
        total = total + ((second - first).norm(dim=-1) * usable).sum((2, 3))
        count = count + usable.sum((2, 3))
    # A single patch has no neighbour: no line is then far from it.
    return torch.where(count > 0, total / count.clamp(min=1), 2.0).clamp(min=1e-9)
