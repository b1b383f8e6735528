"""Where in the picture a solid can be: boxes around the images of solids, through any lens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

import mvgeom
from mvtrain.synth.shapes import Floats, Shape
from mvtrain.synth.view import View

Integers = npt.NDArray[np.intp]
Booleans = npt.NDArray[np.bool_]
Bounds = tuple[Floats, Floats, Floats, Floats, Booleans, Booleans]


def candidates(shapes: Sequence[Shape], view: View) -> list[tuple[Integers, Integers]]:
    """Pixels that may see each of the solids.

    Returns:
        For each solid the frames (F,) in which it may be in the picture, and (F, n) pixels counted row by row. All
        frames of a solid get boxes of the same size inside the frame, so that everything after is one array.
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
    """(S, 4, T) boxes that hold the images of the solids, clipped to the frame: left, top, right, bottom in px.

    Right and bottom are exclusive; a box is empty (right <= left or bottom <= top) where the solid is behind the camera
    or out of the frame.
    """
    x0, y0, x1, y1, behind, crossing = (
        np.stack(parts) for parts in zip(*[_normalized_bounds(s, view) for s in shapes], strict=True)
    )
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    edge = np.stack([x0, x, x1, x0, x1, x0, x, x1, y0, y0, y0, y, y, y1, y1, y1], axis=-1).reshape(*x.shape, 2, 8)
    pixels = mvgeom.distort(np.moveaxis(edge, -2, -1).reshape(1, -1, 2), view.camera)[0].reshape(*x.shape, 8, 2)
    # Partly behind the camera, or where the lens model ends: no box but the whole frame is safe.
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


def _normalized_bounds(shape: Shape, view: View) -> Bounds:
    """Lowest x and y, highest x and y of the solid on the plane z = 1, whether it is behind the camera or beside it."""
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
    """As `_normalized_bounds`, of ellipsoids {c + A u, |u| <= 1} with `spread` AA' (T, 3, 3) in the camera.

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
