"""The figures of a validation: pixel errors by view and keypoint, the 3D error, and how consistent the views are."""

from __future__ import annotations

import numpy as np

from mvtrain.data.maps import to_file
from mvtrain.data.project import Project
from mvtrain.evaluation.metrics import pixel_error
from mvtrain.evaluation.three_d import reprojection_errors
from mvtrain.losses.heatmap import VISIBLE
from mvtrain.prediction.predict import FramePredictions
from mvtrain.prediction.project import reconstruct_project


def validation_columns(view_names: tuple[str, ...], keypoint_names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of all figures that `validation_figures` may give."""
    return (
        *("val_pixel_error", "val_error_3d", "val_reprojection_error"),
        *(f"val_pixel_error_view_{name}" for name in view_names),
        *(f"val_pixel_error_keypoint_{name}" for name in keypoint_names),
    )


def validation_figures(project: Project, labels_3d: np.ndarray, predictions: FramePredictions) -> dict[str, float]:
    """Figures of predicted frames; those for which there is nothing to compare are left out, but for the first.

    The same errors as `evaluation.compare` gives, but for what takes long or is wanted only once.

    Args:
        project: that the frames are from.
        labels_3d: (N, K, 3) world, the project's triangulated labels, NaN where there is none.
        predictions: of some of its frames.

    Returns:
        Mean error in px of the stored images over visible labels, of all (NaN without labels), by view and by keypoint;
        mean distance between triangulated predictions and triangulated labels in world units; median distance in px of
        the frame between predictions and the reprojection of what they triangulate to.
    """
    rows = predictions.index
    labels = np.where((project.visibility[rows] == VISIBLE)[..., None], project.points[rows], np.nan)
    errors = pixel_error(to_file(project, rows, predictions.points), labels)
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


def _mean(values: np.ndarray) -> float:
    known = np.isfinite(values)
    return float(values[known].mean()) if known.any() else float("nan")
