"""Predictions of a project's labelled images, in the tables that `mvtrain fit` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mvaug import Augmentation
from mvgeom.tables import write_points_3d
from mvtrain.config import Config, load_config
from mvtrain.data.dataset import EpochSampler, FrameDataset, ImageCache, make_loader
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.model.inference import FramePredictions, predict_frames
from mvtrain.model.likelihood import ConfidenceMap, calibrated
from mvtrain.model.reconstruction import reconstruct_project
from mvtrain.predict.outputs import PredictionRows, write_predictions
from mvtrain.predict.predictor import Predictor
from mvtrain.project.project import Project, to_crop


def project_config(path: Path, run_config: Config) -> Config | None:
    """The config of the project that an input is, None where it is none.

    Args:
        path: a config file, or a project folder: one with a `config.yaml`, or with tables CollectedData_<view>.csv,
            which are then read as the run's config says.
        run_config: of the run.

    Raises:
        ValueError: the config file is not as it should be.
    """
    if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        return load_config(path)
    if path.is_dir() and (path / "config.yaml").is_file():
        return load_config(path / "config.yaml")
    if path.is_dir() and any(path.glob("CollectedData_*.csv")):
        return replace(run_config, data=replace(run_config.data, data_dir=path.resolve()))
    return None


def check_project(project: Project, spec: ModelSpec) -> None:
    """Whether a network can predict a project.

    Raises:
        ValueError: it has other views, or other keypoints, or no calibration where the network needs one.
    """
    for what, found, expected in (
        ("views", project.view_names, spec.view_names),
        ("keypoints", project.keypoint_names, spec.keypoint_names),
    ):
        if found != expected:
            raise ValueError(
                f"the project {project.root} has the {what} {', '.join(found)}, but the run was trained on "
                f"{', '.join(expected)}"
            )
    if all(cameras is None for cameras in project.cameras):
        spec.check_needs_no_cameras(f"the frames of {project.root}")


def predict_project(predictor: Predictor, project: Project) -> FramePredictions:
    """Predictions of every labelled frame, in the project's order."""
    return predict_rows(predictor, project, np.arange(len(project)))


def predict_rows(predictor: Predictor, project: Project, rows: np.ndarray) -> FramePredictions:
    """Predictions of some labelled frames, in the order asked for."""
    dataset = FrameDataset(
        project,
        size=predictor.spec.image_size,
        augmentation=Augmentation.none(),
        seed=0,
        cache=ImageCache.from_project(project, max_bytes=0),
    )
    sampler = EpochSampler(rows, batch_size=predictor.batch_size, seed=None)
    loader = make_loader(dataset, sampler, num_workers=0, pin_memory=False)
    return predict_frames(predictor.network, loader, predictor.device)


def table_index(project: Project, view: int) -> list[str]:
    """The index of a view's tables: its image names, or the number of the frame where it has no image."""
    return [names[view] or f"frame {row}" for row, names in enumerate(project.image_names)]


def write_project_predictions(
    out_dir: Path,
    project: Project,
    predictions: FramePredictions,
    sets: Sequence[str] | None,
    confidence_map: ConfidenceMap | None,
) -> None:
    """Write `predictions_<view>.csv`, in px of the stored images, and with calibration `predictions_3d.csv`.

    Args:
        out_dir: where to.
        project: that was predicted.
        predictions: of all its frames.
        sets: train, validation or test for each frame; None leaves the column out.
        confidence_map: what turns confidence into likelihood, None: nothing.
    """
    file_points = to_crop(project, predictions.index, predictions.points)
    for view, name in enumerate(project.view_names):
        rows = PredictionRows(
            index=table_index(project, view),
            points=file_points[:, view],
            likelihood=calibrated(predictions.confidence[:, view], confidence_map),
            sets=sets,
        )
        write_predictions(
            out_dir / f"predictions_{name}.csv", project.keypoint_names, [rows], with_sets=sets is not None
        )
    if len(project.view_names) > 1 and any(cameras is not None for cameras in project.cameras):
        rows_3d = [next(filter(None, names)) for names in project.image_names]
        write_points_3d(
            out_dir / "predictions_3d.csv",
            project.keypoint_names,
            [(rows_3d, reconstruct_project(project, predictions, confidence_map))],
        )
