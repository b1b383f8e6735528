"""Moving solids, and their intersections with rays: ellipsoids, boxes and cones with round ends, in closed form.

Equations are solved in the solid's own coordinates, in which the ball has radius 1, the box runs from -1 to 1 and the
cone starts at the origin along the first axis. Rays keep their parameter t there, which is mm along the ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]


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
