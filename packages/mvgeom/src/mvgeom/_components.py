"""World, camera, normalized and pixel coordinates as components, shared by projection and triangulation.

Points are three arrays of shape (..., K) in the world or (..., V, K) in the cameras. Observations are two arrays of
shape (..., V, K). A boolean array of the same shape marks the valid elements; the others hold finite placeholders.
There is no last axis of size two or three: elementwise operations then run on contiguous memory, and no operation is a
matrix product, which GPUs (TF32) and autocast regions compute in reduced precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from mvgeom._arrays import Array, cast, stop_gradient, wide_dtype
from mvgeom.cameras import CameraGroup
from mvgeom.distortion import (
    Jacobian,
    apply_homography,
    distort_components,
    distort_with_jacobian,
    homography_jacobian,
    tilt_matrices,
    undistort_components,
)
from mvgeom.lens_range import Lens, LensRange, lens_terms, pick_views

LARGEST_COORDINATE = 1e12
"""Coordinates beyond this limit count as missing, so that their powers stay finite."""

Vector = tuple[Array, Array, Array]


class LocalRig(NamedTuple):
    """Cameras relative to the centroid of the rig, in the dtype of the points.

    Attributes:
        origin: Origin of the rig as three entries (..., 1) in the world, without gradient. Points minus the origin are
            small even if the rig is far from the world's origin.
        rotation: Nine entries (..., V, 1) of the world-to-camera rotation R.
        translation: Three entries (..., V, 1) of R origin + t.
    """

    origin: Vector
    rotation: tuple[Array, ...]
    translation: Vector


def local_rig(cams: CameraGroup, like: Array, xp: Any) -> LocalRig:
    """Return the rig around the centroid of its cameras, computed in float64 where the device has it."""
    wide = wide_dtype(xp, like)
    rotation, translation = cast(xp, cams.rotation, wide), cast(xp, cams.translation, wide)
    centers = -xp.sum(stop_gradient(rotation) * stop_gradient(translation)[..., None], axis=-2)
    # Rounded to the points' dtype first: exactly the same origin is subtracted from the points and added to t.
    origin = cast(xp, xp.mean(centers, axis=-2), like.dtype)
    moved = translation + xp.sum(rotation * cast(xp, origin, wide)[..., None, None, :], axis=-1)
    entries = xp.concat([xp.reshape(rotation, (*rotation.shape[:-2], 9)), moved], axis=-1)
    entries = tuple(xp.unstack(cast(xp, entries, like.dtype)[..., None, :], axis=-1))
    ox, oy, oz = xp.unstack(origin[..., None, :], axis=-1)
    return LocalRig((ox, oy, oz), entries[:9], (entries[9], entries[10], entries[11]))


def world_components(points: Array, rig: LocalRig, xp: Any) -> tuple[Vector, Array]:
    """Return (..., K, 3) world points relative to the rig's origin, 0 where missing, and a mask of valid points."""
    x, y, z = (points[..., axis] - rig.origin[axis] for axis in range(3))
    # NaN compares false.
    valid = xp.abs(x) + xp.abs(y) + xp.abs(z) < LARGEST_COORDINATE
    return (xp.where(valid, x, 0.0), xp.where(valid, y, 0.0), xp.where(valid, z, 0.0)), valid


def camera_components(offset: Vector, rig: LocalRig) -> Vector:
    """Convert world points relative to the rig's origin to components (..., V, K) in the cameras."""
    x, y, z = (component[..., None, :] for component in offset)
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rig.rotation
    tx, ty, tz = rig.translation
    return (
        r00 * x + r01 * y + r02 * z + tx,
        r10 * x + r11 * y + r12 * z + ty,
        r20 * x + r21 * y + r22 * z + tz,
    )


def normalize(camera: Vector, cams: CameraGroup, xp: Any) -> tuple[Array, Array, Array, Array]:
    """Return x / z, y / z, 1 / z and a mask: in front of the camera and in the lens range; 0, 0, 1 elsewhere."""
    x, y, z = camera
    limit = cast(xp, invertible_radius(cams)[..., None], x.dtype) * z
    # The test r < z radius does not divide by a depth near zero.
    valid = (z > 0) & (x * x + y * y < limit * limit)
    inverse = 1 / xp.where(valid, z, 1.0)
    return xp.where(valid, x, 0.0) * inverse, xp.where(valid, y, 0.0) * inverse, inverse, valid


def pixels_from_normalized(x: Array, y: Array, cams: CameraGroup, xp: Any) -> tuple[Array, Array]:
    """Convert normalized coordinates within the lens's range to pixels."""

    def bend(x: Array, y: Array, lens: Lens, limits: LensRange) -> tuple[Array, ...]:
        xd, yd = distort_components(x, y, lens, xp)
        return apply_homography(tilt_matrices(lens, xp)[0], xd, yd) if lens.tilt else (xd, yd)

    xd, yd = _per_lens(bend, x, y, cams, xp)
    fx, skew, cx, fy, cy = intrinsics(cams, xd.dtype, xp)
    return fx * xd + skew * yd + cx, fy * yd + cy


def pixels_with_jacobian(x: Array, y: Array, cams: CameraGroup, xp: Any) -> tuple[tuple[Array, Array], Jacobian]:
    """Return `pixels_from_normalized` and its Jacobian."""

    def bend(x: Array, y: Array, lens: Lens, limits: LensRange) -> tuple[Array, ...]:
        (xd, yd), jacobian = distort_with_jacobian(x, y, lens, xp)
        if not lens.tilt:
            return (xd, yd, *jacobian)
        matrix, _ = tilt_matrices(lens, xp)
        return (*apply_homography(matrix, xd, yd), *homography_jacobian(matrix, xd, yd, jacobian))

    xd, yd, xx, xy, yx, yy = _per_lens(bend, x, y, cams, xp)
    fx, skew, cx, fy, cy = intrinsics(cams, xd.dtype, xp)
    pixels = (fx * xd + skew * yd + cx, fy * yd + cy)
    return pixels, Jacobian(fx * xx + skew * yx, fx * xy + skew * yy, fy * yx, fy * yy)


def normalized_from_pixels(points: Array, cams: CameraGroup, xp: Any) -> tuple[Array, Array, Array]:
    """Convert pixels (..., V, K, 2) to normalized coordinates and a mask of the valid ones; 0 elsewhere."""
    fx, skew, cx, fy, cy = intrinsics(cams, points.dtype, xp)
    u, v = points[..., 0] - cx, points[..., 1] - cy
    # NaN compares false.
    present = xp.abs(u) + xp.abs(v) < LARGEST_COORDINATE
    yd = xp.where(present, v, 0.0) / fy
    xd = xp.where(present, u, 0.0) / fx - (skew / fx) * yd

    def unbend(xd: Array, yd: Array, lens: Lens, limits: LensRange) -> tuple[Array, ...]:
        if lens.tilt:
            xd, yd = apply_homography(tilt_matrices(lens, xp)[1], xd, yd)
        return undistort_components(xd, yd, lens, limits, xp)

    x, y, valid = _per_lens(unbend, xd, yd, cams, xp)
    return x, y, valid & present


def world_rays(x: Array, y: Array, z: Array | float, rotation: tuple[Array, ...]) -> Vector:
    """Return directions R'(x, y, z) in the world, not scaled to unit length."""
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
    return r00 * x + r10 * y + r20 * z, r01 * x + r11 * y + r21 * z, r02 * x + r12 * y + r22 * z


def intrinsics(cams: CameraGroup, dtype: Any, xp: Any) -> tuple[Array, Array, Array, Array, Array]:
    """Return fx, skew, cx, fy, cy, each (..., V, 1)."""
    flat = xp.reshape(cast(xp, cams.matrix, dtype), (*cams.matrix.shape[:-2], 1, 9))
    fx, skew, cx, _, fy, cy, *_ = xp.unstack(flat, axis=-1)
    return fx, skew, cx, fy, cy


def invertible_radius(cams: CameraGroup) -> Array:
    """Return the normalized radius (..., V) within which each lens model is one-to-one.

    The radius is at most 100 for Brown-Conrady lenses with coefficients and 10,000 for others (89.4 and 89.99 degrees
    from the optical axis).
    """
    return _join_views([lens.limits.radius for lens in cams.lenses], cams)[..., 0]


def pair_slices(num_views: int) -> Iterator[tuple[slice, slice]]:
    """Yield each view and the views after it as slices; concatenated, they give the pairs of `itertools.combinations`.

    Slices avoid index arrays, which would have to be copied to the device first.
    """
    for first in range(num_views - 1):
        yield slice(first, first + 1), slice(first + 1, None)


def dot(a: Vector, b: Vector) -> Array:
    """Return scalar products."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Return vector products."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _per_lens(
    function: Callable[[Array, Array, Lens, LensRange], tuple[Array, ...]],
    x: Array,
    y: Array,
    cams: CameraGroup,
    xp: Any,
) -> tuple[Array, ...]:
    """Apply a function of one lens model to the views that have it, and put the views back in order."""
    results = []
    for lens in cams.lenses:
        terms = lens_terms(cast(xp, pick_views(cams.distortion, lens.views), x.dtype), fisheye=lens.fisheye)
        limits = lens.limits.cast(x.dtype, xp)
        results.append(function(pick_views(x, lens.views), pick_views(y, lens.views), terms, limits))
    if len(results) == 1:
        return results[0]
    return tuple(_join_views(list(parts), cams) for parts in zip(*results, strict=True))


def _join_views(parts: list[Array], cams: CameraGroup) -> Array:
    """Put arrays (..., views of one lens, n), one per lens model, together in the group's camera order."""
    if len(parts) == 1:
        return parts[0]
    source = {}
    for lens, part in zip(cams.lenses, parts, strict=True):
        for position, view in enumerate(lens.views):
            source[view] = part[..., position : position + 1, :]
    xp = array_namespace(parts[0])
    return xp.concat([source[view] for view in range(len(cams))], axis=-2)
