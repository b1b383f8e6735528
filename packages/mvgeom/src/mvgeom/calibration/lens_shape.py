"""Penalty that keeps polynomial lenses one-to-one over the whole image, also where no board was seen.

A polynomial that was fitted to the middle of an image may turn back before the image ends; pixels beyond have no
viewing ray. No lens compresses the border more than orthographic projection does (r_d = sin(theta)), so the slope of
the distorted radius is kept above a half of that projection's slope, out to the farthest corner of the image. The slope
is linear in the radial coefficients, and the penalty is zero for a lens that respects the limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import NUM_POSE, Booleans
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS
from mvgeom.cameras import CameraGroup

__all__ = ["FULL_WEIGHT", "LensShape", "lens_shape"]

FULL_WEIGHT = 50.0
"""px; a slope below its limit by 0.1 counts as much as a corner that is 5 px off."""

_SHARE_OF_ORTHOGRAPHIC = 0.5
_NUM_RADII = 24
_MARGIN = 1.02
"""The lens is kept one-to-one a little beyond the corner, because the focal length still changes."""

_FARTHEST = 4.0
"""Largest normalized radius of an image corner, 76 degrees; wider lenses are not polynomials in the radius."""

_BARREL = 1.6
"""Radius before distortion of the farthest corner, in radii after it, assumed for a lens that does not reach it."""

_FIRST = NUM_POSE + NUM_INTRINSICS


@dataclass(frozen=True, kw_only=True, eq=False)
class LensShape:
    """Radii at which the slope of each lens is kept above its limit.

    Attributes:
        radii: (V, M) normalized radii (angles in radians for fisheye lenses); 0 where a lens has no penalty.
        weight: Penalty in px of a slope that is below its limit by 1.
    """

    radii: Floats
    weight: float

    def residuals(self, cameras: CameraGroup) -> tuple[Floats, Floats]:
        """Return residuals (V, M) in px, 0 where a slope is above its limit, and derivatives (V, M, C) by parameters.

        Args:
            cameras: V cameras; C is 6 + 4 + the number of their stored coefficients.
        """
        num_views, num_radii = self.radii.shape
        length = int(cameras.distortion.shape[-1])
        values = np.zeros((num_views, num_radii))
        slopes = np.zeros((num_views, num_radii, _FIRST + length))
        for view in np.flatnonzero(self.radii.any(axis=1)):
            radius, coefficients = self.radii[view], cameras.distortion[view]
            fisheye = cameras.fisheye[view]
            places = _radial_places(length, fisheye=fisheye)
            powers = 2 * np.arange(1, len(places) + 1)
            by_radial = (powers + 1) * radius[:, None] ** powers
            slope = 1 + by_radial @ coefficients[places]
            by_parameter = np.zeros((num_radii, _FIRST + length))
            by_parameter[:, [_FIRST + place for place in places]] = -by_radial
            if not fisheye and length >= 4:
                # The same bound on the tangential terms as in `lens_range`, where the invertible radius is found.
                tangential = float(np.hypot(*coefficients[2:4]))
                slope = slope - 6 * radius * tangential
                if tangential > 0:
                    by_parameter[:, _FIRST + 2 : _FIRST + 4] = 6 * radius[:, None] * coefficients[2:4] / tangential
            missing = _smallest_slope(radius, fisheye=fisheye) - slope
            broken = (missing > 0) & (radius > 0)
            values[view] = np.where(broken, self.weight * missing, 0.0)
            slopes[view] = np.where(broken[:, None], self.weight * by_parameter, 0.0)
        return values, slopes

    def cost(self, cameras: CameraGroup) -> float:
        """Return half the sum of the squared residuals in px^2."""
        return float(0.5 * (self.residuals(cameras)[0] ** 2).sum())


def lens_shape(
    cameras: CameraGroup, free: Booleans, *, weight: float = FULL_WEIGHT, before: LensShape | None = None
) -> LensShape:
    """Choose the radii of the penalty, out to the farthest corner of each image as the lens is now.

    Args:
        cameras: V cameras with distortion coefficients.
        free: (V, C) booleans, true for parameters that may change. Lenses whose distortion is fixed or not a polynomial
            have no penalty.
        weight: Penalty in px of a slope that is below its limit by 1.
        before: Penalty that led to these lenses, or None. A lens that reaches the corner because of it would turn back
            again if the penalty ended there.
    """
    length = int(cameras.distortion.shape[-1])
    radii = np.zeros((len(cameras), _NUM_RADII))
    for view in range(len(cameras)):
        coefficients = cameras.distortion[view]
        fisheye = cameras.fisheye[view]
        places = _radial_places(length, fisheye=fisheye)
        rational = not fisheye and (coefficients[5:].any() or free[view, _FIRST + 5 :].any())
        if not places or rational or not free[view, [_FIRST + place for place in places]].any():
            continue
        reach = _MARGIN * _corner_radius(cameras, view)
        grid = np.linspace(0, np.pi / 2 if fisheye else _FARTHEST, 400)
        powers = 2 * np.arange(1, len(places) + 1)
        distorted = grid * (1 + grid[:, None] ** powers @ coefficients[places])
        beyond = np.flatnonzero(distorted >= reach)
        if len(beyond):
            end = float(grid[beyond[0]])
        elif fisheye:
            end = float(grid[-1])
        else:
            end = min(_BARREL * reach, _FARTHEST)
        if before is not None:
            end = max(end, min(float(before.radii[view, -1]), _BARREL * reach))
        radii[view] = end * np.arange(1, _NUM_RADII + 1) / _NUM_RADII
    return LensShape(radii=radii, weight=weight)


def _radial_places(length: int, *, fisheye: bool) -> list[int]:
    """Return the places of the radial coefficients among `length` stored ones."""
    if length == 0:
        return []
    return [0, 1, 2, 3] if fisheye else [0, 1, 4] if length >= 5 else [0, 1]


def _smallest_slope(radius: Floats, *, fisheye: bool) -> Floats:
    """Return the smallest slope at a normalized radius, or at an angle from the axis for a fisheye lens."""
    orthographic = np.cos(radius) if fisheye else (1 + radius**2) ** -1.5
    return np.asarray(_SHARE_OF_ORTHOGRAPHIC * orthographic)


def _corner_radius(cameras: CameraGroup, view: int) -> float:
    """Return the distance of the farthest image corner from the principal point, in focal lengths."""
    width, height = cameras.sizes[view] - 0.5
    corners = np.array([[-0.5, -0.5, 1], [width, -0.5, 1], [-0.5, height, 1], [width, height, 1]])
    rays = np.linalg.solve(cameras.matrix[view], corners.T).T
    return float(np.linalg.norm(rays[:, :2], axis=1).max())
