"""Errors of keypoints, in 2D and 3D, baselines and subject sizes, and signs that a network has not learned."""

from __future__ import annotations

import numpy as np

from mvgeom import reprojection_error
from mvtrain.model.decode import WINDOW_RADIUS
from mvtrain.model.inference import FramePredictions
from mvtrain.model.reconstruction import reconstruct_project
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.labels_3d import complete_labels
from mvtrain.project.project import Project, project_into_images, to_crop

OCCLUDED_SOURCE = (
    "occluded: without a visible label in this view (visible = 1, 0 or empty), inside the image; its place is the "
    "project's true 3D point, or else the 3D label that at least two other views agree about, projected"
)
"""Definition of an occluded keypoint and the source of its place, for captions."""

_FLAT, _PEAKED = 0.1, 0.3
"""Confidence above that of a flat heatmap, from 0 to 1: below the first a keypoint has no peak; the best quarter of the
keypoints must lie above the second, or the network as a whole has not trained long enough to single out a keypoint."""


def pixel_error(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Compute Euclidean distances in px.

    Args:
        predicted: (..., 2) px, NaN where missing.
        labels: (..., 2) px, NaN where missing.

    Returns:
        (...) distances, NaN where either is missing.
    """
    return np.linalg.norm(predicted - labels, axis=-1)


def mean_pose(labels: np.ndarray) -> np.ndarray:
    """Average the labels of every view and keypoint: a prediction that uses no image.

    Args:
        labels: (N, V, K, 2) of the training frames, NaN where missing.

    Returns:
        (V, K, 2); the view's mean over keypoints where a keypoint has no label, NaN where a view has none.
    """
    by_keypoint = _nanmean(labels, axis=0)
    by_view = _nanmean(labels, axis=(0, 2))[:, None, :]
    return np.where(np.isfinite(by_keypoint), by_keypoint, by_view)


def subject_sizes(points: np.ndarray) -> np.ndarray:
    """Measure the subject in each view's images.

    Args:
        points: (N, V, K, 2) px, NaN where unknown.

    Returns:
        (V,) px: median over frames of the diagonal of the box around the keypoints, of frames that have at least two;
        NaN for a view without such a frame.
    """
    known = np.isfinite(points)
    extent = np.where(known, points, -np.inf).max(axis=2) - np.where(known, points, np.inf).min(axis=2)
    enough = known.all(-1).sum(-1) >= 2
    diagonal = np.linalg.norm(np.where(enough[..., None], extent, 0.0), axis=-1)
    return np.array(
        [np.median(diagonal[enough[:, v], v]) if enough[:, v].any() else np.nan for v in range(points.shape[1])]
    )


def occluded_points(project: Project, labels_3d: np.ndarray, truth_3d: np.ndarray | None) -> np.ndarray:
    """Return the places of all keypoints without a visible label, as far as they are known.

    The x and y that a label table gives for an occluded keypoint are not used: they are not reliable.

    Args:
        project: Project with N frames, V views and K keypoints.
        labels_3d: (N, K, 3) triangulated visible labels in the world, NaN where missing.
        truth_3d: (N, K, 3) true keypoints in the world, NaN where missing; None where the project has none.

    Returns:
        (N, V, K, 2) crop px. NaN for visible keypoints, where the place is outside the image, without a
        calibration, and where neither truth nor agreeing labels of two other views give the place.
    """
    completed = complete_labels(project, labels_3d)
    from_labels = (completed.visibility == VISIBLE) & (project.visibility != VISIBLE)
    places = np.where(from_labels[..., None], completed.points, np.nan)
    if truth_3d is None:
        return places
    # A true place outside the image is known as well: no label of another view overrules it.
    has_truth = np.isfinite(truth_3d).all(-1)[:, None, :]
    projected = project_into_images(project, np.arange(len(project)), truth_3d)
    places = np.where(has_truth[..., None], projected, places)
    return np.where((project.visibility == VISIBLE)[..., None], np.nan, places)


def reprojection_errors(project: Project, predictions: FramePredictions, points_3d: np.ndarray) -> np.ndarray:
    """Compute (N, V, K) distances in full-image px between what each view shows and projected world points.

    NaN without either. Each view shows its keypoints before fusion: fused keypoints agree with the projections always.

    Args:
        project: Project that the frames are from.
        predictions: Predictions of N of its frames, in any order.
        points_3d: (N, K, 3) world points of the same frames, NaN where missing.
    """
    errors = np.full(predictions.confidence.shape, np.nan)
    for number, row in enumerate(predictions.index):
        cameras = project.cameras[row]
        if cameras is not None:
            errors[number] = reprojection_error(points_3d[number], predictions.own_points[number], cameras)
    return errors


def validation_columns(view_names: tuple[str, ...], keypoint_names: tuple[str, ...]) -> tuple[str, ...]:
    """List the names of all figures that `validation_figures` may return."""
    return (
        *("val_pixel_error", "val_error_3d", "val_reprojection_error"),
        *(f"val_pixel_error_view_{name}" for name in view_names),
        *(f"val_pixel_error_keypoint_{name}" for name in keypoint_names),
    )


def validation_figures(project: Project, labels_3d: np.ndarray, predictions: FramePredictions) -> dict[str, float]:
    """Compute the figures of predicted frames; those without anything to compare are left out, except the first.

    They are the errors of `evaluation.compare` without those that take long or are needed only once.

    Args:
        project: Project that the frames are from.
        labels_3d: (N, K, 3) world, the project's triangulated labels, NaN where there is none.
        predictions: Predictions of some of its frames.

    Returns:
        Mean error in crop px over visible labels, of all (NaN without labels), by view and by keypoint;
        mean distance between triangulated predictions and triangulated labels in world units; median distance in
        full-image px between what each view shows by itself and the reprojection of these triangulated points.
    """
    rows = predictions.index
    labels = np.where((project.visibility[rows] == VISIBLE)[..., None], project.points[rows], np.nan)
    errors = pixel_error(to_crop(project, rows, predictions.points), labels)
    figures = {"val_pixel_error": _mean(errors)}
    figures |= {f"val_pixel_error_view_{name}": _mean(errors[:, v]) for v, name in enumerate(project.view_names)}
    figures |= {
        f"val_pixel_error_keypoint_{name}": _mean(errors[..., k]) for k, name in enumerate(project.keypoint_names)
    }
    points_3d = reconstruct_project(project, predictions, None).points
    figures["val_error_3d"] = _mean(np.linalg.norm(points_3d - labels_3d[rows], axis=-1))
    consistency = reprojection_errors(project, predictions, points_3d)
    known = np.isfinite(consistency)
    figures["val_reprojection_error"] = float(np.median(consistency[known])) if known.any() else float("nan")
    return {name: value for name, value in figures.items() if np.isfinite(value) or name == "val_pixel_error"}


def _nanmean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=axis)
    count = known.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mean(values: np.ndarray) -> float:
    known = np.isfinite(values)
    return float(values[known].mean()) if known.any() else float("nan")


def flat_confidence(heatmap_size: tuple[int, int]) -> float:
    """Return the confidence of a flat heatmap: the share of its pixels in the decoding window.

    Args:
        heatmap_size: Height and width in heatmap px.
    """
    side = 2 * WINDOW_RADIUS + 1
    height, width = heatmap_size
    return min(side, height) * min(side, width) / (height * width)


def starving_keypoints(confidence: np.ndarray, visible: np.ndarray, heatmap_size: tuple[int, int]) -> dict[int, float]:
    """Find the keypoints without a peak while others have one.

    Args:
        confidence: (N, V, K) in [0, 1], the network's own, NaN for views without an image.
        visible: (N, V, K) True where a label is visible; only these count.
        heatmap_size: Height and width in heatmap px.

    Returns:
        Median confidence by number of the keypoint, lowest first; empty if no keypoint starves.
    """
    flat = flat_confidence(heatmap_size)
    medians = {}
    for keypoint in range(confidence.shape[-1]):
        known = confidence[..., keypoint][visible[..., keypoint]]
        known = known[np.isfinite(known)]
        if len(known):
            medians[keypoint] = float(np.median(known))
    if not medians or flat >= 1:
        return {}
    above = {keypoint: (median - flat) / (1 - flat) for keypoint, median in medians.items()}
    if np.quantile(list(above.values()), 0.75) < _PEAKED:
        return {}
    return {keypoint: medians[keypoint] for keypoint in sorted(above, key=above.__getitem__) if above[keypoint] < _FLAT}


def describe_starving(starving: dict[int, float], keypoint_names: tuple[str, ...], heatmap_loss: str) -> str:
    """Name the starving keypoints and the remedies, in one line."""
    named = ", ".join(f"{keypoint_names[keypoint]} ({median:.2f})" for keypoint, median in starving.items())
    other_loss = "" if heatmap_loss == "kl" else "model.heatmap_loss_type=kl, "
    return (
        f"keypoints without a peak while others have one (median confidence): {named}. Try {other_loss}"
        "training.optimizer_params.learning_rate=1e-3 or more epochs, and check their labels (mvtrain check)."
    )
