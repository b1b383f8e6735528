"""Projection and its inverse: undistortion, viewing rays, epipolar distance, visibility.

Shapes: world points are (..., K, 3), image points are (..., V, K, 2) for the V cameras of the group, whose own batch
dimensions broadcast with `...`. Missing points are NaN in the input and the output; no gradient flows through them.
"""

from __future__ import annotations

from typing import Any

from mvgeom._arrays import Array, cast
from mvgeom._checks import check_views, check_world, floating_points
from mvgeom._components import (
    camera_components,
    cross,
    dot,
    intrinsics,
    invertible_radius,
    local_rig,
    normalize,
    normalized_from_pixels,
    pair_slices,
    pixels_from_normalized,
    world_components,
    world_rays,
)
from mvgeom.cameras import CameraGroup

__all__ = [
    "distort",
    "epipolar_distance",
    "in_image",
    "invertible_radius",
    "project",
    "rays",
    "undistort",
    "visible",
    "world_to_camera",
]


def project(points: Array, cams: CameraGroup) -> Array:
    """Project world points into every view.

    Args:
        points: (..., K, 3) world points; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        Image points (..., V, K, 2) in full-image px. NaN for missing points, points behind a camera, and points outside
        the radius within which the camera's lens model is invertible (see `invertible_radius`).

    Raises:
        InputError: `wrong-shape`, if the points are not (..., K, 3); `wrong-array`, if the cameras are of another array
            library or the points have half precision.
    """
    xp, points = floating_points(points, cams)
    check_world(points, cams)
    rig = local_rig(cams, points, xp)
    offset, present = world_components(points, rig, xp)
    x, y, _, valid = normalize(camera_components(offset, rig), cams, xp)
    u, v = pixels_from_normalized(x, y, cams, xp)
    return _stack_or_nan(u, v, valid & present[..., None, :], xp)


def undistort(points: Array, cams: CameraGroup) -> Array:
    """Undistort pixels to normalized coordinates on the plane z = 1.

    Newton's method starts from a value that is accurate up to the edge of the invertible range; the residual is
    checked. For autograd, one step at the solution gives the exact first derivative, also with respect to intrinsics
    and distortion, without unrolling the iterations (second derivatives are not meaningful).

    Args:
        points: (..., V, K, 2) image points in full-image px; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        Normalized coordinates (..., V, K, 2); NaN for missing points and for pixels that no point in the invertible
        range maps to.

    Raises:
        InputError: `wrong-shape`, if the points are not (..., V, K, 2); `wrong-array`, if the cameras are of another
            array library or the points have half precision.
    """
    xp, points = floating_points(points, cams)
    check_views(points, cams)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    return _stack_or_nan(x, y, valid, xp)


def distort(points: Array, cams: CameraGroup) -> Array:
    """Distort normalized coordinates to pixels; the inverse of `undistort`.

    Args:
        points: (..., V, K, 2) normalized coordinates; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        Image points (..., V, K, 2) in full-image px; NaN for missing points and outside the invertible radius.

    Raises:
        InputError: `wrong-shape`, if the points are not (..., V, K, 2); `wrong-array`, if the cameras are of another
            array library or the points have half precision.
    """
    xp, points = floating_points(points, cams)
    check_views(points, cams)
    x, y = points[..., 0], points[..., 1]
    radius = cast(xp, invertible_radius(cams)[..., None], points.dtype)
    # Comparisons with NaN are false.
    valid = (xp.abs(x) < radius) & (xp.abs(y) < radius)
    x, y = xp.where(valid, x, 0.0), xp.where(valid, y, 0.0)
    valid = valid & (x * x + y * y < radius * radius)
    x, y = xp.where(valid, x, 0.0), xp.where(valid, y, 0.0)
    u, v = pixels_from_normalized(x, y, cams, xp)
    return _stack_or_nan(u, v, valid, xp)


def in_image(points: Array, cams: CameraGroup) -> Array:
    """Return True for image points inside the image.

    Args:
        points: (..., V, K, 2) image points in full-image px; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        Booleans (..., V, K), true inside the image; false for NaN.

    Raises:
        InputError: `wrong-shape`, if the points are not (..., V, K, 2); `wrong-array`, if the cameras are of another
            array library.
    """
    xp, points = floating_points(points, cams)
    check_views(points, cams)
    # The image extends half a pixel beyond the centers of its first and last pixels.
    sizes = xp.astype(cams.sizes, points.dtype)[..., None, :]
    return xp.all((points >= -0.5) & (points <= sizes - 0.5), axis=-1)


def visible(points: Array, cams: CameraGroup) -> Array:
    """Return booleans (..., V, K), True for world points (..., K, 3) in front of a camera and inside its image."""
    return in_image(project(points, cams), cams)


def world_to_camera(points: Array, cams: CameraGroup) -> Array:
    """Transform world points into the coordinate frame of each camera.

    Args:
        points: (..., K, 3) world points; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        Points (..., V, K, 3) in the cameras' frames, in the world's unit; NaN for missing points.

    Raises:
        InputError: `wrong-shape`, if the points are not (..., K, 3); `wrong-array`, if the cameras are of another array
            library or the points have half precision.
    """
    xp, points = floating_points(points, cams)
    check_world(points, cams)
    rig = local_rig(cams, points, xp)
    offset, present = world_components(points, rig, xp)
    camera = xp.stack(camera_components(offset, rig), axis=-1)
    return xp.where(present[..., None, :, None], camera, xp.nan)


def rays(points: Array, cams: CameraGroup) -> tuple[Array, Array]:
    """Compute the viewing rays of image points.

    Args:
        points: (..., V, K, 2) image points in full-image px; NaN is missing.
        cams: V cameras; batch dimensions broadcast with `...`.

    Returns:
        Camera centers (..., V, 3) in the world's unit and unit directions (..., V, K, 3), both in the world; directions
        are NaN where `undistort` returns NaN.

    Raises:
        InputError: `wrong-shape`, if the points are not (..., V, K, 2); `wrong-array`, if the cameras are of another
            array library or the points have half precision.
    """
    xp, points = floating_points(points, cams)
    check_views(points, cams)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    inverse = 1 / xp.sqrt(x * x + y * y + 1)
    directions = xp.stack(world_rays(x * inverse, y * inverse, inverse, local_rig(cams, points, xp).rotation), axis=-1)
    return cast(xp, cams.centers, points.dtype), xp.where(valid[..., None], directions, xp.nan)


def epipolar_distance(points: Array, cams: CameraGroup) -> Array:
    """Compute the distance of the observations from each other's epipolar lines, for each pair of views.

    Args:
        points: (..., V, K, 2) observations in full-image px; NaN is missing.
        cams: V cameras, at least 2, with distinct centers; batch dimensions broadcast with `...`.

    Returns:
        Distances (..., P, K) in px: root mean square of the two distances on the undistorted images, each with its
        camera's focal length; pairs in the order of `itertools.combinations(range(V), 2)`. NaN where an observation is
        missing or lies on the epipole of the other view.

    Raises:
        InputError: `wrong-shape`, if the points are not (..., V, K, 2); `too-few-views`, if there are fewer than two
            cameras; `wrong-array`, if the cameras are of another array library or the points have half precision.
    """
    xp, points = floating_points(points, cams)
    check_views(points, cams, at_least=2)
    x, y, valid = normalized_from_pixels(points, cams, xp)
    rig = local_rig(cams, points, xp)
    # Depth is 1 in its camera, so the distance of a ray from a plane through the center is a distance at z = 1.
    directions = world_rays(x, y, 1.0, rig.rotation)
    centers = tuple(-component for component in world_rays(*rig.translation, rig.rotation))
    fx, _, _, fy, _ = intrinsics(cams, points.dtype, xp)
    focal2 = fx * fy
    distances = []
    for one, others in pair_slices(len(cams)):
        baseline = tuple(center[..., others, :] - center[..., one, :] for center in centers)
        squared: Array = 0.0
        usable = valid[..., one, :] & valid[..., others, :]
        for view, other in ((one, others), (others, one)):
            normal = cross(baseline, tuple(direction[..., other, :] for direction in directions))
            residual = dot(normal, tuple(direction[..., view, :] for direction in directions))
            # R normal is the epipolar line in this view; its first two entries are normal to the line's direction.
            along_axis = dot(normal, tuple(entry[..., view, :] for entry in rig.rotation[6:]))
            length2 = dot(normal, normal) - along_axis * along_axis
            usable = usable & (length2 > 0)
            squared = squared + focal2[..., view, :] * residual * residual / xp.where(length2 > 0, length2, 1.0)
        positive = usable & (squared > 0)
        distance = xp.where(positive, xp.sqrt(xp.where(positive, squared / 2, 1.0)), 0.0)
        distances.append(xp.where(usable, distance, xp.nan))
    return xp.concat(distances, axis=-2)


def _stack_or_nan(x: Array, y: Array, valid: Array, xp: Any) -> Array:
    return xp.stack([xp.where(valid, x, xp.nan), xp.where(valid, y, xp.nan)], axis=-1)
