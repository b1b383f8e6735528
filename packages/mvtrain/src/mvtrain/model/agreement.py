"""The place in space on which the heatmaps of all views agree, and what each of them shows of it.

For each keypoint it is the maximum of the product of the views' heatmaps at its projections, each heatmap mixed with a
uniform share, which bounds the cost of a view that errs. The product is that of Pavlakos, Zhou, Derpanis and Daniilidis
("Harvesting Multiple Views for Marker-less 3D Human Pose Annotations", CVPR 2017), without their skeleton, and without
a grid in space: peaks of pairs of views give candidates, the product chooses among them, and a few steps of expectation
maximization place the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mvgeom import CameraGroup, affine, project, triangulate, triangulate_pairs
from mvtrain.model.decode import heatmap_to_model, model_to_heatmap

UNIFORM = 0.1
"""Uniform share of a mixed heatmap: the odds that a view errs are about one to ten."""

NUM_PEAKS = 3
"""Peaks of each heatmap from which candidates are made; a prime number, see `_combinations`."""

PEAK_RADIUS = 2
"""Half the side in heatmap px of the window in which a peak is the highest pixel."""

GATES = (4.0, 2.8, 2.0, 1.5, 1.5, 1.5)
"""Standard deviations in heatmap px of the Gaussian around a projection that gates its heatmap, one for each step."""

WINDOW_RADIUS = 8
"""Half the side in heatmap px of the window of a step: twice the widest gate."""

SMALLEST_VARIANCE = 0.5
"""Smallest variance in heatmap px^2 of a view's place; a heatmap is no more precise than about a pixel."""

WIDEST = 3.0
"""Largest factor by which a place is moved away from the center of its gate, to undo the pull of the gate."""

NO_EVIDENCE = 0.01
"""Weight of a view, as share of the keypoint's largest, below which the view shows nothing of the keypoint."""


@dataclass(frozen=True, kw_only=True)
class HeatmapRig:
    """Cameras of B samples, and the pixel frames of their heatmaps.

    Attributes:
        cameras: (B, V) cameras, in full-image px.
        to_model: (B, V, 2, 3) full-image px to model px.
        present: (B, V) False for views that are not used.
        downsample_factor: Heatmap px are 2 to this power model px wide.
    """

    cameras: CameraGroup
    to_model: Tensor
    present: Tensor
    downsample_factor: int

    def to_full(self, points: Tensor) -> Tensor:
        """Convert (B, V, N, 2) from heatmap px to full-image px."""
        return affine.apply(affine.invert(self.to_model), heatmap_to_model(points, self.downsample_factor))

    def project(self, points_3d: Tensor) -> Tensor:
        """Project (B, N, 3) world points to (B, V, N, 2) heatmap px."""
        return model_to_heatmap(affine.apply(self.to_model, project(points_3d, self.cameras)), self.downsample_factor)

    def widened(self) -> HeatmapRig:
        """Return the same in float64."""
        return replace(self, cameras=self.cameras.to(dtype=torch.float64), to_model=self.to_model.double())

    @property
    def scale(self) -> Tensor:
        """Return the (B, V, 2, 2) linear maps from full-image px to heatmap px."""
        return self.to_model[..., :2] / 2**self.downsample_factor

    @property
    def px_per_px(self) -> Tensor:
        """Return (B, V, 1): the area in heatmap px^2 of a full-image px."""
        return torch.linalg.det(self.scale).abs()[..., None]


def find_agreement(heatmaps: Tensor, rig: HeatmapRig) -> tuple[Tensor, Tensor]:
    """Find the places on which the views agree.

    Args:
        heatmaps: (B, V, K, h, w) of sum 1.
        rig: Cameras and pixel frames of the heatmaps.

    Returns:
        Places (B, V, K, 2) in full-image px that each view shows near the common place, and their weights (B, V, K),
        inverse variances in 1/px^2; 0 where a view shows nothing of the keypoint.
    """
    return _place(_choose(_candidates(heatmaps, rig), heatmaps, rig), heatmaps, rig)


def _combinations(num_views: int, device: torch.device) -> Tensor:
    """Return (V, 9) numbers of peaks: of any two of four views, each of the nine pairs of peaks occurs once.

    They are an orthogonal array of strength 2: the lines of four slopes in the plane over the integers modulo 3. Views
    whose numbers are equal modulo 4 have one slope; of two of them, only peaks of the same number are paired.
    """
    first, second = torch.meshgrid(*[torch.arange(NUM_PEAKS, device=device)] * 2, indexing="ij")
    slope = (torch.arange(num_views, device=device) % (NUM_PEAKS + 1))[:, None, None]
    return torch.where(slope == NUM_PEAKS, second, (first + slope * second) % NUM_PEAKS).flatten(1)


def _candidates(heatmaps: Tensor, rig: HeatmapRig) -> Tensor:
    """Triangulate peaks of every pair of views, and of all views: (B, K, C, 3) world, NaN where that fails."""
    batch_size, num_views, num_keypoints, _, width = heatmaps.shape
    flat = heatmaps.flatten(0, 2)[:, None]
    is_peak = flat == F.max_pool2d(flat, 2 * PEAK_RADIUS + 1, stride=1, padding=PEAK_RADIUS)
    pixels = torch.where(is_peak, flat, 0).flatten(1).topk(NUM_PEAKS, dim=-1).indices
    peaks = torch.stack([pixels % width, pixels // width], dim=-1).to(heatmaps.dtype)
    peaks = peaks.reshape(batch_size, num_views, num_keypoints, NUM_PEAKS, 2)
    chosen = _combinations(num_views, peaks.device)[None, :, None, :, None]
    points = rig.to_full(peaks.gather(3, chosen.expand(batch_size, -1, num_keypoints, -1, 2)).flatten(2, 3))
    weights = rig.present[..., None].to(points.dtype).expand(points.shape[:-1])
    of_pairs = triangulate_pairs(points, rig.cameras, weights)
    of_all = triangulate(points, rig.cameras, weights, refine_steps=0)
    found = torch.cat([of_pairs, of_all[:, None]], dim=1)
    return found.unflatten(2, (num_keypoints, -1)).transpose(1, 2).flatten(2, 3)


def _choose(candidates: Tensor, heatmaps: Tensor, rig: HeatmapRig) -> Tensor:
    """Choose the (B, K, 3) candidate with the largest product of mixed heatmaps; NaN without candidates."""
    num_keypoints, num_candidates = candidates.shape[1:3]
    height, width = heatmaps.shape[-2:]
    blurred = F.avg_pool2d(heatmaps.flatten(0, 1), 3, stride=1, padding=1, count_include_pad=False)
    # Relative to the uniform share, so that the logarithm is 0 outside the image.
    gain = torch.log1p(blurred * ((1 - UNIFORM) / UNIFORM * height * width)).flatten(0, 1)[:, None]
    places = rig.project(candidates.flatten(1, 2)).unflatten(2, (num_keypoints, num_candidates))
    grid = (2 * places + 1) / torch.stack([places.new_tensor(float(size)) for size in (width, height)]) - 1
    sampled = F.grid_sample(gain, grid.nan_to_num(nan=-3.0).clamp(-3, 3).flatten(0, 2)[:, :, None], align_corners=False)
    score = (sampled.reshape(places.shape[:-1]) * rig.present[..., None, None]).sum(1)
    best = torch.where(candidates.isfinite().all(-1), score, -1.0).argmax(-1)
    return candidates.gather(2, best[..., None, None].expand(-1, -1, 1, 3))[:, :, 0]


def _place(best: Tensor, heatmaps: Tensor, rig: HeatmapRig) -> tuple[Tensor, Tensor]:
    """Move keypoints to a maximum of the product by expectation maximization.

    Each step takes the mean of every heatmap under a Gaussian gate around the projection, undoes the pull of the gate
    as if the heatmap were Gaussian, and triangulates the means, weighted by their precision and by the share of the
    gated mass that is not the uniform one.

    Returns:
        Places and weights, as of `find_agreement`.
    """
    height, width = heatmaps.shape[-2:]
    offsets = torch.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1, device=heatmaps.device)
    places = weights = best
    for gate in GATES:
        center = rig.project(best)
        known = center.isfinite().all(-1)
        center = torch.where(known[..., None], center, 0).clamp(-1e6, 1e6)
        columns, rows = (center[..., axis, None].round().long() + offsets for axis in (0, 1))
        inside = ((rows >= 0) & (rows < height))[..., :, None] & ((columns >= 0) & (columns < width))[..., None, :]
        pixels = rows.clamp(0, height - 1)[..., :, None] * width + columns.clamp(0, width - 1)[..., None, :]
        window = heatmaps.flatten(-2).gather(-1, pixels.flatten(-2)).reshape(pixels.shape) * inside
        x, y = columns - center[..., :1], rows - center[..., 1:]
        gate_x, gate_y = (torch.exp(-distance.square() / (2 * gate**2)) for distance in (x, y))
        window = window * gate_x[..., None, :] * gate_y[..., :, None]
        mass = window.sum((-2, -1))
        window = window / mass.clamp(min=torch.finfo(mass.dtype).tiny)[..., None, None]
        means, variances = zip(*(_moments(window.sum(axis), place) for axis, place in ((-2, x), (-1, y))), strict=True)
        variance = (variances[0] + variances[1]) / 2
        # Of two Gaussians that are multiplied, precisions add, and the mean is weighted by them.
        precision = (1 / variance.clamp(min=1e-6) - 1 / gate**2).clamp(min=1e-3, max=1 / SMALLEST_VARIANCE)
        pull = (1 + 1 / (gate**2 * precision)).clamp(max=WIDEST)
        places = rig.to_full(center + torch.stack(means, dim=-1) * pull[..., None])
        uniform = UNIFORM * 2 * math.pi * gate**2 / (height * width)
        weights = mass / (mass + uniform) * precision * rig.px_per_px * (known & rig.present[..., None])
        moved = triangulate(places, rig.cameras, weights)
        best = torch.where(moved.isfinite(), moved, best)
    shown = weights > NO_EVIDENCE * weights.amax(1, keepdim=True)
    return places, torch.where(shown, weights, 0)


def _moments(density: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and variance (...) of a density (..., n) at places (..., n)."""
    mean = (density * places).sum(-1)
    return mean, (density * (places - mean[..., None]).square()).sum(-1)
