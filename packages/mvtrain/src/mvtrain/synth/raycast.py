"""Ray casting: the exact ray of each pixel of a camera, and the moving solids that rays meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

import mvgeom
from mvgeom import CameraGroup
from mvtrain.synth.spec import Floats

Floats32 = npt.NDArray[np.float32]

Integers = npt.NDArray[np.intp]
Booleans = npt.NDArray[np.bool_]
Bounds = tuple[Floats, Floats, Floats, Floats, Booleans, Booleans]

SAME_SURFACE = 0.02
"""Distance in mm within which two solids are one surface: of joints that share a ball, always the first is seen."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One solid over T frames, in the world.

    Attributes:
        kind: Kind of solid: "ball" (ellipsoid), "box", or "cone" (the hull of two balls).
        center: (T, 3) mm; of a cone, the center of its first ball.
        axes: (T, 3, 3) whose columns are the solid's axes; a cone runs along the first.
        extent: (T, 3) mm: radii of a ball, half sides of a box, and of a cone its length, first and second radius.
    """

    kind: Literal["ball", "box", "cone"]
    center: Floats
    axes: Floats
    extent: Floats

    @property
    def scale(self) -> Floats:
        """Return (T, 3) mm per unit of the solid's own coordinates."""
        return np.ones_like(self.extent) if self.kind == "cone" else self.extent

    @property
    def to_local(self) -> Floats:
        """Return the (T, 3, 3) matrix from world offsets to `center` to the solid's own coordinates."""
        return np.swapaxes(self.axes, -1, -2) / self.scale[..., None]

    def at(self, frames: slice | npt.NDArray[np.intp]) -> Shape:
        """Return the solid in some of the frames."""
        return Shape(kind=self.kind, center=self.center[frames], axes=self.axes[frames], extent=self.extent[frames])


def ball(center: Floats, radii: Sequence[float] | float, axes: Floats | None = None) -> Shape:
    """Make an ellipsoid at (T, 3); radii in mm along the columns of `axes` (T, 3, 3), by default the world's."""
    count = len(center)
    axes = np.broadcast_to(np.eye(3), (count, 3, 3)) if axes is None else axes
    return Shape(kind="ball", center=center, axes=axes, extent=np.broadcast_to(np.asarray(radii, float), (count, 3)))


def box(center: Floats, half_sides: tuple[float, float, float], axes: Floats) -> Shape:
    """Make a box around (T, 3) with half sides in mm along the columns of `axes` (T, 3, 3)."""
    return Shape(kind="box", center=center, axes=axes, extent=np.broadcast_to(np.array(half_sides), (len(center), 3)))


def cone(start: Floats, end: Floats, radius_start: float, radius_end: float, sideways: Floats) -> Shape:
    """Make the hull of two balls at (T, 3); `sideways` (T, 3), made perpendicular to the first axis, is the second."""
    along = end - start
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    along = along / length
    second = sideways - (sideways * along).sum(-1, keepdims=True) * along
    second = second / np.linalg.norm(second, axis=-1, keepdims=True)
    axes = np.stack([along, second, np.cross(along, second)], axis=-1)
    radii = np.broadcast_to(np.array([radius_start, radius_end]), (len(start), 2))
    return Shape(kind="cone", center=start, axes=axes, extent=np.concatenate([length, radii], axis=-1))


def intersect(shape: Shape, origin: Floats, directions: tuple[Floats32, Floats32, Floats32]) -> Floats32:
    """Return the distance from the origin to the points where rays enter the solid.

    Args:
        shape: Solid over T frames.
        origin: (3,) origin of the rays in the world, outside the solid.
        directions: Components x, y and z of (T, N) or (1, N) unit vectors in the world.

    Returns:
        (T, N) float32 mm; infinity where the ray misses.
    """
    matrix = shape.to_local.astype(np.float32)[..., None]
    start = np.einsum("tij,tj->ti", shape.to_local, origin - shape.center).astype(np.float32)[..., None]
    x, y, z = directions
    local = [matrix[:, i, 0] * x + matrix[:, i, 1] * y + matrix[:, i, 2] * z for i in range(3)]
    if shape.kind == "box":
        return _enter_box(start, local)
    if shape.kind == "ball":
        return _enter_ball(_nearest(start, local), local, np.float32(1.0))
    return _enter_cone(start, local, shape.extent.astype(np.float32))


def normals(shape: Shape, frames: npt.NDArray[np.intp], points: Floats32) -> tuple[Floats32, Floats32]:
    """Return outward normals at points of the solid's surface, and the points in its own coordinates.

    Args:
        shape: Solid over T frames.
        frames: (N,) frame of each point.
        points: (N, 3) world points.

    Returns:
        (N, 3) unit normals in the world, and (N, 3) mm along the solid's axes.
    """
    to_local = shape.to_local.astype(np.float32)[frames]
    offset = points - shape.center.astype(np.float32)[frames]
    local = np.einsum("nij,nj->ni", to_local, offset)
    if shape.kind == "box":
        largest = np.abs(local) == np.abs(local).max(axis=1, keepdims=True)
        outward = np.sign(local) * largest
    elif shape.kind == "ball":
        outward = local
    else:
        length, first, second = np.moveaxis(shape.extent.astype(np.float32)[frames], -1, 0)
        slope = (first - second) / length
        foot = np.clip((local[:, 0] - first * slope) / (1 - slope**2), 0, length)
        outward = local.copy()
        outward[:, 0] -= foot
    world = np.einsum("nij,ni->nj", to_local, outward)
    return world / np.linalg.norm(world, axis=1, keepdims=True), local * shape.scale.astype(np.float32)[frames]


def _nearest(start: Floats32, direction: list[Floats32]) -> tuple[Floats32, list[Floats32], Floats32]:
    """Return the squared length of the direction, the ray's point nearest to the local origin, and t there.

    Solving from that point is exact to 1e-4 mm in float32; from a camera a meter away the error would be 0.1 mm.
    """
    squared = direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2
    along = -(start[:, 0] * direction[0] + start[:, 1] * direction[1] + start[:, 2] * direction[2]) / squared
    return squared, [start[:, i] + along * direction[i] for i in range(3)], along


def _enter_ball(
    nearest: tuple[Floats32, list[Floats32], Floats32], direction: list[Floats32], radius: Floats32 | np.float32
) -> Floats32:
    squared, point, along = nearest
    inside = radius**2 - (point[0] ** 2 + point[1] ** 2 + point[2] ** 2)
    return np.where(inside > 0, along - np.sqrt(np.maximum(inside, 0) / squared), np.float32(np.inf))


def _enter_box(start: Floats32, direction: list[Floats32]) -> Floats32:
    enter, leave = np.full_like(direction[0], -np.inf), np.full_like(direction[0], np.inf)
    for i in range(3):
        safe = np.where(np.abs(direction[i]) > 1e-12, direction[i], np.float32(1e-12))
        one, other = (-1 - start[:, i]) / safe, (1 - start[:, i]) / safe
        enter, leave = np.maximum(enter, np.minimum(one, other)), np.minimum(leave, np.maximum(one, other))
    return np.where(enter < leave, enter, np.float32(np.inf))


def _enter_cone(start: Floats32, direction: list[Floats32], extent: Floats32) -> Floats32:
    """Return the distance to the hull of two balls: the balls, and the tangent cone between its circles of contact.

    With slope k = (r1 - r2) / length, a point at distance rho from the axis and x along it lies on the tangent cone
    where sqrt(1 - k²) rho = r1 - k x, and touches the ball whose center is at (x - k r1) / (1 - k²) along the axis.
    """
    length, first, second = extent[:, 0:1], extent[:, 1:2], extent[:, 2:3]
    nearest = _nearest(start, direction)
    entry = _enter_ball(nearest, direction, first)
    shifted = np.stack([start[:, 0] - length, start[:, 1], start[:, 2]], axis=1)
    entry = np.minimum(entry, _enter_ball(_nearest(shifted, direction), direction, second))
    slope = (first - second) / length
    narrowing = 1 - slope**2
    _, point, along = nearest
    radius_here = first - slope * point[0]
    a = narrowing * (direction[1] ** 2 + direction[2] ** 2) - (slope * direction[0]) ** 2
    half_b = narrowing * (direction[1] * point[1] + direction[2] * point[2]) + slope * direction[0] * radius_here
    c = narrowing * (point[1] ** 2 + point[2] ** 2) - radius_here**2
    inside = half_b**2 - a * c
    # q/a and c/q are the two roots without cancellation. Where a is negative the ray runs more steeply than the mantle
    # and may enter at either of them.
    q = -(half_b + np.copysign(np.sqrt(np.maximum(inside, 0)), half_b))
    for beyond in (q / np.where(np.abs(a) > 1e-9, a, np.float32(1e-9)), c / np.where(q == 0, np.float32(1e-9), q)):
        foot = (point[0] + beyond * direction[0] - first * slope) / narrowing
        on_mantle = (inside > 0) & (foot > 0) & (foot < length)
        entry = np.minimum(entry, np.where(on_mantle, along + beyond, np.float32(np.inf)))
    return entry


@dataclass(frozen=True, kw_only=True)
class View:
    """One camera, with the ray of each of its pixels.

    Attributes:
        camera: Camera group of one camera.
        origin: (3,) center of the camera in the world.
        directions: (3, H*W) float32 unit vectors in the world, through the centers of the pixels, row by row.
        width, height: Size of the image in px.
    """

    camera: CameraGroup
    origin: Floats
    directions: Floats32
    width: int
    height: int


def make_view(camera: CameraGroup) -> View:
    """Make the view of a group of one camera.

    Raises:
        ValueError: The camera's lens model cannot be inverted over the whole image.
    """
    width, height = (int(side) for side in camera.sizes[0])
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=-1)
    origin, directions = mvgeom.rays(pixels[None], camera)
    if not np.isfinite(directions).all():
        raise ValueError(f"camera {camera.names[0]!r}: its distortion cannot be inverted over the whole image")
    return View(
        camera=camera,
        origin=origin[0],
        directions=np.ascontiguousarray(directions[0].T, dtype=np.float32),
        width=width,
        height=height,
    )


def between_pixels(view: View, offset: tuple[float, float]) -> View:
    """Return the view with its rays through the pixels' centers plus an offset in px.

    To first order, which for parts of a pixel is exact to 0.01 px, and much faster than undistorting again.
    """
    grid = view.directions.reshape(3, view.height, view.width)
    across, down = (np.asarray(np.gradient(grid, axis=axis)) for axis in (2, 1))
    moved = grid + np.float32(offset[0]) * across + np.float32(offset[1]) * down
    return replace(view, directions=(moved / np.sqrt((moved**2).sum(axis=0))).reshape(3, -1))


def rasterize(shapes: Sequence[Shape], view: View) -> tuple[Floats32, npt.NDArray[np.int16]]:
    """Find the nearest solid at each pixel.

    Args:
        shapes: Solids over T frames, none of which contains the camera.
        view: View of one camera.

    Returns:
        (T, H*W) float32 distance along the ray in mm, infinity without a solid; and its position in `shapes`, or -1.
    """
    count = len(shapes[0].center)
    depth = np.full((count, view.width * view.height), np.inf, dtype=np.float32)
    owner = np.full(depth.shape, -1, dtype=np.int16)
    for number, (shape, (frames, pixels)) in enumerate(zip(shapes, candidates(shapes, view), strict=True)):
        if len(frames) == 0:
            continue
        x, y, z = (component[pixels] for component in view.directions)
        distance = intersect(shape.at(frames), view.origin, (x, y, z)).ravel()
        flat = (frames[:, None] * depth.shape[1] + pixels).ravel()
        nearer = np.flatnonzero(distance < depth.ravel()[flat] - SAME_SURFACE)
        depth.ravel()[flat[nearer]] = distance[nearer]
        owner.ravel()[flat[nearer]] = number
    return depth, owner


def candidates(shapes: Sequence[Shape], view: View) -> list[tuple[Integers, Integers]]:
    """Find the pixels that can see each of the solids.

    Returns:
        For each solid the frames (F,) in which it can be in the image, and (F, n) pixels counted row by row. All frames
        of a solid get boxes of the same size inside the image, so that all following steps work on one array.
    """
    results = []
    for left, top, right, bottom in pixel_bounds(shapes, view):
        frames = np.flatnonzero((right > left) & (bottom > top))
        if len(frames) == 0:
            results.append((frames, np.zeros((0, 0), dtype=np.intp)))
            continue
        width, height = (right - left)[frames].max(), (bottom - top)[frames].max()
        column = np.minimum(left[frames], view.width - width)
        row = np.minimum(top[frames], view.height - height)
        inside = np.arange(height)[:, None] * view.width + np.arange(width)
        results.append((frames, (row * view.width + column)[:, None] + inside.ravel()))
    return results


def pixel_bounds(shapes: Sequence[Shape], view: View) -> Integers:
    """Return (S, 4, T) boxes around the projected solids, clipped to the image: left, top, right, bottom in px.

    Right and bottom are exclusive; a box is empty (right <= left or bottom <= top) where the solid is behind the camera
    or outside the image.
    """
    x0, y0, x1, y1, behind, crossing = (
        np.stack(parts) for parts in zip(*[_normalized_bounds(s, view) for s in shapes], strict=True)
    )
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    edge = np.stack([x0, x, x1, x0, x1, x0, x, x1, y0, y0, y0, y, y, y1, y1, y1], axis=-1).reshape(*x.shape, 2, 8)
    pixels = mvgeom.distort(np.moveaxis(edge, -2, -1).reshape(1, -1, 2), view.camera)[0].reshape(*x.shape, 8, 2)
    # Partly behind the camera, or where the lens model ends: only the whole image is a safe box.
    whole = (crossing | ~np.isfinite(pixels).all(axis=(-1, -2)))[..., None]
    pixels = np.where(whole[..., None], 0.0, pixels)
    lowest, highest = pixels.min(axis=-2), pixels.max(axis=-2)
    # Between the eight points distortion bends the sides of the box outwards, by far less than this.
    margin = 1.0 + 0.03 * (highest - lowest)
    size = np.array([view.width, view.height])
    start = np.where(whole, 0, np.clip(np.floor(lowest - margin), 0, size))
    stop = np.where(whole, size, np.clip(np.ceil(highest + margin) + 1, 0, size))
    stop = np.where(behind[..., None], start, stop)
    return np.moveaxis(np.concatenate([start, stop], axis=-1), -1, 1).astype(np.intp)


def first_hits(shapes: Sequence[Shape], origin: Floats, directions: Floats) -> Floats32:
    """Return (T, N) float32 mm to the first solid along rays (T, N, 3) from one origin; infinity without a solid."""
    x, y, z = np.moveaxis(directions.astype(np.float32), -1, 0)
    nearest = np.full(x.shape, np.inf, dtype=np.float32)
    for shape in shapes:
        nearest = np.minimum(nearest, intersect(shape, origin, (x, y, z)))
    return nearest


def keypoint_visibility(
    keypoints: Floats, tolerances: Floats, shapes: Sequence[Shape], view: View
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Project keypoints, and find those that solids hide.

    The ray runs exactly through the keypoint, so the result does not depend on the resolution.

    Args:
        keypoints: (T, K, 3) world points.
        tolerances: (K,) distance in mm of a visible keypoint behind the first surface on its ray, at most.
        shapes: All solids that can hide a keypoint, over the same T frames.
        view: View of the camera.

    Returns:
        (T, K, 2) full-image px, NaN outside the image, and (T, K) 2 (visible), 1 (hidden) or 0 (outside).
    """
    pixels = mvgeom.project(keypoints, view.camera)[:, 0]
    inside = mvgeom.in_image(pixels[:, None], view.camera)[:, 0]
    offset = keypoints - view.origin
    distance = np.linalg.norm(offset, axis=-1)
    hidden = first_hits(shapes, view.origin, offset / distance[..., None]) < distance - tolerances
    visibility = np.where(inside, np.where(hidden, 1, 2), 0)
    return np.where(inside[..., None], pixels, np.nan), visibility


def _normalized_bounds(shape: Shape, view: View) -> Bounds:
    """Return lowest x and y, highest x and y of the solid on the plane z = 1, and masks: behind, beside the camera."""
    rotation = view.camera.rotation[0]

    def in_camera(points: Floats) -> Floats:
        return (points - view.origin) @ rotation.T

    if shape.kind == "box":
        signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
        corners = in_camera(
            shape.center[:, None] + np.einsum("tij,tcj->tci", shape.axes, signs * shape.extent[:, None])
        )
        front = corners[..., 2] > 0
        x, y = np.moveaxis(corners[..., :2] / np.where(front, corners[..., 2], 1.0)[..., None], -1, 0)
        num_front = front.sum(axis=1)
        return x.min(1), y.min(1), x.max(1), y.max(1), num_front == 0, (num_front > 0) & (num_front < 8)
    if shape.kind == "ball":
        spread = rotation @ (shape.axes * shape.extent[:, None])
        return _ellipsoid_bounds(in_camera(shape.center), spread @ np.swapaxes(spread, -1, -2))
    end = shape.center + shape.axes[:, :, 0] * shape.extent[:, :1]
    # The image of a hull is the hull of the images.
    one, other = (
        _ellipsoid_bounds(in_camera(point), np.eye(3) * radius[:, None, None] ** 2)
        for point, radius in ((shape.center, shape.extent[:, 1]), (end, shape.extent[:, 2]))
    )
    behind = one[4] & other[4]
    crossing = (one[4] | one[5] | other[4] | other[5]) & ~behind
    low, high = np.minimum(one[:2], other[:2]), np.maximum(one[2:4], other[2:4])
    return low[0], low[1], high[0], high[1], behind, crossing


def _ellipsoid_bounds(center: Floats, spread: Floats) -> Bounds:
    """Return the bounds of `_normalized_bounds` for ellipsoids {c + A u, |u| <= 1}, in the camera.

    `center` is c (T, 3), `spread` is AA' (T, 3, 3).

    The outline's dual conic is AA' - cc'; the lines x = const that touch it solve a quadratic equation.
    """
    reach = np.sqrt(spread[:, 2, 2])
    behind, crossing = center[:, 2] + reach <= 0, np.abs(center[:, 2]) < reach
    dual = spread - center[:, :, None] * center[:, None, :]
    last = np.where(behind | crossing, -1.0, dual[:, 2, 2])
    edges = []
    for axis in range(2):
        mixed = dual[:, axis, 2]
        root = np.sqrt(np.maximum(mixed**2 - dual[:, axis, axis] * last, 0.0))
        edges.append(((mixed + root) / last, (mixed - root) / last))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom, behind, crossing
