"""Points in the world from their images: linear, refined on reprojection error, and all pairs of views at once.

A normalized observation (u, v) of the camera P = [R|t] gives two equations linear in the point. Each entry of their
normal matrix is linear in [u^2 + v^2, u, v, 1] with coefficients that depend on the camera alone, so all of them are
one small matrix product, and the solution is a 3x3 adjugate. The world is shifted to the centroid of the cameras first
and this part runs in float64, so float32 input is safe far from the world's origin and at small parallax (and the
product is never done in TF32 or bfloat16).
"""

from __future__ import annotations

import math
from typing import Any

from mvgeom._arrays import (
    adjugate_symmetric,
    as_floating,
    cast,
    check_views,
    common_namespace,
    solve_symmetric,
    stop_gradient,
    wide_dtype,
)
from mvgeom.cameras import Array, CameraGroup
from mvgeom.projection import (
    LocalRig,
    camera_components,
    local_rig,
    normalize,
    normalized_from_pixels,
    pixels_from_normalized,
    pixels_with_jacobian,
    project,
    world_directions,
)

MIN_PARALLAX_DEG = 0.1


def triangulate(
    points: Array,
    cams: CameraGroup,
    weights: Array | None = None,
    *,
    refine_steps: int = 1,
    min_parallax_deg: float = MIN_PARALLAX_DEG,
) -> Array:
    """World points from their observations in several views.

    Weighted linear least squares on normalized coordinates, then Gauss-Newton steps on the weighted squared
    reprojection error in px. A step that would increase that error is not taken.

    Args:
        points: (..., V, K, 2) frame px; NaN is a missing observation.
        cams: V cameras; batch dimensions broadcast with `...`.
        weights: (..., V, K), not negative, broadcasting with the observations; 0 or NaN removes one. For independent
            noise the inverse variance in px.
        refine_steps: number of Gauss-Newton steps; one reaches the optimum on ordinary rigs.
        min_parallax_deg: smallest angle, in degrees, that the viewing lines of at least two views must make.

    Returns:
        (..., K, 3) world; NaN with fewer than two observations or too little parallax.

    Raises:
        ValueError: when shapes do not fit, or cameras and points are of different libraries.
    """
    xp = common_namespace(points, cams)
    points = as_floating(xp, points)
    check_views(points, cams)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    valid, weight = _used(valid, weights, points, xp)
    rig = local_rig(cams, points, xp)
    # A missing observation has weight 0 and so adds exactly nothing, whatever it was filled with.
    features = _features(x, y, weight, xp)
    coefficients = _coefficients(rig, features.dtype, xp)
    entries = _sum_over_views(coefficients, features, xp)
    enough = (xp.sum(xp.astype(valid, xp.int32), axis=-2) >= 2) & _parallax_reaches(
        x, y, valid, rig, min_parallax_deg, xp
    )
    solution, usable = _solve(entries, enough, xp)
    offsets = xp.stack([cast(xp, component, points.dtype) for component in solution], axis=-1)
    for _ in range(refine_steps):
        offsets = _gauss_newton(offsets, points, weight, valid, usable, rig, cams, xp)
    return xp.where(usable[..., None], offsets + rig.origin[..., None, :], xp.nan)


def triangulate_pairs(
    points: Array,
    cams: CameraGroup,
    weights: Array | None = None,
    *,
    min_parallax_deg: float = MIN_PARALLAX_DEG,
) -> Array:
    """World points from every pair of views, by weighted linear least squares.

    Args:
        points: (..., V, K, 2) frame px; NaN is a missing observation.
        cams: V cameras, at least 2; batch dimensions broadcast with `...`.
        weights: as in `triangulate`.
        min_parallax_deg: as in `triangulate`, for each pair.

    Returns:
        (..., P, K, 3) world, pairs in the order of `itertools.combinations(range(V), 2)`; NaN for a pair that lacks an
        observation or parallax, whatever the other pairs are.

    Raises:
        ValueError: when shapes do not fit, or there is only one camera.
    """
    xp = common_namespace(points, cams)
    points = as_floating(xp, points)
    check_views(points, cams)
    _check_pairs(cams)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    valid, weight = _used(valid, weights, points, xp)
    rig = local_rig(cams, points, xp)
    features = _features(x, y, weight, xp)
    coefficients = _coefficients(rig, features.dtype, xp)
    per_view = xp.matrix_transpose(coefficients) @ features
    entries = xp.concat(
        [per_view[..., v : v + 1, :, :] + per_view[..., v + 1 :, :, :] for v in range(len(cams) - 1)], axis=-3
    )
    cosine = _pair_cosines(x, y, rig, xp)
    enough = _pair_valid(valid, xp) & (1 - cosine * cosine >= math.sin(math.radians(min_parallax_deg)) ** 2)
    solution, usable = _solve(entries, enough, xp)
    offsets = xp.stack([cast(xp, component, points.dtype) for component in solution], axis=-1)
    return xp.where(usable[..., None], offsets + rig.origin[..., None, None, :], xp.nan)


def pair_parallax(points: Array, cams: CameraGroup) -> Array:
    """Angle between the two viewing lines of each pair of views.

    Args:
        points: (..., V, K, 2) frame px.
        cams: V cameras, at least 2; batch dimensions broadcast with `...`.

    Returns:
        (..., P, K) degrees from 0 to 90: two cameras that face each other see along one line just as two side by side
        do, and neither pair determines depth. NaN where an observation is missing. No gradient.
    """
    xp = common_namespace(points, cams)
    points = stop_gradient(as_floating(xp, points))
    check_views(points, cams)
    _check_pairs(cams)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    rig = local_rig(cams, points, xp)
    cosine = stop_gradient(_pair_cosines(x, y, rig, xp))
    sine = xp.sqrt(xp.clip(1 - cosine * cosine, 0.0, 1.0))
    angle = xp.atan2(sine, xp.abs(cosine)) * (180 / math.pi)
    return xp.where(_pair_valid(valid, xp), cast(xp, angle, points.dtype), xp.nan)


def reprojection_error(points_3d: Array, points: Array, cams: CameraGroup) -> Array:
    """Distance between observations and the projections of world points.

    Args:
        points_3d: (..., K, 3) world.
        points: (..., V, K, 2) frame px.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        (..., V, K) px; NaN where the observation is missing or the point is not projected into the view.
    """
    xp = common_namespace(points, cams)
    points = as_floating(xp, points)
    check_views(points, cams)
    difference = project(points_3d, cams) - points
    squared = xp.sum(difference * difference, axis=-1)
    # The square root has no derivative at 0; there the gradient is 0.
    positive = squared > 0
    distance = xp.where(positive, xp.sqrt(xp.where(positive, squared, 1.0)), 0.0)
    return xp.where(xp.isfinite(squared), distance, xp.nan)


def covariance(points_3d: Array, cams: CameraGroup, noise: Array | float = 1.0, observed: Array | None = None) -> Array:
    """Covariance of triangulated points from the noise of their observations: the inverse of sum J'J / noise^2.

    That is the Cramer-Rao bound for independent Gaussian noise; J is the Jacobian of the projection in px.

    Args:
        points_3d: (..., K, 3) world.
        cams: V cameras; batch dimensions broadcast with `...`.
        noise: standard deviation per pixel coordinate, one number or (..., V, K), px.
        observed: (..., V, K) booleans, which views took part; all that see the point when left out.

    Returns:
        (..., K, 3, 3) in the square of the world's unit; NaN where fewer than two views see the point, or all along one
        line.
    """
    xp = common_namespace(points_3d, cams)
    points_3d = as_floating(xp, points_3d)
    rig = local_rig(cams, points_3d, xp)
    offsets = points_3d - rig.origin[..., None, :]
    finite = xp.all(xp.isfinite(offsets), axis=-1)
    _, jacobian, valid = _project_with_jacobian(xp.where(finite[..., None], offsets, 0.0), rig, cams, xp)
    valid = valid & finite[..., None, :]
    if observed is not None:
        valid = valid & observed
    precision = xp.where(valid, xp.zeros_like(jacobian[0]) + 1 / (noise * noise), 0.0)
    information = _information(jacobian, precision, points_3d, xp)
    adjugate, determinant = adjugate_symmetric(information)
    usable = (xp.sum(xp.astype(valid, xp.int32), axis=-2) >= 2) & (determinant > 0)
    inverse = 1 / xp.where(usable, determinant, 1.0)
    c00, c01, c02, c11, c12, c22 = (entry * inverse for entry in adjugate)
    rows = [xp.stack(row, axis=-1) for row in ((c00, c01, c02), (c01, c11, c12), (c02, c12, c22))]
    matrix = cast(xp, xp.stack(rows, axis=-2), points_3d.dtype)
    return xp.where(usable[..., None, None], matrix, xp.nan)


def _used(valid: Array, weights: Array | None, points: Array, xp: Any) -> tuple[Array, Array]:
    """Which observations take part, and their weights, 0 for the others."""
    if weights is None:
        return valid, xp.astype(valid, points.dtype)
    valid = valid & (weights > 0)
    return valid, xp.where(valid, cast(xp, weights, points.dtype), 0.0)


def _features(x: Array, y: Array, weight: Array, xp: Any) -> Array:
    """(..., V, 4, K): weight times [x^2 + y^2, x, y, 1], in float64."""
    wide = wide_dtype(xp, x)
    x, y, weight = (cast(xp, part, wide) for part in xp.broadcast_arrays(x, y, weight))
    wx, wy = weight * x, weight * y
    return xp.stack([wx * x + wy * y, wx, wy, weight], axis=-2)


def _coefficients(rig: LocalRig, dtype: Any, xp: Any) -> Array:
    """(..., V, 4, 9): what each feature adds to m00, m01, m02, m03, m11, m12, m13, m22, m23 of [A|-b]'[A|-b]."""
    rows = xp.stack(
        [
            *rig.rotation[:3],
            rig.translation[0],
            *rig.rotation[3:6],
            rig.translation[1],
            *rig.rotation[6:],
            rig.translation[2],
        ],
        axis=-1,
    )
    rows = xp.reshape(cast(xp, rows, dtype), (*rows.shape[:-2], 3, 4))
    outer = rows[..., :, None, :, None] * rows[..., None, :, None, :]
    blocks = xp.stack(
        [
            outer[..., 2, 2, :, :],
            -(outer[..., 2, 0, :, :] + outer[..., 0, 2, :, :]),
            -(outer[..., 2, 1, :, :] + outer[..., 1, 2, :, :]),
            outer[..., 0, 0, :, :] + outer[..., 1, 1, :, :],
        ],
        axis=-3,
    )
    return xp.concat([blocks[..., 0, :], blocks[..., 1, 1:], blocks[..., 2, 2:]], axis=-1)


def _sum_over_views(coefficients: Array, features: Array, xp: Any) -> Array:
    """(..., 9, K) normal equations of all views, one matrix product over views and features."""
    features = xp.reshape(features, (*features.shape[:-3], -1, features.shape[-1]))
    coefficients = xp.reshape(coefficients, (*coefficients.shape[:-3], -1, 9))
    return xp.matrix_transpose(coefficients) @ features


def _solve(entries: Array, enough: Array, xp: Any) -> tuple[tuple[Array, ...], Array]:
    m00, m01, m02, m03, m11, m12, m13, m22, m23 = xp.unstack(entries, axis=-2)
    matrix = (m00, m01, m02, m11, m12, m22)
    _, determinant = adjugate_symmetric(tuple(stop_gradient(m) for m in matrix))
    usable = enough & (determinant > 0)
    return solve_symmetric(matrix, (-m03, -m13, -m23), usable, xp), usable


def _project_with_jacobian(
    offsets: Array, rig: LocalRig, cams: CameraGroup, xp: Any
) -> tuple[tuple[Array, Array], tuple[Array, ...], Array]:
    """Pixels (..., V, K), their six derivatives with respect to the world point, and validity."""
    cx, cy, cz = camera_components(offsets, rig)
    x, y, valid = normalize(cx, cy, cz, cams, xp)
    pixels, (ux, uy, vx, vy) = pixels_with_jacobian(x, y, cams, xp)
    inverse = 1 / xp.where(valid, cz, 1.0)
    ux, uy, vx, vy = ux * inverse, uy * inverse, vx * inverse, vy * inverse
    uz, vz = -(ux * x + uy * y), -(vx * x + vy * y)
    r = rig.rotation
    du = tuple(ux * r[axis] + uy * r[3 + axis] + uz * r[6 + axis] for axis in range(3))
    dv = tuple(vx * r[axis] + vy * r[3 + axis] + vz * r[6 + axis] for axis in range(3))
    return pixels, (*du, *dv), valid


def _information(jacobian: tuple[Array, ...], weight: Array, like: Array, xp: Any) -> tuple[Array, ...]:
    """Unique entries (..., K) of sum over views of weight J'J, in float64: its determinant has units of px^6."""
    wide = wide_dtype(xp, like)
    weighted = tuple(weight * entry for entry in jacobian)
    return tuple(
        xp.sum(cast(xp, weighted[i] * jacobian[j] + weighted[3 + i] * jacobian[3 + j], wide), axis=-2)
        for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    )


def _gauss_newton(
    offsets: Array,
    points: Array,
    weight: Array,
    valid: Array,
    usable: Array,
    rig: LocalRig,
    cams: CameraGroup,
    xp: Any,
) -> Array:
    """One step on the weighted squared reprojection error, where it does not increase that error."""
    (u, v), jacobian, seen = _project_with_jacobian(offsets, rig, cams, xp)
    counted = valid & seen
    weight = xp.where(counted, weight, 0.0)
    eu = xp.where(counted, u - points[..., 0], 0.0)
    ev = xp.where(counted, v - points[..., 1], 0.0)
    information = _information(jacobian, weight, points, xp)
    wide = information[0].dtype
    gradient = tuple(
        xp.sum(cast(xp, weight * (jacobian[axis] * eu + jacobian[3 + axis] * ev), wide), axis=-2) for axis in range(3)
    )
    _, determinant = adjugate_symmetric(tuple(stop_gradient(entry) for entry in information))
    solvable = usable & (determinant > 0) & xp.all(seen | ~valid, axis=-2)
    step = solve_symmetric(information, gradient, solvable, xp)
    moved = offsets - xp.stack([cast(xp, component, offsets.dtype) for component in step], axis=-1)
    before = stop_gradient(xp.sum(weight * (eu * eu + ev * ev), axis=-2))
    after = _cost(stop_gradient(moved), points, weight, valid, rig, cams, xp)
    better = solvable & (after <= before)
    return xp.where(better[..., None], moved, offsets)


def _cost(
    offsets: Array, points: Array, weight: Array, valid: Array, rig: LocalRig, cams: CameraGroup, xp: Any
) -> Array:
    """(..., K) weighted squared reprojection error, infinite where a view that takes part does not see the point."""
    x, y, seen = normalize(*camera_components(offsets, rig), cams, xp)
    u, v = pixels_from_normalized(x, y, cams, xp)
    counted = valid & seen
    eu, ev = xp.where(counted, u - points[..., 0], 0.0), xp.where(counted, v - points[..., 1], 0.0)
    cost = stop_gradient(xp.sum(weight * (eu * eu + ev * ev), axis=-2))
    return xp.where(xp.all(seen | ~valid, axis=-2), cost, xp.inf)


def _pair_cosines(x: Array, y: Array, rig: LocalRig, xp: Any) -> Array:
    """(..., P, K) cosine of the angle between the rays of each pair, without gradient, in float64."""
    wide = wide_dtype(xp, x)
    rotation = tuple(cast(xp, stop_gradient(entry), wide) for entry in rig.rotation)
    rays = world_directions(cast(xp, stop_gradient(x), wide), cast(xp, stop_gradient(y), wide), rotation, xp)
    cosines = []
    for first in range(x.shape[-2] - 1):
        products = [ray[..., first : first + 1, :] * ray[..., first + 1 :, :] for ray in rays]
        cosines.append(products[0] + products[1] + products[2])
    return xp.concat(cosines, axis=-2)


def _pair_valid(valid: Array, xp: Any) -> Array:
    return xp.concat(
        [valid[..., first : first + 1, :] & valid[..., first + 1 :, :] for first in range(valid.shape[-2] - 1)], axis=-2
    )


def _parallax_reaches(x: Array, y: Array, valid: Array, rig: LocalRig, min_parallax_deg: float, xp: Any) -> Array:
    """(..., K) whether some pair of views that take part looks along lines at least that far apart."""
    if valid.shape[-2] < 2:
        return xp.zeros_like(valid[..., 0, :])
    cosine = _pair_cosines(x, y, rig, xp)
    reaches = 1 - cosine * cosine >= math.sin(math.radians(min_parallax_deg)) ** 2
    return xp.any(reaches & _pair_valid(valid, xp), axis=-2)


def _check_pairs(cams: CameraGroup) -> None:
    if len(cams) < 2:
        raise ValueError(f"pairs of views need at least two cameras, the group has {list(cams.names)}")
