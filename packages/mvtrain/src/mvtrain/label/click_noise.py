"""Noise of clicks, learned from how well the labels of several views agree."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from scipy.stats import chi2

from mvgeom import affine, project, triangulate
from mvtrain.label.geometry import CLICK_NOISE, Floats, FrameRig, frame_rig
from mvtrain.label.store import ORIGINS, LabelStore
from mvtrain.project.label_tables import VISIBLE

PRIOR_WEIGHT = 20.0
"""Degrees of freedom that the expected noise counts as much as: ten keypoints with a click in a third view."""

LEAST_NOISE = 0.25
"""Smallest noise in px: labels that agree better were computed from each other, or generated."""

_NOT_CLICKED = (ORIGINS.index("projection"), ORIGINS.index("prediction"))


class ClickNoise:
    """Noise of the clicks of a project; only frames that were changed are computed again.

    Args:
        store: Labels of the project.
    """

    def __init__(self, store: LabelStore) -> None:
        self._store = store
        self._found: dict[int, tuple[Floats, Floats]] = {}
        self.update(range(len(store)))

    def update(self, frames: Iterable[int]) -> None:
        """Compute the distances of some frames again, and the noise from those of all."""
        for frame in frames:
            store = self._store
            clicked = (store.visible[frame] == VISIBLE) & ~np.isin(store.origins[frame], _NOT_CLICKED)
            # Most frames of a project that has just been started have no label.
            rig = frame_rig(store.project, frame) if (clicked.sum(0) >= 2).any() else None
            if rig is None:
                self._found.pop(frame, None)
            else:
                self._found[frame] = squared_residuals(rig, np.where(clicked[..., None], store.points[frame], np.nan))
        squares, freedoms = zip(*self._found.values(), strict=True) if self._found else ([], [])
        self.value = estimate_noise(np.concatenate([np.zeros(0), *squares]), np.concatenate([np.zeros(0), *freedoms]))


def squared_residuals(rig: FrameRig, clicks: Floats) -> tuple[Floats, Floats]:
    """Return the squared distances of the clicks of n keypoints from the triangulated points.

    Args:
        rig: Cameras of the frame.
        clicks: (V, K, 2) clicks in px of the stored images; NaN where there is none.

    Returns:
        (n,) sums over the views in px^2, and (n,) degrees of freedom: two per click, less three of the point. Keypoints
        with fewer than two clicks are left out.
    """
    full = affine.apply(rig.crop_to_full, clicks)
    clicked = np.isfinite(full).all(-1)
    world = triangulate(full, rig.cameras, np.where(clicked, 1 / rig.scale**2, 0.0), refine_steps=3)
    distances = rig.to_stored(project(world, rig.cameras)) - clicks
    squares = np.where(clicked, np.sum(distances**2, axis=-1), 0.0).sum(0)
    freedoms = 2.0 * clicked.sum(0) - 3
    known = (freedoms > 0) & np.isfinite(squares)
    return squares[known], freedoms[known]


def estimate_noise(squares: Floats, freedoms: Floats) -> float:
    """Estimate the standard deviation of a click along each axis, in px.

    A sum of squares with f degrees of freedom is distributed as noise^2 chi^2(f). Each is divided by the median of
    chi^2(f); their median, weighted by f, is not moved by wrong clicks, as long as fewer than half are wrong. The
    expected variance, `CLICK_NOISE`^2, counts `PRIOR_WEIGHT` degrees of freedom beside it.

    Args:
        squares: (n,) sums of squared distances in px^2.
        freedoms: (n,) degrees of freedom.
    """
    total = float(freedoms.sum())
    if total == 0:
        return CLICK_NOISE
    kinds, places = np.unique(freedoms, return_inverse=True)
    ratios = squares / np.asarray(chi2.median(kinds))[places]
    order = np.argsort(ratios)
    middle = int(np.searchsorted(np.cumsum(freedoms[order]), total / 2))
    variance = float(ratios[order[middle]])
    blended = (PRIOR_WEIGHT * CLICK_NOISE**2 + total * variance) / (PRIOR_WEIGHT + total)
    return max(LEAST_NOISE, math.sqrt(blended))
