"""Errors of predicted keypoints, a baseline that looks at no image, and the sizes that errors are measured by."""

from __future__ import annotations

import numpy as np


def pixel_error(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Euclidean distance in px.

    Args:
        predicted: (..., 2).
        labels: (..., 2), NaN where missing.

    Returns:
        (...) distances, NaN where either is missing.
    """
    return np.linalg.norm(predicted - labels, axis=-1)


def mean_pose(labels: np.ndarray) -> np.ndarray:
    """The average label of every view and keypoint: what a predictor says that looks at no image.

    Args:
        labels: (N, V, K, 2) of the training frames, NaN where missing.

    Returns:
        (V, K, 2); the view's mean over keypoints where a keypoint has no label, NaN where a view has none.
    """
    by_keypoint = _nanmean(labels, axis=0)
    by_view = _nanmean(labels, axis=(0, 2))[:, None, :]
    return np.where(np.isfinite(by_keypoint), by_keypoint, by_view)


def subject_sizes(points: np.ndarray) -> np.ndarray:
    """How large the subject is in each view's images.

    Args:
        points: (N, V, K, 2) px, NaN where unknown.

    Returns:
        (V,) px: median over moments of the diagonal of the box around the keypoints, of moments that have at least two;
        NaN for a view without such a moment.
    """
    known = np.isfinite(points)
    extent = np.where(known, points, -np.inf).max(axis=2) - np.where(known, points, np.inf).min(axis=2)
    enough = known.all(-1).sum(-1) >= 2
    diagonal = np.linalg.norm(np.where(enough[..., None], extent, 0.0), axis=-1)
    return np.array(
        [np.median(diagonal[enough[:, v], v]) if enough[:, v].any() else np.nan for v in range(points.shape[1])]
    )


def _nanmean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=axis)
    count = known.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
