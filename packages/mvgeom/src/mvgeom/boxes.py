"""Bounding boxes in full-image px, as (..., 4) x, y, width, height.

x and y are the index of the upper left pixel. The center of a pixel has whole coordinates, so a box covers the
continuous range from x - 0.5 to x + width - 0.5. A missing box is NaN. `affine.from_box` returns the affine map of a
box. `mvgeom.tables` reads and writes box files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from mvgeom._arrays import Array, as_array, as_float64, as_floating, check_broadcast, check_number, one_namespace
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.projection import project

__all__ = [
    "clip",
    "from_keypoints",
    "from_points_3d",
    "iou",
    "smooth",
    "with_aspect",
]


def from_keypoints(points: Array, *, margin: float = 0.1, min_size: float = 1.0, aspect: float | None = None) -> Array:
    """Compute the bounding box of keypoints.

    Args:
        points: (..., K, 2) keypoints in full-image px; missing keypoints (NaN) are ignored.
        margin: Margin added on every side, as a fraction of the larger extent of the keypoints.
        min_size: Smallest width and height in px.
        aspect: Width divided by height; the shorter side grows about the center. None keeps the shape of the keypoints'
            extent.

    Returns:
        Boxes (..., 4) x, y, width, height in full-image px; NaN where all keypoints are missing, or K is 0. Boxes are
            not clipped to the image.

    Raises:
        InputError: `wrong-shape`, if the points are not (..., K, 2); `out-of-range`, if the margin is negative, or
            `min_size` or `aspect` is not positive.
    """
    points = as_array(points, "points")
    xp = array_namespace(points)
    points = as_floating(xp, points, "points")
    if len(points.shape) < 2 or points.shape[-1] != 2:
        raise InputError(
            f"points: wrong shape, found {tuple(points.shape)}, expected (..., K, 2)",
            code="wrong-shape",
            argument="points",
            found=tuple(points.shape),
        )
    check_number(margin, "margin")
    check_number(min_size, "min_size")
    if not (margin >= 0 and min_size > 0):
        raise InputError(
            f"margin, min_size: out of range, found {margin} and {min_size}, expected margin >= 0 and min_size > 0",
            code="out-of-range",
            argument="margin",
        )
    if points.shape[-2] == 0:
        return xp.full((*points.shape[:-2], 4), xp.nan, dtype=points.dtype, device=points.device)
    present = xp.all(xp.isfinite(points), axis=-1, keepdims=True)
    low = xp.min(xp.where(present, points, xp.inf), axis=-2)
    high = xp.max(xp.where(present, points, -xp.inf), axis=-2)
    some = xp.any(present, axis=-2)
    low, high = xp.where(some, low, 0.0), xp.where(some, high, 0.0)
    center, extent = (low + high) / 2, high - low
    extent = extent + 2 * margin * xp.max(extent, axis=-1, keepdims=True)
    extent = xp.clip(extent, min_size, None)
    # Pixel centers have whole coordinates: a box that starts at x covers the range from x - 0.5.
    box = xp.concat([center - extent / 2 + 0.5, extent], axis=-1)
    box = xp.where(some, box, xp.nan)
    return box if aspect is None else with_aspect(box, aspect)


def from_points_3d(
    points: Array, cams: CameraGroup, *, margin: float = 0.1, min_size: float = 1.0, aspect: float | None = None
) -> Array:
    """Compute the bounding box of world points in every view.

    Args:
        points: (..., K, 3) world points; missing points (NaN) and points that a camera cannot see (behind it, or
            outside the lens range) are ignored.
        cams: V cameras; batch dimensions broadcast with `...`.
        margin: Margin added on every side, as in `from_keypoints`.
        min_size: Smallest width and height in px.
        aspect: Width divided by height, as in `from_keypoints`; None keeps the shape of the points' extent.

    Returns:
        Boxes (..., V, 4) x, y, width, height in full-image px; NaN where a view has no point. Boxes are not clipped to
            the image.
    """
    return from_keypoints(project(points, cams), margin=margin, min_size=min_size, aspect=aspect)


def clip(boxes: Array, size: Array | tuple[float, float]) -> Array:
    """Clip boxes to the image.

    Args:
        boxes: (..., 4) boxes x, y, width, height in full-image px.
        size: Width and height of the image in px, two numbers or (..., 2).

    Returns:
        Clipped boxes (..., 4) in full-image px; NaN where a box lies outside the image.

    Raises:
        InputError: `wrong-shape`, if the boxes are not (..., 4).
    """
    boxes = _as_boxes(boxes)
    xp = array_namespace(boxes)
    size = as_float64(size, "size") if isinstance(boxes, np.ndarray) else as_array(size, "size")
    if tuple(size.shape)[-1:] != (2,):
        raise InputError(
            f"size: wrong shape, found {tuple(size.shape)}, expected (..., 2) for width and height",
            code="wrong-shape",
            argument="size",
            found=tuple(size.shape),
        )
    check_broadcast("size", size.shape[:-1], boxes.shape[:-1], "the boxes")
    size = xp.asarray(size, dtype=boxes.dtype, device=boxes.device)
    low = xp.clip(boxes[..., :2], 0.0, None)
    high = xp.minimum(boxes[..., :2] + boxes[..., 2:], size)
    low, high = xp.broadcast_arrays(low, high)
    left = xp.all(high > low, axis=-1, keepdims=True)
    return xp.where(left, xp.concat([low, high - low], axis=-1), xp.nan)


def with_aspect(boxes: Array, aspect: float) -> Array:
    """Grow boxes about their center until width divided by height equals `aspect`.

    Args:
        boxes: (..., 4) boxes x, y, width, height in full-image px.
        aspect: Width divided by height, positive.

    Returns:
        Boxes (..., 4) in full-image px, not clipped to the image; NaN stays NaN.

    Raises:
        InputError: `wrong-shape`, if the boxes are not (..., 4); `out-of-range`, if the aspect is not positive.
    """
    boxes = _as_boxes(boxes)
    xp = array_namespace(boxes)
    check_number(aspect, "aspect")
    if not aspect > 0:
        raise InputError(
            f"aspect: width / height must be positive, found {aspect}", code="out-of-range", argument="aspect"
        )
    extent = boxes[..., 2:]
    center = boxes[..., :2] + extent / 2
    width = xp.maximum(extent[..., 0], extent[..., 1] * aspect)
    grown = xp.stack([width, width / aspect], axis=-1)
    return xp.concat([center - grown / 2, grown], axis=-1)


def iou(first: Array, second: Array) -> Array:
    """Compute the intersection over union of boxes.

    Args:
        first: (..., 4) boxes x, y, width, height in px.
        second: (..., 4) boxes x, y, width, height in px; leading dimensions broadcast with those of `first`.

    Returns:
        Intersection over union (...), from 0 to 1; NaN where either box is missing or both are empty.

    Raises:
        InputError: `wrong-shape`, if boxes are not (..., 4).
    """
    first, second = _as_boxes(first, "first"), _as_boxes(second, "second")
    xp = one_namespace({"first": first, "second": second})
    check_broadcast("second", second.shape[:-1], first.shape[:-1], "the first boxes")
    low = xp.maximum(first[..., :2], second[..., :2])
    high = xp.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    overlap = xp.clip(high - low, 0.0, None)
    intersection = overlap[..., 0] * overlap[..., 1]
    union = first[..., 2] * first[..., 3] + second[..., 2] * second[..., 3] - intersection
    return xp.where(union > 0, intersection / xp.where(union > 0, union, 1.0), xp.nan)


def smooth(boxes: np.ndarray, *, sigma: float, max_gap: int | None = None) -> np.ndarray:
    """Smooth boxes over time with a Gaussian and fill gaps.

    Gaps are filled by linear interpolation (before the first and after the last box, the nearest box is repeated). Then
    center and size are smoothed.

    Args:
        boxes: (T, ..., 4) boxes x, y, width, height in full-image px, one per frame along the first dimension; NumPy.
        sigma: Standard deviation of the Gaussian in frames, positive.
        max_gap: Largest number of consecutive missing frames that is filled; longer gaps stay NaN. None fills all gaps.

    Returns:
        Smoothed boxes (T, ..., 4) in full-image px; NaN in gaps longer than `max_gap`, and everywhere if no frame has a
            box. No frames or no boxes per frame give an empty array of the same shape.

    Raises:
        InputError: `out-of-range`, if sigma is not positive; `wrong-shape`, if the boxes are not (T, ..., 4).
    """
    from scipy.ndimage import gaussian_filter1d

    boxes = as_float64(_as_boxes(boxes), "boxes")
    if boxes.ndim < 2:
        raise InputError(
            f"boxes: wrong shape, found {boxes.shape}, expected (T, ..., 4) for boxes of T frames",
            code="wrong-shape",
            argument="boxes",
            found=boxes.shape,
        )
    check_number(sigma, "sigma")
    if max_gap is not None:
        check_number(max_gap, "max_gap")
    if not sigma > 0:
        raise InputError(
            f"sigma: must be a positive number of frames, found {sigma}", code="out-of-range", argument="sigma"
        )
    if boxes.size == 0:
        return boxes.copy()
    present = np.isfinite(boxes).all(axis=-1)
    num_frames = len(boxes)
    flat, known = boxes.reshape(num_frames, -1, 4), present.reshape(num_frames, -1)
    values = np.concatenate([flat[..., :2] + flat[..., 2:] / 2, flat[..., 2:]], axis=-1)
    smoothed = np.full_like(values, np.nan)
    frames = np.arange(num_frames)
    for track in range(flat.shape[1]):
        rows = np.flatnonzero(known[:, track])
        if len(rows) == 0:
            continue
        bridged = np.stack([np.interp(frames, rows, values[rows, track, c]) for c in range(4)], axis=-1)
        smoothed[:, track] = gaussian_filter1d(bridged, sigma, axis=0, mode="nearest")
        if max_gap is not None:
            smoothed[_in_long_gap(known[:, track], max_gap), track] = np.nan
    result = np.concatenate([smoothed[..., :2] - smoothed[..., 2:] / 2, smoothed[..., 2:]], axis=-1)
    return result.reshape(boxes.shape)


def _in_long_gap(known: np.ndarray, max_gap: int) -> np.ndarray:
    """Return booleans (T,), true for frames in a run of more than `max_gap` missing frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], known, [True]]).astype(np.int8)))
    long = np.zeros(len(known), dtype=bool)
    for start, stop in edges.reshape(-1, 2):
        long[start:stop] = stop - start > max_gap
    return long


def _as_boxes(boxes: Any, argument: str = "boxes") -> Array:
    """Return boxes (..., 4) as a floating-point array, or raise an InputError."""
    boxes = as_array(boxes, argument)
    if len(boxes.shape) < 1 or boxes.shape[-1] != 4:
        raise InputError(
            f"{argument}: wrong shape, found {tuple(boxes.shape)}, expected (..., 4) for x, y, width, height",
            code="wrong-shape",
            argument=argument,
            found=tuple(boxes.shape),
        )
    return as_floating(array_namespace(boxes), boxes, argument)
