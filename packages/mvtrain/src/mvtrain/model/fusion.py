"""Fusion of the views: each view's heatmaps are completed by what the other views show, through 3D."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mvgeom import CameraGroup, affine, covariance, project, projected_covariance, triangulate, triangulate_pairs
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

OWN_SHARE = 1e-3
"""Share of its own weight with which a view takes part in its own prior.

Where a single other view sees the keypoint, the prior is then the epipolar line of that view, around the view's own
place. Where several do, the share is too small to count. A view that shows nothing still has the keypoint within about
an image of its place: no prior is longer.
"""

PRIOR_WIDTH = 1.5
"""Standard deviation in heatmap px that is added to the prior, for errors of calibration and of the network."""

DOUBT = 1e-3
"""Density of the prior far from its peak, as share of that at the peak: the other views may all err."""

CONFIDENT = 0.5
"""Mass of a heatmap around its peak from which the peak tells how far a camera is displaced."""


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


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Heatmaps of all views after fusion, and what each view showed.

    Attributes:
        logits: (B, V, K, h, w) fused heatmap logits; the given ones where the other views show nothing of the keypoint.
        places: (B, V, K, 2) full-image px of what each view by itself shows near the common place of all views. These
            are observations with errors of their own, as fused keypoints are not: 3D points and their standard
            deviations come from them.
        weights: (B, V, K) inverse variances of `places` in 1/px^2; 0 where a view shows nothing of the keypoint.
    """

    logits: Tensor
    places: Tensor
    weights: Tensor


def fuse_views(
    logits: Tensor, cameras: CameraGroup, to_model: Tensor, present: Tensor, downsample_factor: int
) -> Fusion:
    """Fuse the heatmaps of all views of each keypoint, without gradient.

    Args:
        logits: (B, V, K, h, w) float32 with V at least 2; the heatmap is their softmax.
        cameras: (B, V) cameras.
        to_model: (B, V, 2, 3) maps from full-image px to model px.
        present: (B, V) False for a view without an image, and for all views of a sample without calibration.
        downsample_factor: Heatmap px are 2 to this power model px wide.
    """
    logits = logits.detach()
    heatmaps = logits.flatten(-2).softmax(-1).reshape(logits.shape)
    rig = HeatmapRig(cameras=cameras, to_model=to_model, present=present, downsample_factor=downsample_factor)
    places, weights = find_agreement(heatmaps, rig)
    prior = _prior(places, weights, heatmaps, rig)
    return Fusion(logits=_multiply(logits, heatmaps, prior), places=places, weights=weights)


@dataclass(frozen=True, kw_only=True)
class _Prior:
    """Gaussians in heatmap px, one for each keypoint and view.

    Attributes:
        centers: (B, V, K, 2).
        covariances: (B, V, K, 2, 2).
        known: (B, V, K) False where the other views show nothing.
    """

    centers: Tensor
    covariances: Tensor
    known: Tensor


def _prior(places: Tensor, weights: Tensor, heatmaps: Tensor, rig: HeatmapRig) -> _Prior:
    """Triangulate without one view after the other, and project into the view that was left out."""
    dtype, device = weights.dtype, weights.device
    if device.type != "mps":  # which has no float64
        # Uncertain depths of cameras side by side cancel in the projection, but for the last digits.
        rig, places, weights = rig.widened(), places.double(), weights.double()
    num_views, num_keypoints = places.shape[1:3]
    within_image = rig.px_per_px * rig.present[..., None] / max(heatmaps.shape[-2:]) ** 2
    own = torch.maximum(OWN_SHARE * weights, within_image)
    left_out = torch.eye(num_views, device=device, dtype=torch.bool)[:, :, None]
    # (B, V, V * K): the keypoints without the first view, then those without the second, ...
    without = torch.where(left_out, own[:, :, None], weights[:, :, None]).flatten(2, 3)
    observed = places[:, :, None].expand(-1, -1, num_views, -1, -1).flatten(2, 3)
    points_3d = triangulate(observed, rig.cameras, without)
    spread = covariance(points_3d, rig.cameras, without.clamp(min=1e-12).rsqrt(), without > 0)
    projected = projected_covariance(points_3d, spread, rig.cameras)
    centers, covariances = (
        _of_left_out(values.unflatten(2, (num_views, num_keypoints))) for values in (rig.project(points_3d), projected)
    )
    unit = torch.eye(2, device=device, dtype=weights.dtype)
    scale = rig.scale[:, :, None]
    width = PRIOR_WIDTH**2 + _displacement(heatmaps, centers)[..., None, None, None]
    covariances = scale @ covariances @ scale.mT + width * unit
    known = centers.isfinite().all(-1) & covariances.isfinite().flatten(-2).all(-1) & rig.present[..., None]
    return _Prior(
        centers=torch.where(known[..., None], centers, 0).to(dtype),
        covariances=torch.where(known[..., None, None], covariances, unit).to(dtype),
        known=known,
    )


def _of_left_out(values: Tensor) -> Tensor:
    """Select from (B, V, V, K, ...) what was found for each view without itself: (B, V, K, ...)."""
    return torch.stack([values[:, view, view] for view in range(values.shape[1])], dim=1)


def _displacement(heatmaps: Tensor, centers: Tensor) -> Tensor:
    """Compute the (B, V) squared displacement of a view's confident peaks from the other views' places, in px^2.

    The median over keypoints is that of a camera that has moved, or is late, against the others: their places are then
    no better than that. 0 where most of the peaks are not confident, as those of a blank image.
    """
    width = heatmaps.shape[-1]
    side = 2 * PEAK_RADIUS + 1
    peak = heatmaps.flatten(-2).argmax(-1)
    mass = side**2 * F.avg_pool2d(heatmaps.flatten(0, 1), side, stride=1, padding=PEAK_RADIUS)
    mass = mass.reshape(heatmaps.shape).flatten(-2).gather(-1, peak[..., None])[..., 0]
    offsets = torch.stack([peak % width, peak // width], dim=-1) - centers
    usable = (mass > CONFIDENT) & offsets.isfinite().all(-1)
    median = torch.where(usable[..., None], offsets, torch.nan).nanmedian(2).values
    return torch.where(2 * usable.sum(-1) > usable.shape[-1], median.square().sum(-1), 0)


def _multiply(logits: Tensor, heatmaps: Tensor, prior: _Prior) -> Tensor:
    """Return the logits of the mixed heatmaps times the prior; the given logits where there is no prior."""
    height, width = heatmaps.shape[-2:]
    xx, xy, yy = (prior.covariances[..., row, column] for row, column in ((0, 0), (0, 1), (1, 1)))
    # No eigenvalue is below the width that was added; of long ellipses the difference alone would be rounding.
    determinant = torch.maximum(xx * yy - xy.square(), PRIOR_WIDTH**2 * (xx + yy - PRIOR_WIDTH**2))
    x = torch.arange(width, device=logits.device) - prior.centers[..., :1]
    y = torch.arange(height, device=logits.device) - prior.centers[..., 1:]
    squared = (
        (yy / determinant)[..., None, None] * x.square()[..., None, :]
        - (2 * xy / determinant)[..., None, None] * x[..., None, :] * y[..., :, None]
        + (xx / determinant)[..., None, None] * y.square()[..., :, None]
    )
    mixed = (1 - UNIFORM) * heatmaps + UNIFORM / (height * width)
    fused = mixed.log() + (torch.exp(-squared.clamp(min=0) / 2) + DOUBT).log()
    return torch.where(prior.known[..., None, None], fused, logits)
