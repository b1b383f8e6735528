"""Noise of clicks, learned from how well the labels of several views agree."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri

from mvgeom import CameraGroup, affine, project, triangulate
from mvtrain.label.geometry import CLICK_NOISE, Floats, frame_rig
from mvtrain.label.store import ORIGINS, LabelStore
from mvtrain.project.label_tables import VISIBLE

PRIOR_WEIGHT = 20.0
"""Degrees of freedom that the expected noise counts as much as: ten keypoints with a click in a third view."""

LEAST_NOISE = 0.25
"""Smallest noise in px: labels that agree better were computed from each other, or generated."""

_NOT_CLICKED = (ORIGINS.index("projection"), ORIGINS.index("prediction"))

_BLOCK = 100
"""Frames whose clicks are triangulated together."""


class ClickNoise:
    """Noise of the clicks of a project; only frames that were changed are computed again.

    Args:
        store: Labels of the project.
    """

    def __init__(self, store: LabelStore) -> None:
        self._store = store
        num_frames, _, num_keypoints = store.visible.shape
        self._squares, self._freedoms = np.zeros((2, num_frames, num_keypoints))
        self.update(range(len(store)))

    def update(self, frames: Iterable[int]) -> None:
        """Compute the distances of some frames again, and the noise from those of all."""
        store = self._store
        by_rig: dict[int, list[int]] = {}
        for frame in frames:
            self._freedoms[frame] = 0.0
            # Most frames of a project that has just been started have no label.
            if frame_rig(store.project, frame) is not None and (self._clicked(frame).sum(0) >= 2).any():
                by_rig.setdefault(id(store.project.cameras[frame]), []).append(frame)
        for alike in by_rig.values():
            for first in range(0, len(alike), _BLOCK):
                rows = alike[first : first + _BLOCK]
                cameras = store.project.cameras[rows[0]]
                assert cameras is not None
                clicks = np.where(self._clicked(rows)[..., None], store.points[rows], np.nan)
                self._squares[rows], self._freedoms[rows] = squared_residuals(
                    cameras, store.project.crop_to_full[rows], clicks
                )
        self.value = estimate_noise(self._squares, self._freedoms)

    def _clicked(self, rows: int | list[int]) -> npt.NDArray[np.bool_]:
        return (self._store.visible[rows] == VISIBLE) & ~np.isin(self._store.origins[rows], _NOT_CLICKED)


def squared_residuals(cameras: CameraGroup, crop_to_full: Floats, clicks: Floats) -> tuple[Floats, Floats]:
    """Return the squared distances of clicks from the triangulated points.

    Args:
        cameras: V cameras.
        crop_to_full: (..., V, 2, 3) maps from px of the stored images to full-image px.
        clicks: (..., V, K, 2) clicks in px of the stored images; NaN where there is none.

    Returns:
        (..., K) sums over the views in px^2, and (..., K) degrees of freedom: two per click, less three of the point;
        0 of keypoints with fewer than two clicks.
    """
    full = affine.apply(crop_to_full, clicks)
    clicked = np.isfinite(full).all(-1)
    scale = np.sqrt(np.abs(np.linalg.det(crop_to_full[..., :2])))[..., None]
    world = triangulate(full, cameras, np.where(clicked, 1 / scale**2, 0.0), refine_steps=3)
    distances = affine.apply(affine.invert(crop_to_full), project(world, cameras)) - clicks
    squares = np.where(clicked, np.sum(distances**2, axis=-1), 0.0).sum(-2)
    freedoms = 2.0 * clicked.sum(-2) - 3
    known = (freedoms > 0) & np.isfinite(squares)
    return np.where(known, squares, 0.0), np.where(known, freedoms, 0.0)


def estimate_noise(squares: Floats, freedoms: Floats) -> float:
    """Estimate the standard deviation of a click along each axis, in px.

    A sum of squares with f degrees of freedom is distributed as noise^2 chi^2(f). Each is divided by the median of
    chi^2(f); their median, weighted by f, is not moved by wrong clicks, as long as fewer than half are wrong. The
    expected variance, `CLICK_NOISE`^2, counts `PRIOR_WEIGHT` degrees of freedom beside it.

    Args:
        squares: (...) sums of squared distances in px^2.
        freedoms: (...) degrees of freedom; 0 of sums that do not count.
    """
    total = float(freedoms.sum())
    if total == 0:
        return CLICK_NOISE
    squares, freedoms = squares[freedoms > 0], freedoms[freedoms > 0]
    kinds, places = np.unique(freedoms, return_inverse=True)
    ratios = squares / chdtri(kinds, 0.5)[places]
    order = np.argsort(ratios)
    middle = int(np.searchsorted(np.cumsum(freedoms[order]), total / 2))
    variance = float(ratios[order[middle]])
    blended = (PRIOR_WEIGHT * CLICK_NOISE**2 + total * variance) / (PRIOR_WEIGHT + total)
    return max(LEAST_NOISE, math.sqrt(blended))
