"""What a run folder gets once training has ended: predictions of all labelled frames, their errors, videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mvaug import Augmentation
from mvtrain.config import Config
from mvtrain.data.cache import ImageCache
from mvtrain.data.dataset import EpochSampler, FrameDataset, make_loader, triangulate_labels
from mvtrain.data.maps import to_file
from mvtrain.data.project import Project
from mvtrain.data.splits import SET_NAMES, Split
from mvtrain.data.truth import read_truth
from mvtrain.evaluation.metrics import ErrorSummary, mean_pose, pixel_error, summarize
from mvtrain.evaluation.three_d import triangulate_predictions
from mvtrain.losses.heatmap import VISIBLE
from mvtrain.model.checkpoint import load_checkpoint
from mvtrain.model.spec import ModelSpec
from mvtrain.prediction.predict import FramePredictions, Network, predict_frames
from mvtrain.prediction.tables import write_pixel_errors, write_predictions
from mvtrain.prediction.video import predict_videos


def evaluate_run(
    run_dir: Path, config: Config, project: Project, split: Split, device: torch.device, console: Console
) -> None:
    """Predict every labelled frame with the best checkpoint, write the tables, print the errors, predict the videos."""
    model, spec = load_checkpoint(run_dir / "checkpoints" / "best")
    network = Network.of(model.to(device), spec, device)
    predictions = predict_project(network, spec, project, config, device)
    file_points = to_file(project, predictions.index, predictions.points)
    labels = np.where((project.visibility == VISIBLE)[..., None], project.points, np.nan)
    errors = pixel_error(file_points, labels)
    sets = split.names()
    for view, name in enumerate(project.view_names):
        index = [names[view] or f"frame {row}" for row, names in enumerate(project.image_names)]
        write_predictions(
            run_dir / f"predictions_{name}.csv",
            index,
            project.keypoint_names,
            file_points[:, view],
            predictions.confidence[:, view],
            sets,
        )
        write_pixel_errors(
            run_dir / f"predictions_{name}_pixel_error.csv", index, project.keypoint_names, errors[:, view], sets
        )
    baseline = pixel_error(np.broadcast_to(mean_pose(labels[split.train]), labels.shape), labels)
    print_errors(console, project, split, errors, baseline)
    print_errors_3d(console, project, split, predictions)
    console.print(f"everything about this run is in {run_dir}", highlight=False)
    if config.eval.predict_vids_after_training:
        predict_videos(network, spec, config, run_dir / "video_preds", device, console)


def predict_project(
    network: Network, spec: ModelSpec, project: Project, config: Config, device: torch.device
) -> FramePredictions:
    """Predictions of every labelled frame, in the project's order."""
    dataset = FrameDataset(
        project,
        size=spec.image_size,
        augmentation=Augmentation.none(),
        seed=0,
        cache=ImageCache.of_project(project, max_bytes=0),
    )
    sampler = EpochSampler(np.arange(len(project.cameras)), batch_size=config.training.test_batch_size, seed=None)
    return predict_frames(network, make_loader(dataset, sampler, num_workers=0, pin_memory=False), device)


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
