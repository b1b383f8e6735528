"""Predictions of labelled frames beside what is known about them: labels, triangulated labels, a generator's truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mvgeom import project as project_points
from mvgeom import reprojection_error
from mvtrain.data.dataset import triangulate_labels
from mvtrain.data.maps import to_file
from mvtrain.data.project import Project
from mvtrain.data.truth import read_truth
from mvtrain.evaluation.metrics import pixel_error
from mvtrain.evaluation.sets import sets_of
from mvtrain.losses.heatmap import VISIBLE
from mvtrain.prediction.predict import FramePredictions
from mvtrain.prediction.predictor import Predictor
from mvtrain.prediction.project import check_project, predict_project, reconstruct_project
from mvtrain.prediction.run_folder import Run


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """N labelled moments of a project as they were predicted, and how far off.

    "Frame px" are those of the whole camera image, "file px" those of the stored image: the same unless images are
    crops. Errors in 2D are in file px, as in `predictions_<view>_pixel_error.csv` and `metrics.csv`.

    Attributes:
        view_names: V names.
        keypoint_names: K names.
        rows: (N,) rows of the project.
        split: (N,) `train`, `validation`, `test` or `unused`: what the run did with the moment.
        sessions: N session names.
        image_names: N x V image paths as the label tables write them; None where a view has none.
        points: (N, V, K, 2) predictions in frame px, NaN for views without an image.
        confidence: (N, V, K) in [0, 1] as tables of predictions have it: calibrated where the run has a calibration of
            its confidence. NaN for views without an image.
        raw_confidence: (N, V, K) the network's own, by which predictions are triangulated.
        labels: (N, V, K, 2) visible labels in frame px, NaN elsewhere.
        pixel_error: (N, V, K) distance between prediction and label in file px, NaN where there is no visible label.
        points_3d: (N, K, 3) triangulated predictions, as `predictions_3d.csv` has them; NaN without calibration, and
            where no two views agree.
        labels_3d: (N, K, 3) triangulated visible labels; NaN without calibration or with fewer than two labels.
        error_3d: (N, K) distance between the two in the calibration's unit, NaN where either is missing.
        reprojection_error: (N, V, K) distance in frame px between a prediction and the projection of what all views'
            predictions triangulate to; NaN without that.
        truth_3d: (N, K, 3) the generator's truth; None where the project has none.
        truth_error_3d: (N, K) distance between `points_3d` and `truth_3d`; None without truth.
        hidden_error: (N, V, K) distance in file px between a prediction and the projection of the true keypoint, where
            that lies in the image but has no visible label; NaN elsewhere. None without truth.
    """

    view_names: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    rows: np.ndarray
    split: np.ndarray
    sessions: tuple[str, ...]
    image_names: tuple[tuple[str | None, ...], ...]
    points: np.ndarray
    confidence: np.ndarray
    raw_confidence: np.ndarray
    labels: np.ndarray
    pixel_error: np.ndarray
    points_3d: np.ndarray
    labels_3d: np.ndarray
    error_3d: np.ndarray
    reprojection_error: np.ndarray
    truth_3d: np.ndarray | None
    truth_error_3d: np.ndarray | None
    hidden_error: np.ndarray | None


def evaluate(
    run: Run, project: Project, *, device: torch.device | None = None, batch_size: int | None = None
) -> Evaluation:
    """Predict every labelled moment of a project with a run's network, and compare.

    Args:
        run: from `load_run`.
        project: with the run's views and keypoints; the one it was trained on, or another.
        device: where to compute; None: the CPU.
        batch_size: moments per batch; None: the run's `training.test_batch_size`.

    Returns:
        One entry per row of the project, in its order.

    Raises:
        ValueError: the project has other views or keypoints than the run, or an image cannot be decoded.
    """
    check_project(project, run.spec)
    predictor = Predictor.of(run, device or torch.device("cpu"), batch_size)
    return compare(project, predict_project(predictor, project), sets_of(run, project))


def compare(project: Project, predictions: FramePredictions, sets: np.ndarray) -> Evaluation:
    """Set predictions beside what a project knows about their moments.

    Args:
        project: that was predicted.
        predictions: of N of its moments, in any order.
        sets: the set of every moment of the project, as `Split.names` gives them.
    """
    rows = predictions.index
    visible = project.visibility[rows] == VISIBLE
    file_points = to_file(project, rows, predictions.points)
    labels_file = np.where(visible[..., None], project.points[rows], np.nan)
    points_3d = reconstruct_project(project, predictions).points
    labels_3d = triangulate_labels(project)[rows]
    truth = read_truth(project)
    truth_3d = None if truth is None else truth[rows]
    return Evaluation(
        view_names=project.view_names,
        keypoint_names=project.keypoint_names,
        rows=rows,
        split=np.asarray(sets)[rows].astype(str),
        sessions=tuple(project.sessions[row] for row in rows),
        image_names=tuple(project.image_names[row] for row in rows),
        points=predictions.points,
        confidence=predictions.confidence,
        raw_confidence=predictions.confidence,
        labels=np.where(visible[..., None], project.points_frame[rows], np.nan),
        pixel_error=pixel_error(file_points, labels_file),
        points_3d=points_3d,
        labels_3d=labels_3d,
        error_3d=np.linalg.norm(points_3d - labels_3d, axis=-1),
        reprojection_error=_reprojection_error(project, predictions, points_3d),
        truth_3d=truth_3d,
        truth_error_3d=None if truth_3d is None else np.linalg.norm(points_3d - truth_3d, axis=-1),
        hidden_error=None if truth_3d is None else _hidden_error(project, rows, file_points, truth_3d, visible),
    )


def _reprojection_error(project: Project, predictions: FramePredictions, points_3d: np.ndarray) -> np.ndarray:
    """(N, V, K) frame px, NaN without calibration or 3D point."""
    errors = np.full(predictions.confidence.shape, np.nan)
    for number, row in enumerate(predictions.index):
        cameras = project.cameras[row]
        if cameras is not None:
            errors[number] = reprojection_error(points_3d[number], predictions.points[number], cameras)
    return errors


def _hidden_error(
    project: Project, rows: np.ndarray, file_points: np.ndarray, truth_3d: np.ndarray, visible: np.ndarray
) -> np.ndarray:
    """(N, V, K) file px between predictions and the projected truth of keypoints in the image but without a label."""
    truth = np.full(file_points.shape, np.nan)
    for number, row in enumerate(rows):
        cameras = project.cameras[row]
        if cameras is not None:
            truth[number] = project_points(truth_3d[number], cameras)
    truth = to_file(project, rows, truth)
    # Not where the whole frame ends but where the stored image does: beyond it there is nothing to go by.
    inside = ((truth >= -0.5) & (truth <= project.file_sizes[rows][:, :, None] - 0.5)).all(-1)
    return np.where(inside & ~visible, pixel_error(file_points, truth), np.nan)
