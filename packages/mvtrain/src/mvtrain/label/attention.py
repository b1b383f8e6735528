"""The work that is left in each frame, so that those that need a hand most come first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mvgeom import affine, reprojection_error, triangulate, triangulate_robust
from mvtrain.label.geometry import DISAGREEMENT
from mvtrain.label.prelabels import Prelabels
from mvtrain.label.store import ORIGINS, PROJECTION, LabelStore
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.project import Project

_ABSENT = ORIGINS.index("absent")


def work_left(
    store: LabelStore, prelabels: Prelabels | None, frames: Sequence[int], *, threshold: float = DISAGREEMENT
) -> tuple[np.ndarray, np.ndarray]:
    """Count the keypoints that need a hand, over all views.

    A keypoint without a label counts 1, with a prediction 1 - likelihood, but 1 where the prediction disagrees with the
    other views. A label that disagrees with the other views counts 1, and any other label 0, as does a keypoint that
    was marked absent.

    Args:
        store: Labels.
        prelabels: Predictions; None if there are none.
        frames: n frames to count in.
        threshold: Reprojection error in px of the stored image beyond which views disagree.

    Returns:
        (n,) work that is left, and (n,) True for frames with a label that disagrees.
    """
    rows = np.asarray(frames, dtype=np.int64)
    project = store.project
    done = (store.visible[rows] > 0) | (store.origins[rows] == _ABSENT)
    clicked = (store.visible[rows] == VISIBLE) & (store.origins[rows] != PROJECTION)
    clicks = np.where(clicked[..., None], store.points[rows], np.nan)
    disagrees = _disagrees(project, rows, clicks, threshold, robust=False)
    work = np.where(done, disagrees.astype(np.float64), 1.0)
    if prelabels is not None:
        predicted = np.isfinite(prelabels.points[rows]).all(-1)
        doubt = 1 - np.clip(np.nan_to_num(prelabels.likelihood[rows]), 0, 1)
        doubt[_disagrees(project, rows, prelabels.points[rows], threshold, robust=True)] = 1.0
        work = np.where(predicted & ~done, doubt, work)
    work = np.where(np.all(project.file_sizes[rows] > 0, axis=-1)[..., None], work, 0.0)
    return work.sum(axis=(1, 2)), np.any(disagrees, axis=(1, 2))


def _disagrees(project: Project, rows: np.ndarray, points: np.ndarray, threshold: float, *, robust: bool) -> np.ndarray:
    """Return (n, V, K) True for points farther from the projection of all views' point than the threshold.

    Args:
        project: Project of the frames.
        rows: (n,) frames.
        points: (n, V, K, 2) points in px of the stored images; NaN where missing.
        threshold: Distance in px of the stored image.
        robust: Compare with the point of the views that agree, instead of the point of all views.
    """
    result = np.zeros(points.shape[:-1], dtype=bool)
    full = affine.apply(project.crop_to_full[rows], points)
    scale = np.sqrt(np.abs(np.linalg.det(project.crop_to_full[rows][..., :2])))[..., None]
    by_rig: dict[int, list[int]] = {}
    for number, row in enumerate(rows.tolist()):
        by_rig.setdefault(id(project.cameras[row]), []).append(number)
    for numbers in by_rig.values():
        cameras = project.cameras[rows[numbers[0]]]
        if cameras is None or len(cameras) < 2:
            continue
        limit = threshold * scale[numbers]
        if robust:
            error = triangulate_robust(full[numbers], cameras, threshold=limit + 0 * full[numbers][..., 0]).error
        else:
            error = reprojection_error(triangulate(full[numbers], cameras), full[numbers], cameras)
        result[numbers] = error > limit
    return result
