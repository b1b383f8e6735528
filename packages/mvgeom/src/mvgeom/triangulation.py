"""Triangulation of world points: linear, refined on reprojection error, and for all pairs of views at once.

A normalized observation (u, v) of the camera P = [R|t] gives two equations that are linear in the point. Each entry of
their normal matrix is linear in [u^2 + v^2, u, v, 1], with coefficients that depend only on the camera. All entries are
therefore one small matrix product, and the solution is a 3x3 adjugate. First the world is shifted to the centroid of
the cameras. This part runs in float64, so float32 input is accurate even far from the world's origin and at small
parallax (and the product is never computed in TF32 or bfloat16).
"""

from __future__ import annotations

import math
from typing import Any

from mvgeom._arrays import (
    Array,
    adjugate_symmetric,
    cast,
    check_broadcast,
    check_number,
    solve_symmetric,
    stop_gradient,
    wide_dtype,
)
from mvgeom._checks import beside_observations, check_views, check_world, floating_points
from mvgeom._components import (
    LocalRig,
    Vector,
    camera_components,
    cross,
    dot,
    local_rig,
    normalized_from_pixels,
    pair_slices,
    world_components,
    world_rays,
)
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.projection import project
from mvgeom.refinement import gauss_newton, information, project_with_jacobian

__all__ = [
    "MIN_PARALLAX_DEG",
    "covariance",
    "pair_parallax",
    "projected_covariance",
    "projection_jacobian",
    "reprojection_error",
    "triangulate",
    "triangulate_pairs",
]

MIN_PARALLAX_DEG = 0.1


def triangulate(
    points: Array,
    cams: CameraGroup,
    weights: Array | None = None,
    *,
    refine_steps: int = 1,
    min_parallax_deg: float = MIN_PARALLAX_DEG,
) -> Array:
    """Triangulate world points from observations in several views.

    The first estimate is weighted linear least squares on normalized coordinates. Gauss-Newton steps on the weighted
    squared reprojection error in px follow. A step that would increase that error is not taken.

    Args:
        points: (..., V, K, 2) observations in full-image px; NaN is missing, and so is a pixel without a viewing ray
            (see `undistort`).
        cams: V cameras; batch dimensions broadcast with `...`.
        weights: (..., V, K) weights of the observations, not negative, broadcast with the observations; 0 or NaN
            removes one. For independent noise, use the inverse variance in 1/px^2.
        refine_steps: Number of Gauss-Newton steps; one reaches the optimum on ordinary rigs.
        min_parallax_deg: Smallest angle in degrees that the viewing lines of at least two views must make.

    Returns:
        World points (..., K, 3); NaN with fewer than two observations or too little parallax, and for points behind all
        cameras that observe them.

    Raises:
        InputError: `wrong-shape`, if shapes are inconsistent; `wrong-array`, if cameras and points are of different
            libraries or the points have half precision.
    """
    check_number(refine_steps, "refine_steps", whole=True)
    check_number(min_parallax_deg, "min_parallax_deg")
    xp, points = floating_points(points, cams)
    check_views(points, cams)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    valid, weight = _used(valid, weights, points, cams, xp)
    rig = local_rig(cams, points, xp)
    features, coefficients = _features(x, y, weight, xp), _coefficients(rig, x, xp)
    features = xp.reshape(features, (*features.shape[:-3], 4 * len(cams), features.shape[-1]))
    coefficients = xp.reshape(coefficients, (*coefficients.shape[:-3], 4 * len(cams), 9))
    entries = xp.matrix_transpose(coefficients) @ features
    excess = _parallax_excess(x, y, valid, rig, min_parallax_deg, xp)
    solution, usable = _solve(entries, xp.max(excess, axis=-2) > 0, xp)
    offset = tuple(cast(xp, component, points.dtype) for component in solution)
    for _ in range(refine_steps):
        offset = gauss_newton(offset, points, weight, valid, usable, rig, cams, xp)
    ahead = xp.any(valid & _in_front(offset, rig, xp), axis=-2)
    usable = usable & ahead
    return _from_local(offset, usable, rig.origin, xp)


def triangulate_pairs(
    points: Array,
    cams: CameraGroup,
    weights: Array | None = None,
    *,
    min_parallax_deg: float = MIN_PARALLAX_DEG,
) -> Array:
    """Triangulate world points from every pair of views by weighted linear least squares.

    Args:
        points: (..., V, K, 2) observations in full-image px; NaN is missing.
        cams: V cameras, at least 2; batch dimensions broadcast with `...`.
        weights: (..., V, K) weights of the observations, as in `triangulate`.
        min_parallax_deg: Smallest angle in degrees between the two viewing lines of each pair.

    Returns:
        World points (..., P, K, 3), pairs in the order of `itertools.combinations(range(V), 2)`; NaN for a pair that
        lacks an observation or parallax, or whose point is behind both, independent of the other pairs.

    Raises:
        InputError: `wrong-shape`, if shapes are inconsistent; `too-few-views`, if there is only one camera;
            `wrong-array`, if cameras and points are of different libraries or the points have half precision.
    """
    check_number(min_parallax_deg, "min_parallax_deg")
    xp, points = floating_points(points, cams)
    check_views(points, cams, at_least=2)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    valid, weight = _used(valid, weights, points, cams, xp)
    rig = local_rig(cams, points, xp)
    per_view = xp.matrix_transpose(_coefficients(rig, x, xp)) @ _features(x, y, weight, xp)
    pairs = [per_view[..., one, :, :] + per_view[..., others, :, :] for one, others in pair_slices(len(cams))]
    solution, usable = _solve(
        xp.concat(pairs, axis=-3), _parallax_excess(x, y, valid, rig, min_parallax_deg, xp) > 0, xp
    )
    offset = tuple(cast(xp, component, points.dtype) for component in solution)
    usable = usable & _any_in_front(offset, rig, xp)
    return _from_local(offset, usable, tuple(component[..., None, :] for component in rig.origin), xp)


def pair_parallax(points: Array, cams: CameraGroup) -> Array:
    """Compute the angle between the two viewing lines of each pair of views.

    Args:
        points: (..., V, K, 2) observations in full-image px; NaN is missing.
        cams: V cameras, at least 2; batch dimensions broadcast with `...`.

    Returns:
        Angles (..., P, K) from 0 to 90 degrees: two cameras that face each other see along one line, as do two cameras
        side by side, and neither pair determines depth. NaN where an observation is missing. No gradient.

    Raises:
        InputError: `too-few-views` for one camera; `wrong-shape`, if the points do not fit the cameras; `wrong-array`,
            if they are of another library.
    """
    xp, points = floating_points(points, cams)
    check_views(points, cams, at_least=2)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    rays, _ = _rays(x, y, valid, local_rig(cams, points, xp), xp)
    angles = []
    for one, others in pair_slices(len(cams)):
        a, b = tuple(ray[..., one, :] for ray in rays), tuple(ray[..., others, :] for ray in rays)
        normal = cross(a, b)
        angle = xp.atan2(xp.sqrt(dot(normal, normal)), xp.abs(dot(a, b))) * (180 / math.pi)
        angles.append(xp.where(valid[..., one, :] & valid[..., others, :], angle, xp.nan))
    return xp.concat(angles, axis=-2)


def reprojection_error(points_3d: Array, points: Array, cams: CameraGroup) -> Array:
    """Compute the distance between observations and the projections of world points.

    Args:
        points_3d: (..., K, 3) world points; NaN is missing.
        points: (..., V, K, 2) observations in full-image px; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        Reprojection errors (..., V, K) in px; NaN where the observation is missing or the point has no projection in
            the view.

    Raises:
        InputError: `wrong-shape`, if the arrays do not fit the cameras; `wrong-array`, if they are of another library.
    """
    xp, points = floating_points(points, cams)
    check_views(points, cams)
    _, points_3d = floating_points(points_3d, cams, "points_3d")
    check_world(points_3d, cams, "points_3d")
    check_broadcast("points_3d", points_3d.shape[:-2], points.shape[:-3], "the points")
    check_broadcast("points_3d", points_3d.shape[-2:-1], points.shape[-2:-1], "the points")
    difference = project(points_3d, cams) - points
    squared = xp.sum(difference * difference, axis=-1)
    # The square root has no derivative at 0; the gradient there is set to 0.
    positive = squared > 0
    distance = xp.where(positive, xp.sqrt(xp.where(positive, squared, 1.0)), 0.0)
    return xp.where(xp.isfinite(squared), distance, xp.nan)


def covariance(points_3d: Array, cams: CameraGroup, noise: Array | float = 1.0, observed: Array | None = None) -> Array:
    """Compute the covariance of triangulated points from the noise of observations: the inverse of sum J'J / noise^2.

    This is the Cramer-Rao bound for independent Gaussian noise; J is the Jacobian of the projection in px.

    Args:
        points_3d: (..., K, 3) world points; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.
        noise: Standard deviation per pixel coordinate in px, one number or (..., V, K).
        observed: (..., V, K) booleans, true for views that were used; None means all views that see the point.

    Returns:
        Covariance matrices (..., K, 3, 3) in the square of the world's unit; NaN where fewer than two views see the
        point, or all along one line.

    Raises:
        InputError: `wrong-shape`, if the points are not (..., K, 3); `wrong-array`, if they are of another library than
            the cameras.
    """
    xp, points_3d = floating_points(points_3d, cams, "points_3d")
    check_world(points_3d, cams, "points_3d")
    leading, number = points_3d.shape[:-2], points_3d.shape[-2]
    if not isinstance(noise, int | float):
        noise = beside_observations(xp, noise, points_3d, leading, number, cams, "noise")
    if observed is not None:
        observed = beside_observations(xp, observed, points_3d, leading, number, cams, "observed") > 0
    rig = local_rig(cams, points_3d, xp)
    offset, present = world_components(points_3d, rig, xp)
    _, jacobian, seen = project_with_jacobian(offset, rig, cams, xp)
    valid = seen & present[..., None, :]
    if observed is not None:
        valid = valid & observed
    precision = xp.where(valid, xp.ones_like(jacobian[0]) / (noise * noise), 0.0)
    adjugate, determinant = adjugate_symmetric(information(jacobian, precision, xp))
    usable = (xp.sum(xp.astype(valid, xp.int32), axis=-2) >= 2) & (determinant > 0)
    inverse = 1 / xp.where(usable, determinant, 1.0)
    c00, c01, c02, c11, c12, c22 = (xp.where(usable, entry * inverse, xp.nan) for entry in adjugate)
    matrix = xp.stack([c00, c01, c02, c01, c11, c12, c02, c12, c22], axis=-1)
    return xp.reshape(cast(xp, matrix, points_3d.dtype), (*matrix.shape[:-1], 3, 3))


def projected_covariance(points_3d: Array, covariances: Array, cams: CameraGroup) -> Array:
    """Compute the covariance of the projections of uncertain world points: J C J', J the Jacobian of the projection.

    Args:
        points_3d: (..., K, 3) world points; NaN is missing.
        covariances: (..., K, 3, 3) covariance matrices C of the points, such as those of `covariance`; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        Covariance matrices (..., V, K, 2, 2) in px^2; NaN where a point is missing or has no projection in the view.

    Raises:
        InputError: `wrong-shape`, if the points are not (..., K, 3), or the covariances not theirs; `wrong-array`, if
            the cameras are of another array library or the points have half precision; `bad-number`, if a list is not
            regular.
    """
    xp, points_3d = floating_points(points_3d, cams, "points_3d")
    _, covariances = floating_points(covariances, cams, "covariances")
    jacobian, known = _jacobian(points_3d, cams, xp)
    shape = (int(points_3d.shape[-2]), 3, 3)
    if tuple(covariances.shape[-3:]) != shape:
        raise InputError(
            f"covariances: wrong shape, found {tuple(covariances.shape)}, expected (..., {shape[0]}, 3, 3) as for the "
            "points",
            code="wrong-shape",
            argument="covariances",
            found=tuple(covariances.shape),
        )
    check_broadcast("covariances", covariances.shape[:-3], jacobian.shape[:-4], "the points")
    matrix = jacobian @ covariances[..., None, :, :, :] @ xp.matrix_transpose(jacobian)
    return xp.where(known[..., None, None], matrix, xp.nan)


def projection_jacobian(points_3d: Array, cams: CameraGroup) -> Array:
    """Compute the derivatives of the projections of world points with respect to the points, analytically.

    Args:
        points_3d: (..., K, 3) world points; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        Jacobians (..., V, K, 2, 3) in px per world unit; NaN where a point is missing or has no projection in the view.

    Raises:
        InputError: `wrong-shape`, if the points are not (..., K, 3); `wrong-array`, if the cameras are of another array
            library or the points have half precision.
    """
    xp, points_3d = floating_points(points_3d, cams, "points_3d")
    jacobian, known = _jacobian(points_3d, cams, xp)
    return xp.where(known[..., None, None], jacobian, xp.nan)


def _jacobian(points_3d: Array, cams: CameraGroup, xp: Any) -> tuple[Array, Array]:
    """Return Jacobians (..., V, K, 2, 3), and booleans (..., V, K), False where they have no meaning."""
    check_world(points_3d, cams, "points_3d")
    rig = local_rig(cams, points_3d, xp)
    offset, present = world_components(points_3d, rig, xp)
    _, entries, seen = project_with_jacobian(offset, rig, cams, xp)
    entries = tuple(xp.broadcast_arrays(*entries))
    jacobian = xp.stack([xp.stack(entries[:3], axis=-1), xp.stack(entries[3:], axis=-1)], axis=-2)
    return jacobian, seen & present[..., None, :]


def _in_front(offset: Vector, rig: LocalRig, xp: Any) -> Array:
    """Return booleans (..., V, K), True for points in front of a camera; no gradient."""
    _, _, depth = camera_components(tuple(stop_gradient(part) for part in offset), rig)
    return depth > 0


def _any_in_front(offset: Vector, rig: LocalRig, xp: Any) -> Array:
    """Return booleans (..., P, K), True for points of pairs of views in front of one of the two; no gradient."""
    rotation, translation = rig.rotation[6:], rig.translation[2]
    x, y, z = (stop_gradient(part) for part in offset)
    ahead, place = [], 0
    num_views = rotation[0].shape[-2]
    for one, others in pair_slices(num_views):
        rows = slice(place, place + num_views - 1 - one.start)
        place = rows.stop
        depths = []
        for views in (one, others):
            r20, r21, r22 = (entry[..., views, :] for entry in rotation)
            depths.append(
                r20 * x[..., rows, :] + r21 * y[..., rows, :] + r22 * z[..., rows, :] + translation[..., views, :]
            )
        ahead.append((depths[0] > 0) | (depths[1] > 0))
    return xp.concat(ahead, axis=-2)


def _used(valid: Array, weights: Array | None, points: Array, cams: CameraGroup, xp: Any) -> tuple[Array, Array]:
    """Return booleans of the observations in use, and their weights, 0 for the others."""
    if weights is None:
        return valid, xp.astype(valid, points.dtype)
    weights = beside_observations(xp, weights, points, points.shape[:-3], points.shape[-2], cams, "weights")
    valid = valid & (weights > 0)
    return valid, xp.where(valid, weights, 0.0)


def _features(x: Array, y: Array, weight: Array, xp: Any) -> Array:
    """Return (..., V, 4, K): weight times [x^2 + y^2, x, y, 1], in float64.

    A missing observation has weight 0 and contributes exactly nothing, independent of its fill value.
    """
    wide = wide_dtype(xp, x)
    x, y, weight = (cast(xp, part, wide) for part in xp.broadcast_arrays(x, y, weight))
    wx, wy = weight * x, weight * y
    return xp.stack([wx * x + wy * y, wx, wy, weight], axis=-2)


def _coefficients(rig: LocalRig, like: Array, xp: Any) -> Array:
    """Return (..., V, 4, 9): weights of the features in m00 m01 m02 m03 m11 m12 m13 m22 m23 of [A|-b]'[A|-b]."""
    (r00, r01, r02, r10, r11, r12, r20, r21, r22), (tx, ty, tz) = rig.rotation, rig.translation
    rows = xp.concat([r00, r01, r02, tx, r10, r11, r12, ty, r20, r21, r22, tz], axis=-1)
    rows = xp.reshape(cast(xp, rows, wide_dtype(xp, like)), (*rows.shape[:-1], 3, 4))
    p1, p2, p3 = xp.unstack(rows[..., :, None], axis=-3)
    p1t, p2t, p3t = xp.unstack(rows[..., None, :], axis=-3)
    p13, p23 = p1 * p3t, p2 * p3t
    blocks = [
        p3 * p3t,
        -(p13 + xp.matrix_transpose(p13)),
        -(p23 + xp.matrix_transpose(p23)),
        p1 * p1t + p2 * p2t,
    ]
    blocks = xp.stack(blocks, axis=-3)
    return xp.concat([blocks[..., 0, :], blocks[..., 1, 1:], blocks[..., 2, 2:]], axis=-1)


def _solve(entries: Array, enough: Array, xp: Any) -> tuple[Vector, Array]:
    """Return points relative to the rig's origin from normal equations (..., 9, K), and a mask of the solved ones."""
    m00, m01, m02, m03, m11, m12, m13, m22, m23 = xp.unstack(entries, axis=-2)
    return solve_symmetric((m00, m01, m02, m11, m12, m22), (-m03, -m13, -m23), enough, xp)


def _from_local(offset: Vector, usable: Array, origin: Vector, xp: Any) -> Array:
    """Return world points (..., 3) from components relative to the rig's origin; NaN where not usable."""
    world = [xp.where(usable, component + shift, xp.nan) for component, shift in zip(offset, origin, strict=True)]
    return xp.stack(world, axis=-1)


def _parallax_excess(x: Array, y: Array, valid: Array, rig: LocalRig, min_parallax_deg: float, xp: Any) -> Array:
    """Return (..., P, K) values, positive where the viewing lines of a pair exceed the angle, 0 where one is missing.

    The sine is computed from a vector product, because 1 - cos^2 loses all digits for small angles in float32.
    """
    if x.shape[-2] == 1:
        return xp.zeros_like(x)
    rays, norms2 = _rays(x, y, valid, rig, xp)
    smallest = math.sin(math.radians(min_parallax_deg)) ** 2
    excess = []
    for one, others in pair_slices(x.shape[-2]):
        normal = cross(tuple(ray[..., one, :] for ray in rays), tuple(ray[..., others, :] for ray in rays))
        excess.append(dot(normal, normal) - smallest * norms2[..., one, :] * norms2[..., others, :])
    return xp.concat(excess, axis=-2)


def _rays(x: Array, y: Array, valid: Array, rig: LocalRig, xp: Any) -> tuple[Vector, Array]:
    """Return rays in the world, not scaled to unit length, and their squared lengths; 0 where invalid. No gradient."""
    # Observations that are removed by their weight still have coordinates.
    one = xp.astype(valid, x.dtype)
    rotation = tuple(stop_gradient(entry) for entry in rig.rotation)
    rays = world_rays(stop_gradient(x) * one, stop_gradient(y) * one, one, rotation)
    return rays, dot(rays, rays)
