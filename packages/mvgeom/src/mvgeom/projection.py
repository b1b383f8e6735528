"""World to pixel and back: projection, undistortion, viewing rays, epipolar distance, what a camera can see.

Shapes: points in the world are (..., K, 3), points in images (..., V, K, 2) for the V cameras of the group, whose own
batch dimensions broadcast with `...`. Missing points are NaN, in and out; no gradient flows through them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from array_api_compat import array_namespace

from mvgeom._arrays import as_floating, cast, check_views, common_namespace, stop_gradient, wide_dtype
from mvgeom.cameras import Array, CameraGroup
from mvgeom.distortion import (
    Lens,
    LensRange,
    apply_homography,
    distort_components,
    distort_with_jacobian,
    invert_components,
    lens_range,
    lens_terms,
    tilt_matrix,
)


class PreparedLens(NamedTuple):
    """The cameras that share one lens model: their positions in the group, and their range."""

    views: tuple[int, ...]
    fisheye: bool
    limits: LensRange


class LocalRig(NamedTuple):
    """Cameras seen from an origin amid them, in the dtype of the points.

    Attributes:
        origin: (..., 3) world, no gradient; points minus the origin are small where the rig is far from the world's.
        rotation: nine entries (..., V, 1).
        translation: three entries (..., V, 1), R origin + t.
    """

    origin: Array
    rotation: tuple[Array, ...]
    translation: tuple[Array, ...]


def project(points: Array, cams: CameraGroup) -> Array:
    """Project world points into every view.

    Args:
        points: (..., K, 3) world.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        (..., V, K, 2) frame px; NaN for missing points, points behind a camera, and points outside the radius within
        which its lens model is invertible (see `invertible_radius`).
    """
    xp = common_namespace(points, cams)
    points = as_floating(xp, points)
    _check_world(points)
    x, y, valid = normalized_from_world(points, local_rig(cams, points, xp), cams, xp)
    u, v = pixels_from_normalized(x, y, cams, xp)
    return _stack_or_nan(u, v, valid, xp)


def undistort(points: Array, cams: CameraGroup) -> Array:
    """Pixels to normalized coordinates (undistorted, on the plane z = 1).

    Newton's method from a start that is good up to the edge of the invertible range; the residual is checked. For
    autograd, one step at the solution gives the exact first derivative, also with respect to intrinsics and
    distortion, without unrolling the iterations (second derivatives are not meaningful).

    Args:
        points: (..., V, K, 2) frame px.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        (..., V, K, 2) normalized; NaN for missing points and for pixels that no point in the invertible range maps to.
    """
    xp = common_namespace(points, cams)
    points = as_floating(xp, points)
    check_views(points, cams)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    return _stack_or_nan(x, y, valid, xp)


def distort(points: Array, cams: CameraGroup) -> Array:
    """Normalized coordinates to pixels, the inverse of `undistort`.

    Args:
        points: (..., V, K, 2) normalized.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        (..., V, K, 2) frame px; NaN for missing points and outside the invertible radius.
    """
    xp = common_namespace(points, cams)
    points = as_floating(xp, points)
    check_views(points, cams)
    x, y = points[..., 0], points[..., 1]
    radius = invertible_radius(cams)[..., None]
    valid = x * x + y * y < cast(xp, radius * radius, points.dtype)
    x, y = xp.where(valid, x, 0.0), xp.where(valid, y, 0.0)
    u, v = pixels_from_normalized(x, y, cams, xp)
    return _stack_or_nan(u, v, valid, xp)


def invertible_radius(cams: CameraGroup) -> Array:
    """(..., V) normalized radius within which the lens model is one-to-one, at most 1e4 (89.99 degrees off axis)."""
    xp = array_namespace(cams.matrix)
    return _join_views([lens.limits.radius for lens in cams.lenses], cams, xp)[..., 0]


def in_image(points: Array, cams: CameraGroup) -> Array:
    """(..., V, K) booleans: which pixels (..., V, K, 2) lie inside the frame; false for NaN."""
    xp = common_namespace(points, cams)
    check_views(points, cams)
    low = points >= -0.5
    high = points <= cast(xp, cams.sizes, points.dtype)[..., None, :] - 0.5
    return xp.all(low & high, axis=-1)


def visible(points: Array, cams: CameraGroup) -> Array:
    """(..., V, K) booleans: which world points (..., K, 3) a camera has in front of it and inside its frame."""
    return in_image(project(points, cams), cams)


def world_to_camera(points: Array, cams: CameraGroup) -> Array:
    """(..., K, 3) world to (..., V, K, 3) camera coordinates; NaN stays NaN."""
    xp = common_namespace(points, cams)
    points = as_floating(xp, points)
    _check_world(points)
    rig = local_rig(cams, points, xp)
    return xp.stack(camera_components(points - rig.origin[..., None, :], rig), axis=-1)


def rays(points: Array, cams: CameraGroup) -> tuple[Array, Array]:
    """Viewing rays of pixels.

    Args:
        points: (..., V, K, 2) frame px.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        (..., V, 3) camera centres and (..., V, K, 3) unit directions, both in the world; NaN as in `undistort`.
    """
    xp = common_namespace(points, cams)
    points = as_floating(xp, points)
    check_views(points, cams)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    directions = xp.stack(world_directions(x, y, local_rig(cams, points, xp).rotation, xp), axis=-1)
    return cast(xp, cams.centers, points.dtype), xp.where(valid[..., None], directions, xp.nan)


def epipolar_distance(points: Array, cams: CameraGroup) -> Array:
    """How far the two observations of each pair of views are from each other's epipolar line.

    Args:
        points: (..., V, K, 2) frame px.
        cams: V cameras with distinct centres; batch dimensions broadcast with `...`.

    Returns:
        (..., P, K) px, root mean square of the two distances on the undistorted images with each camera's own focal
        length; pairs in the order of `itertools.combinations(range(V), 2)`. NaN where either observation is missing.
    """
    xp = common_namespace(points, cams)
    points = as_floating(xp, points)
    check_views(points, cams)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    rig = local_rig(cams, points, xp)
    rotation = rig.rotation
    directions = world_directions(x, y, rotation, xp)
    centers = tuple(
        -(
            rotation[axis] * rig.translation[0]
            + rotation[3 + axis] * rig.translation[1]
            + rotation[6 + axis] * rig.translation[2]
        )
        for axis in range(3)
    )
    fx, _, _, fy, _ = intrinsics(cams, points.dtype, xp)
    focal = xp.sqrt(fx * fy)
    distances = []
    for first in range(len(cams) - 1):
        one, other = slice(first, first + 1), slice(first + 1, None)
        baseline = tuple(c[..., other, :] - c[..., one, :] for c in centers)
        d_one, d_other = tuple(d[..., one, :] for d in directions), tuple(d[..., other, :] for d in directions)
        volume = _dot(baseline, _cross(d_one, d_other))
        squared = 0.0
        for views, ray, opposite in ((one, d_one, d_other), (other, d_other, d_one)):
            plane = _cross(baseline, opposite)
            axis = tuple(r[..., views, :] for r in rotation[6:])
            # The line in this view is R n; its first two components are as long as n without its part along the axis.
            across = _dot(plane, plane) - _dot(plane, axis) ** 2
            # Directions are unit vectors: dividing by the depth puts the point on the plane z = 1.
            residual = volume / _dot(ray, axis)
            usable = across > 0
            squared = squared + xp.where(
                usable, (focal[..., views, :] * residual) ** 2 / xp.where(usable, across, 1.0), xp.nan
            )
        both = valid[..., one, :] & valid[..., other, :]
        distances.append(xp.where(both, xp.sqrt(squared / 2), xp.nan))
    return xp.concat(distances, axis=-2)


def local_rig(cams: CameraGroup, like: Array, xp: Any) -> LocalRig:
    """The rig around the centroid of its cameras, computed in float64 where the device has it."""
    wide = wide_dtype(xp, like)
    rotation, translation = cast(xp, cams.rotation, wide), cast(xp, cams.translation, wide)
    centers = -xp.sum(stop_gradient(rotation) * stop_gradient(translation)[..., None], axis=-2)
    # Rounded to the points' dtype first, so that what is subtracted from points is exactly what is added to t.
    origin = cast(xp, xp.mean(centers, axis=-2), like.dtype)
    moved = translation + xp.sum(rotation * cast(xp, origin, wide)[..., None, None, :], axis=-1)
    flat = xp.reshape(rotation, (*rotation.shape[:-2], 1, 9))
    return LocalRig(
        origin,
        tuple(xp.unstack(cast(xp, flat, like.dtype), axis=-1)),
        tuple(xp.unstack(cast(xp, moved, like.dtype)[..., None, :], axis=-1)),
    )


def intrinsics(cams: CameraGroup, dtype: Any, xp: Any) -> tuple[Array, Array, Array, Array, Array]:
    """fx, skew, cx, fy, cy, each (..., V, 1)."""
    entries = xp.unstack(cast(xp, cams.matrix, dtype)[..., None, :2, :], axis=-1)
    (fx, _), (skew, fy), (cx, cy) = (xp.unstack(entry, axis=-1) for entry in entries)
    return fx, skew, cx, fy, cy


def camera_components(offsets: Array, rig: LocalRig) -> tuple[Array, Array, Array]:
    """(..., K, 3) points relative to the rig's origin to components (..., V, K) in the cameras.

    Written out by component: matrix products run in reduced precision on GPUs (TF32) and in autocast regions.
    """
    x, y, z = (offsets[..., None, :, axis] for axis in range(3))
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rig.rotation
    tx, ty, tz = rig.translation
    return (
        r00 * x + r01 * y + r02 * z + tx,
        r10 * x + r11 * y + r12 * z + ty,
        r20 * x + r21 * y + r22 * z + tz,
    )


def normalized_from_world(points: Array, rig: LocalRig, cams: CameraGroup, xp: Any) -> tuple[Array, Array, Array]:
    """World points to components x, y (..., V, K) on the plane z = 1 and their validity; 0 where invalid."""
    offsets = points - rig.origin[..., None, :]
    finite = xp.all(xp.isfinite(offsets), axis=-1, keepdims=True)
    x, y, z = camera_components(xp.where(finite, offsets, 0.0), rig)
    x, y, valid = normalize(x, y, z, cams, xp)
    return x, y, valid & finite[..., None, :, 0]


def normalize(x: Array, y: Array, z: Array, cams: CameraGroup, xp: Any) -> tuple[Array, Array, Array]:
    """Camera components to x / z, y / z and which are in front and within the lens's range; 0 where they are not."""
    radius = cast(xp, invertible_radius(cams)[..., None], x.dtype)
    # r < z radius, in front of the camera; never divides by a depth near zero.
    limit = radius * z
    valid = (z > 0) & (x * x + y * y < limit * limit)
    inverse = 1 / xp.where(valid, z, 1.0)
    return xp.where(valid, x * inverse, 0.0), xp.where(valid, y * inverse, 0.0), valid


def pixels_from_normalized(x: Array, y: Array, cams: CameraGroup, xp: Any) -> tuple[Array, Array]:
    """Components on the plane z = 1, within the lens's range, to pixel components."""

    def bend(x: Array, y: Array, lens: Lens, limits: LensRange) -> tuple[Array, Array]:
        xd, yd = distort_components(x, y, lens, xp)
        return apply_homography(tilt_matrix(lens, xp)[0], xd, yd) if lens.tilt else (xd, yd)

    xd, yd = _per_lens(bend, x, y, cams, xp)
    fx, skew, cx, fy, cy = intrinsics(cams, xd.dtype, xp)
    return fx * xd + skew * yd + cx, fy * yd + cy


def pixels_with_jacobian(x: Array, y: Array, cams: CameraGroup, xp: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """`pixels_from_normalized` with du/dx, du/dy, dv/dx, dv/dy."""

    def bend(x: Array, y: Array, lens: Lens, limits: LensRange) -> tuple[Array, ...]:
        (xd, yd), jacobian = distort_with_jacobian(x, y, lens, xp)
        if not lens.tilt:
            return (xd, yd, *jacobian)
        matrix, _ = tilt_matrix(lens, xp)
        m00, m01, _, m10, m11, _, m20, m21, m22 = matrix
        depth = 1 / (m20 * xd + m21 * yd + m22)
        xt, yt = apply_homography(matrix, xd, yd)
        axx, axy, ayx, ayy = jacobian
        txx, txy, tyx, tyy = m00 - xt * m20, m01 - xt * m21, m10 - yt * m20, m11 - yt * m21
        return (
            xt,
            yt,
            (txx * axx + txy * ayx) * depth,
            (txx * axy + txy * ayy) * depth,
            (tyx * axx + tyy * ayx) * depth,
            (tyx * axy + tyy * ayy) * depth,
        )

    xd, yd, axx, axy, ayx, ayy = _per_lens(bend, x, y, cams, xp)
    fx, skew, cx, fy, cy = intrinsics(cams, xd.dtype, xp)
    pixels = (fx * xd + skew * yd + cx, fy * yd + cy)
    return pixels, (fx * axx + skew * ayx, fx * axy + skew * ayy, fy * ayx, fy * ayy)


def normalized_from_pixels(points: Array, cams: CameraGroup, xp: Any) -> tuple[Array, Array, Array]:
    """Pixels (..., V, K, 2) to components on the plane z = 1 and their validity; 0 where invalid."""
    u, v = points[..., 0], points[..., 1]
    finite = xp.isfinite(u) & xp.isfinite(v)
    fx, skew, cx, fy, cy = intrinsics(cams, points.dtype, xp)
    yd = (xp.where(finite, v, cy) - cy) / fy
    xd = (xp.where(finite, u, cx) - cx - skew * yd) / fx

    def unbend(xd: Array, yd: Array, lens: Lens, limits: LensRange) -> tuple[Array, Array, Array]:
        if lens.tilt:
            xd, yd = apply_homography(tilt_matrix(lens, xp)[1], xd, yd)
        return invert_components(xd, yd, lens, limits, xp)

    x, y, valid = _per_lens(unbend, xd, yd, cams, xp)
    return x, y, valid & finite


def world_directions(x: Array, y: Array, rotation: tuple[Array, ...], xp: Any) -> tuple[Array, Array, Array]:
    """Unit vectors R'(x, y, 1) / |.| in the world, by component."""
    inverse = 1 / xp.sqrt(x * x + y * y + 1)
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
    return (
        (r00 * x + r10 * y + r20) * inverse,
        (r01 * x + r11 * y + r21) * inverse,
        (r02 * x + r12 * y + r22) * inverse,
    )


def prepare_lenses(cams: CameraGroup) -> tuple[PreparedLens, ...]:
    """One entry per lens model in use."""
    prepared = []
    for fisheye in sorted(set(cams.fisheye)):
        views = tuple(view for view, is_fisheye in enumerate(cams.fisheye) if is_fisheye == fisheye)
        prepared.append(
            PreparedLens(views, fisheye, lens_range(_pick(cams.distortion, views, cams, -2), fisheye=fisheye))
        )
    return tuple(prepared)


def _per_lens(function: Any, x: Array, y: Array, cams: CameraGroup, xp: Any) -> tuple[Array, ...]:
    """Apply a function of one lens model to the views that have it, and put the views back in order."""
    results = []
    for lens in cams.lenses:
        coefficients = cast(xp, _pick(cams.distortion, lens.views, cams, -2), x.dtype)
        limits = LensRange(lens.limits.folds, *(cast(xp, number, x.dtype) for number in lens.limits[1:]))
        terms = lens_terms(coefficients, fisheye=lens.fisheye)
        results.append(function(_pick(x, lens.views, cams, -2), _pick(y, lens.views, cams, -2), terms, limits))
    if len(results) == 1:
        return tuple(results[0])
    return tuple(_join_views(list(parts), cams, xp) for parts in zip(*results, strict=True))


def _pick(array: Array, views: tuple[int, ...], cams: CameraGroup, axis: int) -> Array:
    if len(views) == len(cams):
        return array
    xp = array_namespace(array)
    return xp.concat([array[..., view : view + 1, :] for view in views], axis=axis)


def _join_views(parts: list[Array], cams: CameraGroup, xp: Any) -> Array:
    """Put arrays (..., views of one lens, n) together in the group's order."""
    if len(parts) == 1:
        return parts[0]
    source = {}
    for lens, part in zip(cams.lenses, parts, strict=True):
        for position, view in enumerate(lens.views):
            source[view] = part[..., position : position + 1, :]
    return xp.concat([source[view] for view in range(len(cams))], axis=-2)


def _stack_or_nan(x: Array, y: Array, valid: Array, xp: Any) -> Array:
    return xp.stack([xp.where(valid, x, xp.nan), xp.where(valid, y, xp.nan)], axis=-1)


def _check_world(points: Array) -> None:
    if len(points.shape) < 2 or points.shape[-1] != 3:
        raise ValueError(f"points must have shape (..., K, 3) in the world, got {tuple(points.shape)}")


def _dot(a: tuple[Array, ...], b: tuple[Array, ...]) -> Array:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
