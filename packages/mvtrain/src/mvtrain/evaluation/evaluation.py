"""Evaluation of a run: predictions of a project's frames beside the labels, by split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from mvgeom.short_repr import short_repr
from mvtrain.metrics import (
    describe_starving,
    mean_pose,
    occluded_points,
    pixel_error,
    reprojection_errors,
    starving_keypoints,
    subject_sizes,
)
from mvtrain.model.error_bars import ErrorBars
from mvtrain.model.inference import FramePredictions
from mvtrain.model.likelihood import ConfidenceMap, calibrated
from mvtrain.model.reconstruction import reconstruct_project
from mvtrain.model.run_folder import Run
from mvtrain.predict.labeled_images import check_cameras, in_network_order, predict_project
from mvtrain.predict.predictor import Predictor
from mvtrain.project.held_out import HELD_OUT_SPLITS, HeldOut
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.labels_3d import read_truth, triangulate_labels
from mvtrain.project.project import Project, project_into_images, to_crop
from mvtrain.project.splits import read_split, split_frames

_ORDER = ("test", *HELD_OUT_SPLITS, "validation", "train", "unused")
"""Splits by their value for the error on new images, highest first."""


def is_own_project(run: Run, project: Project) -> bool:
    """Return True if a project is the one that the run was trained on: in its folder, or moved since.

    A project counts as moved if the run's folder of the project is gone, and had frames of the same names.

    Raises:
        InputError: As for `assign_splits`.
    """
    folder = run.config.data.data_dir
    if folder is None or folder.resolve() == project.root.resolve():
        return folder is not None
    return not folder.is_dir() and any(read_split(run.folder, project) or ())


def assign_splits(run: Run, project: Project) -> np.ndarray:
    """Assign every frame of a project its split: train, validation, test or unused.

    For the run's own project it is the split that the run has written, since labels that were added later would change
    a new division; frames added later are test. For a run that has written none it is the division by its config. All
    frames of another project are test.

    Returns:
        (N,) strings.

    Raises:
        InputError: `damaged-file` for a table of predictions in the run folder without splits.
    """
    if not is_own_project(run, project):
        return np.full(len(project), "test")
    written = read_split(run.folder, project)
    if written is None:
        return split_frames(project, run.config).names().astype(str)
    return np.array([name or "test" for name in written])


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Predictions of N labeled frames of a project, and their errors.

    Full-image px are those of the whole camera image, crop px those of the stored image: the same unless images are
    crops. Errors in 2D are in crop px, as in `predictions_<view>_pixel_error.csv` and `metrics.csv`.

    A keypoint is hidden in a view where it has no visible label although it lies in the image: it is behind something,
    or it was not labeled. It is occluded where, besides, its place is known from the truth or from the other views
    (`mvtrain.metrics.occluded_points`): the errors that tables and pages show beside those of visible labels.

    Attributes:
        view_names: Names of V views.
        keypoint_names: Names of K keypoints.
        rows: (N,) rows of the project.
        split: (N,) `train`, `validation`, `test` or `unused`: split of each frame in the run.
        sessions: Names of N sessions.
        image_names: N x V image paths, as the label tables write them; None where a view has none.
        points: (N, V, K, 2) predictions in full-image px, NaN for views without an image.
        confidence: (N, V, K) in [0, 1] as tables of predictions have it: calibrated where the run has a calibration of
            its confidence. NaN for views without an image.
        raw_confidence: (N, V, K) confidence without calibration.
        own_confidence: (N, V, K) the network's confidence in each view, before the views are fused.
        labels: (N, V, K, 2) visible labels in full-image px, NaN elsewhere.
        pixel_error: (N, V, K) distance between prediction and label in crop px, NaN where there is no visible label.
        mean_pose_error: (N, V, K) the same of the mean pose of the training frames, which uses no image; NaN also
            where no frame is of the training split.
        hidden_error: (N, V, K) distance in crop px between a prediction and the place of a hidden keypoint by the
            labels: the projection of the labels of other views, triangulated, or else the coordinates of an occluded
            keypoint in the label table. NaN elsewhere.
        occluded_error: (N, V, K) distance in crop px between a prediction and the place of an occluded keypoint: the
            projected truth, or else the projection of the 3D label on which the other views agree. NaN elsewhere.
        occluded_mean_pose_error: (N, V, K) the same of the mean pose of the training frames, as `mean_pose_error`.
        subject_size: (V,) crop px: median over frames of the diagonal of the box around the keypoints whose
            place is known, hidden or not; NaN for a view without labels.
        points_3d: (N, K, 3) triangulated predictions, as `predictions_3d.csv` has them; NaN without calibration, and
            where no two views agree.
        std_3d: (N, K, 3) standard deviations of `points_3d` along the world's axes, NaN as they are.
        labels_3d: (N, K, 3) triangulated visible labels; NaN without calibration or with fewer than two labels.
        error_3d: (N, K) distance between the two in world units, NaN where either is missing.
        reprojection_error: (N, V, K) distance in full-image px between a prediction and the projection of the point
            that all views' predictions triangulate to; NaN without one.
        truth_3d: (N, K, 3) the generator's truth; None where the project has none.
        truth_error_3d: (N, K) distance between `points_3d` and `truth_3d`; None without truth.
        hidden_truth_error: (N, V, K) distance in crop px between a prediction and the projected truth of a hidden
            keypoint, NaN elsewhere; None without truth.
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
    own_confidence: np.ndarray
    labels: np.ndarray
    pixel_error: np.ndarray
    mean_pose_error: np.ndarray
    hidden_error: np.ndarray
    occluded_error: np.ndarray
    occluded_mean_pose_error: np.ndarray
    subject_size: np.ndarray
    points_3d: np.ndarray
    std_3d: np.ndarray
    labels_3d: np.ndarray
    error_3d: np.ndarray
    reprojection_error: np.ndarray
    truth_3d: np.ndarray | None
    truth_error_3d: np.ndarray | None
    hidden_truth_error: np.ndarray | None

    __repr__ = short_repr

    @property
    def relative_error(self) -> np.ndarray:
        """Return (N, V, K) distances to known places of keypoints, hidden or not, as share of the subject's size."""
        known = np.where(np.isfinite(self.pixel_error), self.pixel_error, self.hidden_error)
        return known / self.subject_size[:, None]


def evaluate(
    run: Run, project: Project, *, device: torch.device | None = None, batch_size: int | None = None
) -> Evaluation:
    """Predict every labeled frame of a project with a run's network, and compare.

    Args:
        run: Run from `load_run`.
        project: Project with the run's views and keypoints, in any order; the one it was trained on, or another.
        device: Device of the network; None: the CPU.
        batch_size: Frames per batch; None: the run's `training.test_batch_size`.

    Returns:
        One entry per row of the project, in its order.

    Raises:
        InputError: The project has other views or keypoints than the run, or an image cannot be decoded.
    """
    project = in_network_order(project, run.spec)
    predictor = Predictor.from_run(run, device or torch.device("cpu"), batch_size)
    predictions, sets = predict_project(predictor, project), assign_splits(run, project)
    return compare(project, predictions, sets, run.confidence_map, run.error_bars)


def evaluate_held_out(
    run: Run, project: Project, found: Sequence[HeldOut], *, device: torch.device, batch_size: int | None = None
) -> list[Evaluation]:
    """Predict the frames of a project's held-out tables with a run's network, and compare.

    Args:
        run: Run from `load_run`.
        project: Project that the tables belong to, in the order of the run's views and keypoints.
        found: Held-out tables.
        device: Device of the network.
        batch_size: Frames per batch; None: the run's `training.test_batch_size`.

    Raises:
        InputError: As for `evaluate`.
    """
    if not found:
        return []
    for tables in found:
        check_cameras(tables.project, run.spec)
    predictor = Predictor.from_run(run, device, batch_size)
    pose = find_training_pose(project, assign_splits(run, project))
    return [
        compare_held_out(
            tables,
            predict_project(predictor, tables.project),
            run.confidence_map,
            run.error_bars,
            training_pose=pose,
        )
        for tables in found
    ]


def compare(
    project: Project,
    predictions: FramePredictions,
    sets: np.ndarray,
    confidence_map: ConfidenceMap | None = None,
    error_bars: ErrorBars | None = None,
    training_pose: np.ndarray | None = None,
) -> Evaluation:
    """Compare predictions with the labels and the truth of a project.

    Args:
        project: Project that was predicted.
        predictions: Predictions of N of its frames, in any order, with the network's own confidence.
        sets: (len(project),) split of every frame of the project, as `Split.names` gives them.
        confidence_map: Calibration of the confidence, if there is one.
        error_bars: Error bars in 3D of the run, if it has any.
        training_pose: (V, K, 2) crop px, pose to compare with, from `find_training_pose`; None: that of the project.
    """
    rows = predictions.index
    visible = project.visibility[rows] == VISIBLE
    crop_points = to_crop(project, rows, predictions.points)
    labels = np.where(visible[..., None], project.points[rows], np.nan)
    all_labels_3d = triangulate_labels(project)
    labels_3d = all_labels_3d[rows]
    hidden = _hidden_labels(project, rows, labels_3d)
    reconstruction = reconstruct_project(project, predictions, confidence_map, error_bars)
    points_3d = reconstruction.points
    truth = read_truth(project)
    occluded = occluded_points(project, all_labels_3d, truth)[rows]
    baseline = find_training_pose(project, sets) if training_pose is None else training_pose
    truth_3d = truth_error_3d = hidden_truth_error = None
    if truth is not None:
        truth_3d = truth[rows]
        truth_error_3d = np.linalg.norm(points_3d - truth_3d, axis=-1)
        projected = project_into_images(project, rows, truth_3d)
        hidden_truth_error = np.where(visible, np.nan, pixel_error(crop_points, projected))
    return Evaluation(
        view_names=project.view_names,
        keypoint_names=project.keypoint_names,
        rows=rows,
        split=np.asarray(sets)[rows].astype(str),
        sessions=tuple(project.sessions[row] for row in rows),
        image_names=tuple(project.image_names[row] for row in rows),
        points=predictions.points,
        confidence=calibrated(predictions.confidence, confidence_map),
        raw_confidence=predictions.confidence,
        own_confidence=predictions.own_confidence,
        labels=np.where(visible[..., None], project.points_full[rows], np.nan),
        pixel_error=pixel_error(crop_points, labels),
        mean_pose_error=pixel_error(baseline, labels),
        hidden_error=pixel_error(crop_points, hidden),
        occluded_error=pixel_error(crop_points, occluded),
        occluded_mean_pose_error=pixel_error(baseline, occluded),
        subject_size=subject_sizes(np.where(visible[..., None], labels, hidden)),
        points_3d=points_3d,
        std_3d=reconstruction.std,
        labels_3d=labels_3d,
        error_3d=np.linalg.norm(points_3d - labels_3d, axis=-1),
        reprojection_error=reprojection_errors(project, predictions, points_3d),
        truth_3d=truth_3d,
        truth_error_3d=truth_error_3d,
        hidden_truth_error=hidden_truth_error,
    )


def compare_held_out(
    held_out: HeldOut,
    predictions: FramePredictions,
    confidence_map: ConfidenceMap | None,
    error_bars: ErrorBars | None,
    *,
    training_pose: np.ndarray,
) -> Evaluation:
    """Compare predictions with the labels of held-out tables; all frames are of their split.

    Args:
        held_out: Held-out tables that were predicted.
        predictions: Predictions of their frames.
        confidence_map: As for `compare`.
        error_bars: As for `compare`.
        training_pose: (V, K, 2) crop px, from `find_training_pose` of the project that the tables belong to.
    """
    sets = np.full(len(held_out.project), held_out.split)
    return compare(held_out.project, predictions, sets, confidence_map, error_bars, training_pose)


def find_training_pose(project: Project, sets: np.ndarray) -> np.ndarray:
    """Compute the mean pose (V, K, 2) of the visible labels of training frames in crop px; NaN without any."""
    labels = np.where((project.visibility == VISIBLE)[..., None], project.points, np.nan)
    return mean_pose(labels[np.asarray(sets) == "train"])


def _hidden_labels(project: Project, rows: np.ndarray, labels_3d: np.ndarray) -> np.ndarray:
    """Return (N, V, K, 2) crop px of keypoints without visible label, as far as labels give them; NaN elsewhere."""
    projected = project_into_images(project, rows, labels_3d)
    known = np.where(np.isfinite(projected), projected, project.points[rows])
    return np.where((project.visibility[rows] == VISIBLE)[..., None], np.nan, known)


def held_out_split(evaluation: Evaluation) -> str:
    """Return the split whose errors are closest to those on new images: test, else validation, else train."""
    return next(name for name in _ORDER if (evaluation.split == name).any())


def held_out_first(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a table with a column `split`: test before validation before train, else in the given order."""
    return table.iloc[table["split"].map(_ORDER.index).argsort(kind="stable").to_numpy()].reset_index(drop=True)


def describe_unlearned(evaluation: Evaluation, heatmap_size: tuple[int, int], heatmap_loss: str) -> list[str]:
    """Name what a run has not learned, a line each: starving keypoints, and errors no better than the mean pose's.

    Args:
        evaluation: Evaluation of the run on its own project.
        heatmap_size: Height and width in heatmap px.
        heatmap_loss: The config's `model.heatmap_loss_type`.
    """
    lines = []
    starving = starving_keypoints(evaluation.own_confidence, np.isfinite(evaluation.pixel_error), heatmap_size)
    if starving:
        lines.append(describe_starving(starving, evaluation.keypoint_names, heatmap_loss))
    split = held_out_split(evaluation)
    rows = evaluation.split == split
    error, baseline = evaluation.pixel_error[rows], evaluation.mean_pose_error[rows]
    known = np.isfinite(error) & np.isfinite(baseline)
    if known.any() and error[known].mean() >= baseline[known].mean():
        lines.append(
            f"this run is no better than the mean pose on the {split} frames: mean error {error[known].mean():.2f} px, "
            f"mean pose {baseline[known].mean():.2f} px. Check the project (mvtrain check), try mvtrain fit --overfit "
            "10, or train longer."
        )
    return lines
