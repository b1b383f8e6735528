"""Subpixel corners of markers that stand alone: intersections of lines along their edges."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Image", "refine_quadrilaterals"]

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

_PLACES = np.linspace(0.12, 0.88, 24)
"""Places along an edge at which it is measured; blur rounds the corners."""

_STEP = 0.5
_ROUNDS = 2
_FAINT = 0.15


def refine_quadrilaterals(image: Image, corners: Floats, reach: float) -> Floats:
    """Refine the corners of dark quadrilaterals on a light ground.

    The refinement of single corners finds them too far inside where the image is blurred.

    Args:
        image: (H, W) gray image.
        corners: (M, 4, 2) corners in px, clockwise in the image.
        reach: Distance in px from an edge up to which the image shows nothing else.

    Returns:
        Corners (M, 4, 2) in px; NaN where an edge is not found.
    """
    steps = np.arange(-reach, reach + _STEP / 2, _STEP)
    result = corners
    for _ in range(_ROUNDS):
        start, end = result, np.roll(result, -1, axis=1)
        along = end - start
        length = np.linalg.norm(along, axis=-1, keepdims=True)
        normal = np.stack([along[..., 1], -along[..., 0]], axis=-1) / length
        places = start[:, :, None] + _PLACES[:, None] * along[:, :, None]
        offsets = _offsets(image, places[:, :, :, None] + steps[:, None] * normal[:, :, None, None], steps)
        first, slope = _fit_lines(offsets)
        result = _intersections(
            start + first[..., None] * normal, end + (first + slope)[..., None] * normal, image.shape
        )
    return result


def _offsets(image: Image, places: Floats, steps: Floats) -> Floats:
    """Return the distance (M, 4, P) of the edge from the middle of each profile: the center of its gradient."""
    x, y = np.moveaxis(np.nan_to_num(places, nan=-1.0).astype(np.float32).reshape(-1, len(steps), 2), -1, 0)
    values = cv2.remap(image.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    slopes = np.diff(np.asarray(values, dtype=np.float64), axis=1)
    largest = slopes.max(axis=1, keepdims=True)
    weights = np.clip(slopes - _FAINT * largest, 0, None)
    middles = (steps[1:] + steps[:-1]) / 2
    total = weights.sum(axis=1)
    found = np.where(total > 0, (weights * middles).sum(axis=1) / np.where(total > 0, total, 1), np.nan)
    return np.asarray(found.reshape(places.shape[:3]))


def _fit_lines(offsets: Floats) -> tuple[Floats, Floats]:
    """Return the offset (M, 4) of each edge at its start, and its growth to the end; outliers count little."""
    design = np.stack([np.ones_like(_PLACES), _PLACES], axis=-1)
    weights = np.isfinite(offsets).astype(np.float64)
    values = np.nan_to_num(offsets)
    for _ in range(2):
        normal = np.einsum("mep,pi,pj->meij", weights, design, design) + 1e-9 * np.eye(2)
        right = np.einsum("mep,pi,mep->mei", weights, design, values)
        line = np.linalg.solve(normal, right[..., None])[..., 0]
        misses = np.abs(values - line @ design.T)
        scale = 3 * np.median(misses, axis=-1, keepdims=True) + 0.05
        weights = np.isfinite(offsets) / np.maximum(misses / scale, 1)
    line[np.isfinite(offsets).sum(axis=-1) < len(_PLACES) // 2] = np.nan
    return line[..., 0], line[..., 1]


def _intersections(start: Floats, end: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the intersection (M, 4, 2) of each edge (its number is that of its first corner) with the one before."""

    def homogeneous(points: Floats) -> Floats:
        return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)

    lines = np.cross(homogeneous(start), homogeneous(end))
    crossing = np.cross(lines, np.roll(lines, 1, axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        points = crossing[..., :2] / crossing[..., 2:]
    inside = np.asarray(((points >= 0) & (points <= np.array([shape[1], shape[0]]) - 1.0)).all(axis=-1))
    return np.where(inside[..., None], points, np.nan)
