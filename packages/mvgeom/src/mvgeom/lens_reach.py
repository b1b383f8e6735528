"""Share of an image whose pixels have no viewing ray, because the lens model ends or turns back before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mvgeom.cameras import CameraGroup
from mvgeom.projection import invertible_radius, undistort

__all__ = ["folds_at", "image_without_ray", "keypoints_without_ray", "rays_on_grid"]

Floats = npt.NDArray[np.float64]

_CELLS = 48
_PART = 200_000
"""Numbers that are undistorted at once."""
_WIDEST = 99.0
"""Normalized radius beyond which a lens model did not turn back; see `lens_range.MAX_RADIUS`."""


def image_without_ray(cams: CameraGroup) -> Floats:
    """Return the fraction (V,) of each image whose pixels have no viewing ray, on a grid of 49x49 pixels.

    Args:
        cams: V cameras, NumPy, no batch dimensions.
    """
    return np.asarray(np.isnan(rays_on_grid(cams)[..., 0]).mean(axis=(-1, -2)))


def rays_on_grid(cams: CameraGroup) -> Floats:
    """Return the viewing rays (V, 49, 49, 2) of pixels on a grid over each image, row by row, see `undistort`.

    Args:
        cams: V cameras, NumPy, no batch dimensions.
    """
    steps = np.linspace(0, 1, _CELLS + 1)
    places = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    rays = undistort(places * cams.sizes[:, None] - 0.5, cams)
    return np.asarray(rays.reshape(len(cams), _CELLS + 1, _CELLS + 1, 2))


def keypoints_without_ray(points: Floats, cams: CameraGroup) -> npt.NDArray[np.int64]:
    """Return the number (V,) of keypoints inside their image that have no viewing ray.

    Args:
        points: (..., V, K, 2) keypoints in full-image px; NaN is missing.
        cams: V cameras, NumPy, no batch dimensions.
    """
    rows = points.reshape(-1, *points.shape[-3:])
    count = np.zeros(len(cams), dtype=np.int64)
    # In parts: the iterations of `undistort` need several times the memory of a long recording.
    step = max(1, _PART // max(1, rows[:1].size))
    for part in (rows[start : start + step] for start in range(0, len(rows), step)):
        inside = ((part >= -0.5) & (part <= cams.sizes[:, None] - 0.5)).all(axis=-1)
        count += (inside & np.isnan(undistort(part, cams)[..., 0])).sum(axis=(0, -1))
    return count


def folds_at(cams: CameraGroup) -> Floats:
    """Return the angle (V,) from the optical axis, in degrees, at which each lens model turns back; infinity if never.

    Args:
        cams: V cameras, NumPy, no batch dimensions.
    """
    radius = np.asarray(invertible_radius(cams))
    return np.where(radius < _WIDEST, np.rad2deg(np.arctan(radius)), np.inf)
