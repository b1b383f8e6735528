"""What a run folder gets once training has ended: predictions of all labelled frames, their errors, videos."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from mvtrain.config import Config
from mvtrain.data.project import Project
from mvtrain.data.splits import Split
from mvtrain.evaluation.evaluation import compare
from mvtrain.evaluation.report import print_errors, print_errors_3d
from mvtrain.evaluation.tables import error_3d_table, error_table
from mvtrain.evaluation.unlearned import describe_unlearned
from mvtrain.prediction.command import predict_videos
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
    sets = split.names()
    evaluation = compare(project, predictions, sets, run.confidence_map)
    write_project_predictions(run_dir, project, predictions, list(sets), run.confidence_map)
    for view, name in enumerate(project.view_names):
        path, index = run_dir / f"predictions_{name}_pixel_error.csv", table_index(project, view)
        write_pixel_errors(path, index, project.keypoint_names, evaluation.pixel_error[:, view], sets)
    print_errors(console, error_table(evaluation))
    print_errors_3d(console, error_3d_table(evaluation))
    console.print(f"everything about this run is in {run_dir}", highlight=False)
    if config.eval.predict_vids_after_training:
        predict_videos(predictor, config, run_dir / "video_preds", console)
    # Last, where it is read.
    for line in describe_unlearned(evaluation, run.spec.heatmap_size, config.model.heatmap_loss_type):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
