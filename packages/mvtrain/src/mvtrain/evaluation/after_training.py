"""What a run folder gets once training has ended: predictions of all labelled frames, their errors, videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mvtrain.config import Config
from mvtrain.data.dataset import triangulate_labels
from mvtrain.data.maps import to_file
from mvtrain.data.project import Project
from mvtrain.data.splits import SET_NAMES, Split
from mvtrain.data.truth import read_truth
from mvtrain.evaluation.metrics import ErrorSummary, mean_pose, pixel_error, summarize
from mvtrain.evaluation.three_d import triangulate_predictions
from mvtrain.losses.heatmap import VISIBLE
from mvtrain.prediction.command import predict_videos
from mvtrain.prediction.predict import FramePredictions
from mvtrain.prediction.predictor import Predictor
from mvtrain.prediction.project import predict_project, table_index, write_project_predictions
from mvtrain.prediction.run_folder import load_run
from mvtrain.prediction.tables import write_pixel_errors


def evaluate_run(
    run_dir: Path, config: Config, project: Project, split: Split, device: torch.device, console: Console
) -> None:
    """Predict every labelled frame with the best checkpoint, write the tables, print the errors, predict the videos."""
    run = load_run(run_dir)
    predictor = Predictor.of(run, device, config.training.test_batch_size)
    predictions = predict_project(predictor, project)
    file_points = to_file(project, predictions.index, predictions.points)
    labels = np.where((project.visibility == VISIBLE)[..., None], project.points, np.nan)
    errors = pixel_error(file_points, labels)
    sets = split.names()
    write_project_predictions(run_dir, project, predictions, list(sets))
    for view, name in enumerate(project.view_names):
        path, index = run_dir / f"predictions_{name}_pixel_error.csv", table_index(project, view)
        write_pixel_errors(path, index, project.keypoint_names, errors[:, view], sets)
    baseline = pixel_error(np.broadcast_to(mean_pose(labels[split.train]), labels.shape), labels)
    print_errors(console, project, split, errors, baseline)
    print_errors_3d(console, project, split, predictions)
    console.print(f"everything about this run is in {run_dir}", highlight=False)
    if config.eval.predict_vids_after_training:
        predict_videos(predictor, config, run_dir / "video_preds", console)


def print_errors(console: Console, project: Project, split: Split, errors: np.ndarray, baseline: np.ndarray) -> None:
    """A table of pixel error (N, V, K) per view and split, beside the baseline's."""
    console.print("\nerror in px of the labelled images, visible labels only; mean pose: the same pose for every frame")
    table = Table()
    for column in ("set", "view"):
        table.add_column(column)
    for column in ("labels", "mean error", "median", "mean pose", "times better"):
        table.add_column(column, justify="right")
    for name in SET_NAMES:
        rows = split.names() == name
        for view in [*range(len(project.view_names)), slice(None)]:
            summary = summarize(errors[rows][:, view], baseline[rows][:, view])
            if summary is not None:
                is_last = isinstance(view, slice)
                label = "[bold]all[/]" if is_last else project.view_names[view]
                table.add_row(name, label, *_cells(summary), end_section=is_last)
    console.print(table)


def print_errors_3d(console: Console, project: Project, split: Split, predictions: FramePredictions) -> None:
    """The 3D error of triangulated predictions, against the truth of a generated project or the triangulated labels."""
    predicted = triangulate_predictions(project, predictions)
    truth = read_truth(project)
    against = "the true 3D" if truth is not None else "the triangulated labels"
    errors = np.linalg.norm(predicted - (triangulate_labels(project) if truth is None else truth), axis=-1)
    if not np.isfinite(errors).any():
        return
    console.print(f"\n3D error of triangulated predictions against {against}, in the calibration's unit")
    table = Table()
    table.add_column("set")
    for column in ("points", "mean", "median", "95 %"):
        table.add_column(column, justify="right")
    for name in SET_NAMES:
        rows = split.names() == name
        known = errors[rows][np.isfinite(errors[rows])]
        if len(known):
            figures = (known.mean(), np.median(known), np.percentile(known, 95))
            table.add_row(name, str(len(known)), *(f"{figure:.4g}" for figure in figures))
    console.print(table)


def _cells(summary: ErrorSummary) -> tuple[str, ...]:
    return (
        str(summary.count),
        f"{summary.mean:.2f}",
        f"{summary.median:.2f}",
        f"{summary.baseline:.2f}",
        f"{summary.ratio:.2f}",
    )
