"""The work that is left in each frame, so that those that need a hand most come first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mvgeom import affine, reprojection_error, triangulate, triangulate_robust
from mvgeom import project as project_points
from mvtrain.label.geometry import DISAGREEMENT
from mvtrain.label.prelabels import Prelabels
from mvtrain.label.store import ABSENT, PROJECTION, LabelStore
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.project import Project


def work_left(
    store: LabelStore, prelabels: Prelabels | None, frames: Sequence[int], *, threshold: float = DISAGREEMENT
) -> tuple[np.ndarray, np.ndarray]:
    """Count the keypoints that need a hand, over all views.

    A keypoint without a label counts 1, with a prediction 1 - likelihood, but 1 where the prediction disagrees with the
    other views. A label that disagrees with the other views counts 1. All else counts 0: other labels, keypoints that
    were marked absent, and those that other views' clicks project outside of the image.

    Args:
        store: Labels.
        prelabels: Predictions; None if there are none.
        frames: (n,) numbers of the frames to count in.
        threshold: Reprojection error in px of the stored image beyond which views disagree.

    Returns:
        (n,) work that is left, and (n,) True for frames with a label that disagrees.
    """
    rows = np.asarray(frames, dtype=np.int64)
    project = store.project
    done = (store.visible[rows] > 0) | (store.origins[rows] == ABSENT)
    clicked = (store.visible[rows] == VISIBLE) & (store.origins[rows] != PROJECTION)
    clicks = np.where(clicked[..., None], store.points[rows], np.nan)
    disagrees, outside = _compare(project, rows, clicks, threshold, robust=False)
    work = np.where(done, disagrees.astype(np.float64), 1.0)
    if prelabels is not None:
        predicted = np.isfinite(prelabels.points[rows]).all(-1)
        doubt = 1 - np.clip(np.nan_to_num(prelabels.likelihood[rows]), 0, 1)
        doubt[_compare(project, rows, prelabels.points[rows], threshold, robust=True)[0]] = 1.0
        work = np.where(predicted & ~done, doubt, work)
    work = np.where(outside & ~done, 0.0, work)
    work = np.where(np.all(project.file_sizes[rows] > 0, axis=-1)[..., None], work, 0.0)
    return work.sum(axis=(1, 2)), np.any(disagrees, axis=(1, 2))


def _compare(
    project: Project, rows: np.ndarray, points: np.ndarray, threshold: float, *, robust: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Compare points with the projections of the world points that they are triangulated to.

    Args:
        project: Project of the frames.
        rows: (n,) frames.
        points: (n, V, K, 2) points in px of the stored images; NaN where missing.
        threshold: Distance in px of the stored image.
        robust: Triangulate from the views that agree, instead of all views.

    Returns:
        (n, V, K) True for points farther from the projection than the threshold, and for projections outside of the
        stored images.
    """
    disagrees, outside = np.zeros(points.shape[:-1], dtype=bool), np.zeros(points.shape[:-1], dtype=bool)
    maps, sizes = project.crop_to_full[rows], project.file_sizes[rows][:, :, None]
    full = affine.apply(maps, points)
    scale = np.sqrt(np.abs(np.linalg.det(maps[..., :2])))[..., None]
    by_rig: dict[int, list[int]] = {}
    for number, row in enumerate(rows.tolist()):
        by_rig.setdefault(id(project.cameras[row]), []).append(number)
    for numbers in by_rig.values():
        cameras = project.cameras[rows[numbers[0]]]
        if cameras is None or len(cameras) < 2:
            continue
        chosen = full[numbers]
        limit = threshold * scale[numbers] + np.zeros(chosen.shape[:-1])
        world = triangulate_robust(chosen, cameras, threshold=limit).points if robust else triangulate(chosen, cameras)
        disagrees[numbers] = reprojection_error(world, chosen, cameras) > limit
        stored = affine.apply(affine.invert(maps[numbers]), project_points(world, cameras))
        known = np.isfinite(stored).all(-1)
        outside[numbers] = known & ~np.all((stored >= -0.5) & (stored <= sizes[numbers] - 0.5), axis=-1)
    return disagrees, outside
