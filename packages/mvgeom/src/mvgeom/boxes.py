"""Bounding boxes in frame px, as (..., 4) x, y, width, height.

x and y are the index of the upper left pixel, so a box covers the continuous range from x - 0.5 to x + width - 0.5 (the
centre of a pixel has whole coordinates). A missing box is NaN. The map a box induces is `affine.from_box`. Files
of boxes are read and written by `mvgeom.tables`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from mvgeom._arrays import Array, as_floating
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
    """The box around keypoints.

    Args:
        points: (..., K, 2) frame px; missing ones (NaN) are left out.
        margin: added on every side, as a fraction of the larger extent of the points.
        min_size: least width and height in px.
        aspect: width divided by height; the shorter side grows about the centre. None: as the points are.

    Returns:
        (..., 4) x, y, width, height; NaN where all points are missing. The box is not clipped to the frame.

    Raises:
        ValueError: for a shape that does not end in (K, 2), a negative margin, or sizes that are not positive.
    """
    xp = array_namespace(points)
    points = as_floating(xp, points)
    if len(points.shape) < 2 or points.shape[-1] != 2:
        raise InputError(
            f"points must have shape (..., K, 2), got {tuple(points.shape)}",
            code="wrong-shape",
            argument="points",
            found=tuple(points.shape),
        )
    if not (margin >= 0 and min_size > 0):
        raise InputError(
            f"margin must be at least 0 and min_size positive, got {margin} and {min_size}",
            code="out-of-range",
            argument="margin",
        )
    present = xp.all(xp.isfinite(points), axis=-1, keepdims=True)
    low = xp.min(xp.where(present, points, xp.inf), axis=-2)
    high = xp.max(xp.where(present, points, -xp.inf), axis=-2)
    some = xp.any(present, axis=-2)
    low, high = xp.where(some, low, 0.0), xp.where(some, high, 0.0)
    center, extent = (low + high) / 2, high - low
    extent = extent + 2 * margin * xp.max(extent, axis=-1, keepdims=True)
    extent = xp.clip(extent, min_size, None)
    # A pixel's centre is whole, so the range from x - 0.5 belongs to the box that starts at x.
    box = xp.concat([center - extent / 2 + 0.5, extent], axis=-1)
    box = xp.where(some, box, xp.nan)
    return box if aspect is None else with_aspect(box, aspect)


def from_points_3d(
    points: Array, cams: CameraGroup, *, margin: float = 0.1, min_size: float = 1.0, aspect: float | None = None
) -> Array:
    """The box around world points in every view.

    Args:
        points: (..., K, 3) world; missing ones and those a camera cannot see (behind it, beyond its lens) are left out.
        cams: V cameras; batch dimensions broadcast with `...`.
        margin: as in `from_keypoints`.
        min_size: as in `from_keypoints`.
        aspect: as in `from_keypoints`.

    Returns:
        (..., V, 4) x, y, width, height in frame px; NaN where a view has no point. Not clipped to the frame.
    """
    return from_keypoints(project(points, cams), margin=margin, min_size=min_size, aspect=aspect)


def clip(boxes: Array, size: Array | tuple[float, float]) -> Array:
    """The part of boxes inside the frame.

    Args:
        boxes: (..., 4) x, y, width, height in frame px.
        size: width and height of the frame, two numbers or (..., 2).

    Returns:
        (..., 4); NaN where nothing is left.
    """
    xp = _check(boxes)
    boxes = as_floating(xp, boxes)
    size = xp.asarray(size, dtype=boxes.dtype, device=boxes.device)
    low = xp.clip(boxes[..., :2], 0.0, None)
    high = xp.minimum(boxes[..., :2] + boxes[..., 2:], size)
    left = xp.all(high > low, axis=-1, keepdims=True)
    return xp.where(left, xp.concat([low, high - low], axis=-1), xp.nan)


def with_aspect(boxes: Array, aspect: float) -> Array:
    """Boxes grown about their centre until width divided by height is `aspect`.

    Args:
        boxes: (..., 4) x, y, width, height in frame px.
        aspect: width / height, positive.

    Returns:
        (..., 4), not clipped to the frame; NaN stays NaN.
    """
    xp = _check(boxes)
    boxes = as_floating(xp, boxes)
    if not aspect > 0:
        raise InputError(
            f"aspect (width / height) must be positive, got {aspect}", code="out-of-range", argument="aspect"
        )
    extent = boxes[..., 2:]
    center = boxes[..., :2] + extent / 2
    width = xp.maximum(extent[..., 0], extent[..., 1] * aspect)
    grown = xp.stack([width, width / aspect], axis=-1)
    return xp.concat([center - grown / 2, grown], axis=-1)


def iou(first: Array, second: Array) -> Array:
    """Intersection over union.

    Args:
        first: (..., 4) x, y, width, height.
        second: (..., 4), leading dimensions broadcast with those of `first`.

    Returns:
        (...) from 0 to 1; NaN where either box is missing or both are empty.
    """
    xp = _check(first)
    _check(second)
    first, second = as_floating(xp, first), as_floating(xp, second)
    low = xp.maximum(first[..., :2], second[..., :2])
    high = xp.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    overlap = xp.clip(high - low, 0.0, None)
    intersection = overlap[..., 0] * overlap[..., 1]
    union = first[..., 2] * first[..., 3] + second[..., 2] * second[..., 3] - intersection
    return xp.where(union > 0, intersection / xp.where(union > 0, union, 1.0), xp.nan)


def smooth(boxes: np.ndarray, *, sigma: float, max_gap: int | None = None) -> np.ndarray:
    """Smooth boxes over time with a Gaussian, and fill gaps.

    Gaps are bridged by straight lines (their ends at the video's ends repeat the nearest box), then centre and size are
    smoothed.

    Args:
        boxes: (T, ..., 4) x, y, width, height in frame px, first dimension time; NumPy.
        sigma: standard deviation of the Gaussian in frames, positive.
        max_gap: gaps of more frames in a row than this stay NaN; None fills all of them.

    Returns:
        (T, ..., 4); NaN in gaps longer than `max_gap`, and everywhere if no frame has a box.

    Raises:
        ValueError: for a sigma that is not positive.
    """
    from scipy.ndimage import gaussian_filter1d

    _check(boxes)
    if not sigma > 0:
        raise InputError(
            f"sigma must be a positive number of frames, got {sigma}", code="out-of-range", argument="sigma"
        )
    boxes = np.asarray(boxes, dtype=np.float64)
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
    """(T,) frames that belong to more than `max_gap` missing frames in a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], known, [True]]).astype(np.int8)))
    long = np.zeros(len(known), dtype=bool)
    for start, stop in edges.reshape(-1, 2):
        long[start:stop] = stop - start > max_gap
    return long


def _check(boxes: Array) -> Any:
    if len(boxes.shape) < 1 or boxes.shape[-1] != 4:
        raise InputError(
            f"boxes must have shape (..., 4) for x, y, width, height, got {tuple(boxes.shape)}",
            code="wrong-shape",
            argument="boxes",
            found=tuple(boxes.shape),
        )
    return array_namespace(boxes)
