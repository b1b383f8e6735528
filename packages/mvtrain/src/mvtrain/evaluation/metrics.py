"""Errors of predicted keypoints, beside those of a baseline that looks at no image."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class ErrorSummary:
    """Errors of one view (or all) in one split.

    Attributes:
        count: labels compared.
        mean: mean error.
        median: median error.
        baseline: mean error of the mean pose on the same labels.
    """

    count: int
    mean: float
    median: float
    baseline: float

    @property
    def ratio(self) -> float:
        """How many times smaller the error is than the baseline's."""
        return self.baseline / self.mean if self.mean > 0 else float("inf")


def summarize(errors: np.ndarray, baseline_errors: np.ndarray) -> ErrorSummary | None:
    """Summary over all entries where both are known; None where there are none."""
    known = np.isfinite(errors) & np.isfinite(baseline_errors)
    if not known.any():
        return None
    return ErrorSummary(
        count=int(known.sum()),
        mean=float(errors[known].mean()),
        median=float(np.median(errors[known])),
        baseline=float(baseline_errors[known].mean()),
    )


def _nanmean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=axis)
    count = known.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
