"""Gauss-Newton steps on the reprojection error of points, and the information matrix of observations."""

from __future__ import annotations

from typing import Any

from mvgeom._arrays import Array, cast, solve_symmetric, stop_gradient, wide_dtype
from mvgeom._components import (
    LocalRig,
    Vector,
    camera_components,
    normalize,
    pixels_from_normalized,
    pixels_with_jacobian,
    world_rays,
)
from mvgeom.cameras import CameraGroup

__all__ = ["gauss_newton", "information", "project_with_jacobian"]


def project_with_jacobian(
    offset: Vector, rig: LocalRig, cams: CameraGroup, xp: Any
) -> tuple[tuple[Array, Array], tuple[Array, ...], Array]:
    """Project points; return pixels (..., V, K), their six derivatives with respect to the point, and validity."""
    x, y, inverse_depth, valid = normalize(camera_components(offset, rig), cams, xp)
    pixels, jacobian = pixels_with_jacobian(x, y, cams, xp)
    ux, uy, vx, vy = (entry * inverse_depth for entry in jacobian)
    du = world_rays(ux, uy, -(ux * x + uy * y), rig.rotation)
    dv = world_rays(vx, vy, -(vx * x + vy * y), rig.rotation)
    return pixels, (*du, *dv), valid


def information(jacobian: tuple[Array, ...], weight: Array, xp: Any) -> tuple[Array, ...]:
    """Sum weight J'J over views, as unique entries (..., K) in float64: products of three entries are in px^6."""
    weighted = tuple(weight * entry for entry in jacobian)
    wide = wide_dtype(xp, weight)
    return tuple(
        cast(xp, xp.sum(weighted[i] * jacobian[j] + weighted[3 + i] * jacobian[3 + j], axis=-2), wide)
        for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    )


def gauss_newton(
    offset: Vector,
    points: Array,
    weight: Array,
    valid: Array,
    usable: Array,
    rig: LocalRig,
    cams: CameraGroup,
    xp: Any,
) -> Vector:
    """Take one step on the weighted squared reprojection error, where it does not increase that error."""
    pixels, jacobian, seen = project_with_jacobian(offset, rig, cams, xp)
    eu, ev = _residuals(pixels, points, valid & seen, xp)
    wide = wide_dtype(xp, points)
    weighted_u, weighted_v = weight * eu, weight * ev
    gradient = tuple(
        cast(xp, xp.sum(weighted_u * jacobian[axis] + weighted_v * jacobian[3 + axis], axis=-2), wide)
        for axis in range(3)
    )
    # The error is undefined if a view in use does not see the first estimate; the estimate is then kept.
    solvable = usable & xp.all(seen | ~valid, axis=-2)
    step, solved = solve_symmetric(information(jacobian, weight, xp), gradient, solvable, xp)
    moved = tuple(old - cast(xp, change, old.dtype) for old, change in zip(offset, step, strict=True))
    before = stop_gradient(xp.sum(weighted_u * eu + weighted_v * ev, axis=-2))

    x, y, _, seen = normalize(camera_components(tuple(stop_gradient(part) for part in moved), rig), cams, xp)
    eu, ev = _residuals(pixels_from_normalized(x, y, cams, xp), points, valid & seen, xp)
    after = stop_gradient(xp.sum(weight * (eu * eu + ev * ev), axis=-2))
    # At the minimum, rounding alone may increase the error.
    better = solved & xp.all(seen | ~valid, axis=-2) & (after <= before * 1.0001 + 1e-9)
    x, y, z = (xp.where(better, new, old) for new, old in zip(moved, offset, strict=True))
    return x, y, z


def _residuals(pixels: tuple[Array, Array], points: Array, counted: Array, xp: Any) -> tuple[Array, Array]:
    """Return projection minus observation in px, 0 where the observation is not used."""
    u, v = pixels
    return xp.where(counted, u - points[..., 0], 0.0), xp.where(counted, v - points[..., 1], 0.0)
