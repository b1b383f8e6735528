"""Fusion of the views: each view's heatmaps are completed by what the other views show, through 3D.

A network's heatmap is what one view shows of a keypoint: a peak, two of them (left and right), or none (hidden, or no
image). The place in space on which the heatmaps of all views agree (`agreement`) settles which. Then each view's
heatmap is multiplied by the projection of what the *other* views show: a Gaussian whose width is their uncertainty. A
view that sees the keypoint keeps its own, sharper peak; a view that does not see it gets a place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mvgeom import CameraGroup, covariance, projected_covariance, triangulate
from mvtrain.model.agreement import PEAK_RADIUS, UNIFORM, HeatmapRig, find_agreement

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
