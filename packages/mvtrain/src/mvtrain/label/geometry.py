"""Geometry of clicks in several views: curves, points, projections, who disagrees, and the noise of the clicks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri

from mvgeom import (
    CameraGroup,
    affine,
    covariance,
    project,
    projected_covariance,
    rays,
    triangulate,
    triangulate_robust,
)
from mvtrain.label.store import ORIGINS, LabelStore
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.project import Project

CLICK_NOISE = 1.0
"""Expected standard deviation of a click in px of the stored image, along each axis; labels correct it."""

DISAGREEMENT = 5.0
"""Reprojection error in px beyond which a label is marked: five standard deviations of a click as expected."""

_NEAREST, _FARTHEST = 1e-3, 1e3
"""Depths along a viewing ray, in sizes of the rig."""
_NUM_DEPTHS = 600
_NUM_CURVE_POINTS = 65

Floats = npt.NDArray[np.float64]

PRIOR_WEIGHT = 20.0
"""Degrees of freedom that the expected noise counts as much as: ten keypoints with a click in a third view."""

LEAST_NOISE = 0.25
"""Smallest noise in px: labels that agree better were computed from each other, or generated."""

_NOT_CLICKED = (ORIGINS.index("projection"), ORIGINS.index("prediction"))

_BLOCK = 100
"""Frames whose clicks are triangulated together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameRig:
    """Cameras of a frame and the place of its images.

    Attributes:
        cameras: V cameras.
        crop_to_full: (V, 2, 3) maps from px of the stored images to full-image px.
        sizes: (V, 2) width and height of the stored images in px; 0 where a view has no image.
    """

    cameras: CameraGroup
    crop_to_full: Floats
    sizes: Floats

    @property
    def scale(self) -> Floats:
        """Return (V, 1) full-image px per px of the stored image."""
        return np.sqrt(np.abs(np.linalg.det(self.crop_to_full[..., :2])))[:, None]

    def to_stored(self, points: Floats) -> Floats:
        """Map (V, ..., 2) full-image px to px of the stored images; NaN where a view has no image."""
        shape = points.shape
        flat = affine.apply(affine.invert(self.crop_to_full), points.reshape(len(self.sizes), -1, 2))
        present = np.all(self.sizes > 0, axis=-1)
        return np.where(present[:, None, None], flat, np.nan).reshape(shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement:
    """Geometry of K keypoints in V views.

    Attributes:
        projections: (V, K, 2) projections of the triangulated points in px of the stored images, also outside of them;
            NaN where there is none.
        covariances: (V, K, 2, 2) covariances of the projections in px^2, from the noise of the clicks.
        errors: (V, K) distances between click and projection in px; NaN without either.
        disagrees: (K,) True if a distance is beyond the threshold.
        suspects: (V, K) True for the clicks one of which must be wrong: without it, the others agree.
    """

    projections: Floats
    covariances: Floats
    errors: Floats
    disagrees: npt.NDArray[np.bool_]
    suspects: npt.NDArray[np.bool_]


def frame_rig(project_: Project, frame: int) -> FrameRig | None:
    """Return the rig of a frame; None without calibration or with one view."""
    cameras = project_.cameras[frame]
    if cameras is None or len(cameras) < 2:
        return None
    return FrameRig(
        cameras=cameras,
        crop_to_full=project_.crop_to_full[frame],
        sizes=project_.file_sizes[frame].astype(np.float64),
    )


def compare_views(
    rig: FrameRig, clicks: Floats, *, noise: float = CLICK_NOISE, threshold: float = DISAGREEMENT
) -> Agreement:
    """Triangulate the clicks of each keypoint and project the point into all views.

    If the clicks of a keypoint disagree and the fault lies in one view, or in more while the others still agree, the
    point is triangulated without them; else from all clicks.

    Args:
        rig: Cameras of the frame.
        clicks: (V, K, 2) clicks in px of the stored images; NaN where there is none.
        noise: Standard deviation of a click in px of the stored image.
        threshold: Distance between click and projection in px of the stored image beyond which views disagree.
    """
    full = affine.apply(rig.crop_to_full, clicks)
    clicked = np.isfinite(full).all(-1)
    weights = np.where(clicked, 1 / (noise * rig.scale) ** 2, 0.0)
    world = triangulate(full, rig.cameras, weights, refine_steps=3)
    errors = _errors(rig, world, full)
    disagrees = np.any(errors > threshold, axis=0)
    suspects, used = np.zeros_like(clicked), clicked.copy()
    if disagrees.any():
        rows = np.flatnonzero(disagrees)
        suspects[:, rows], used[:, rows] = _find_suspects(
            rig, full[:, rows], weights[:, rows], errors[:, rows], threshold
        )
        world[rows] = triangulate(full[:, rows], rig.cameras, np.where(used, weights, 0.0)[:, rows], refine_steps=3)
        errors = _errors(rig, world, full)
    world_covariance = covariance(world, rig.cameras, noise * rig.scale, used)
    to_stored = affine.invert(rig.crop_to_full)[:, None, :, :2]
    covariances = (
        to_stored @ projected_covariance(world, world_covariance, rig.cameras) @ np.swapaxes(to_stored, -1, -2)
    )
    return Agreement(
        projections=rig.to_stored(project(world, rig.cameras)),
        covariances=covariances,
        errors=errors,
        disagrees=disagrees,
        suspects=suspects,
    )


def epipolar_curves(rig: FrameRig, view: int, click: Floats) -> list[list[Floats]]:
    """Return where the point of one click can be in the other views: its viewing ray, bent by their lenses.

    Args:
        rig: Cameras of the frame.
        view: Number of the view of the click.
        click: (2,) click in px of the stored image.

    Returns:
        Per view the pieces of the curve within the stored image, each (n, 2) in its px, from near to far; none for the
        view itself, for a view without an image, and where the ray does not pass.
    """
    num_views = len(rig.sizes)
    points = np.full((num_views, 1, 2), np.nan)
    points[view, 0] = affine.apply(rig.crop_to_full[view], click[None])[0]
    centers, directions = rays(points, rig.cameras)
    center, direction = centers[view], directions[view, 0]
    curves: list[list[Floats]] = [[] for _ in range(num_views)]
    if not np.isfinite(direction).all():
        return curves
    size = float(np.linalg.norm(centers - center, axis=-1).max())
    log_depths = np.linspace(math.log(_NEAREST * size), math.log(_FARTHEST * size), _NUM_DEPTHS)

    def images(logs: Floats) -> Floats:
        """Return (V, n, 2) px of the stored images of the points at these depths."""
        return rig.to_stored(project(center + np.exp(logs)[:, None] * direction, rig.cameras))

    coarse = images(log_depths)
    for other in range(num_views):
        if other == view:
            continue
        for first, last in _visits(coarse[other], rig.sizes[other]):
            steps = np.linalg.norm(np.diff(coarse[other, first : last + 1], axis=0), axis=-1)
            length = np.concatenate([[0.0], np.cumsum(steps)])
            even = np.linspace(0, length[-1], _NUM_CURVE_POINTS)
            piece = _clip(images(np.interp(even, length, log_depths[first : last + 1]))[other], rig.sizes[other])
            if len(piece) > 1:
                curves[other].append(piece)
    return curves


def _errors(rig: FrameRig, world: Floats, full: Floats) -> Floats:
    """Return (V, K) distances between observations and projections in px of the stored images."""
    difference = rig.to_stored(project(world, rig.cameras)) - rig.to_stored(full)
    return np.linalg.norm(difference, axis=-1)


def _find_suspects(
    rig: FrameRig, full: Floats, weights: Floats, errors: Floats, threshold: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return (V, K) clicks that may be wrong, and (V, K) clicks to triangulate from, of keypoints that disagree."""
    clicked = weights > 0
    count = clicked.sum(0)
    suspects = np.zeros_like(clicked)
    for view in range(len(clicked)):
        kept = weights.copy()
        kept[view] = 0
        world = triangulate(full, rig.cameras, kept, refine_steps=3)
        remaining = np.where(kept > 0, _errors(rig, world, full), 0.0)
        agree = np.all(remaining <= threshold, axis=0) & np.isfinite(world).all(-1)
        suspects[view] = clicked[view] & agree & (count >= 3)
    single = suspects.sum(0) == 1
    used = np.where(single, clicked & ~suspects, clicked)
    # No single view explains it: perhaps several, while at least three others agree.
    none = (suspects.sum(0) == 0) & (count >= 5)
    if none.any():
        limit = threshold * rig.scale
        robust = triangulate_robust(full[:, none], rig.cameras, weights[:, none], threshold=limit)
        enough = robust.inliers.sum(0) >= 3
        suspects[:, none] = clicked[:, none] & ~robust.inliers & enough
        used[:, none] = np.where(enough, robust.inliers, clicked[:, none])
    unexplained = suspects.sum(0) == 0
    return np.where(unexplained, clicked, suspects), used


def _visits(points: Floats, size: Floats) -> list[tuple[int, int]]:
    """Return first and last number of the stretches of (n, 2) points that may pass through an image."""
    known = np.all(np.isfinite(points), axis=-1)
    # Between two samples, a curve may cross a corner of the image; the box of both then overlaps the image.
    low, high = np.fmin(points[:-1], points[1:]), np.fmax(points[:-1], points[1:])
    overlaps = np.all((high >= -0.5) & (low <= size - 0.5) & (size > 0), axis=-1)
    crosses = np.asarray(known[:-1] & known[1:] & overlaps)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], crosses, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _clip(points: Floats, size: Floats) -> Floats:
    """Cut a curve (n, 2) off at the borders of the image; the ends lie on the border."""
    inside = np.all((points >= -0.5) & (points <= size - 0.5), axis=-1)
    if not inside.any():
        return points[:0]
    first, last = int(np.argmax(inside)), len(points) - 1 - int(np.argmax(inside[::-1]))
    pieces = [points[first : last + 1]]
    if first > 0:
        pieces.insert(0, _border(points[first], points[first - 1], size)[None])
    if last < len(points) - 1:
        pieces.append(_border(points[last], points[last + 1], size)[None])
    return np.concatenate(pieces)


def _border(inside: Floats, outside: Floats, size: Floats) -> Floats:
    """Return the point of the image's border between a point inside and a point outside."""
    step = outside - inside
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(step > 0, (size - 0.5 - inside) / step, np.where(step < 0, (-0.5 - inside) / step, np.inf))
    return np.asarray(inside + min(1.0, float(shares.min())) * step)


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
