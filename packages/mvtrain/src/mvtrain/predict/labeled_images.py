"""Prediction of a project's labeled images, and the tables of it that `mvtrain fit` and `mvtrain predict` write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mvaug import Augmentation
from mvgeom.errors import InputError
from mvgeom.files import file_name, list_files, read_text
from mvgeom.tables import write_points_3d
from mvtrain.config import Config, load_config
from mvtrain.data.dataset import EpochSampler, FrameDataset, ImageCache, make_loader
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.model.error_bars import ErrorBars
from mvtrain.model.inference import FramePredictions, predict_frames
from mvtrain.model.likelihood import ConfidenceMap, calibrated
from mvtrain.model.reconstruction import reconstruct_project
from mvtrain.model.run_folder import Run
from mvtrain.predict.ensemble import combine_frames
from mvtrain.predict.outputs import PredictionRows, write_predictions
from mvtrain.predict.predictor import Predictor
from mvtrain.project.names import TABLE, of_view
from mvtrain.project.project import Project, arranged, read_project, to_crop


def project_config(path: Path, run_config: Config) -> Config | None:
    """Load the config of the project that an input of `mvtrain predict` names.

    Args:
        path: Config file, or project folder: one with a `config.yaml`, or with tables CollectedData_<view>.csv, which
            are then read with the run's config.
        run_config: Config of the run.

    Returns:
        The config; None where the input is not a project.

    Raises:
        InputError: The config file cannot be read, or has a wrong key or value.
    """
    if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        return load_config(path)
    if path.is_dir() and (path / "config.yaml").is_file():
        return load_config(path / "config.yaml")
    if path.is_dir() and list_files(path, "CollectedData_*.csv"):
        return replace(run_config, data=replace(run_config.data, data_dir=path.resolve()))
    return None


def read_run_project(run: Run) -> Project:
    """Read the project that a run was trained on, in the order of the run's views and keypoints.

    Raises:
        InputError: `missing-file` if its folder is gone; else those of `in_network_order`, and of `read_project`, which
            name the config of the run where that is what the project contradicts.
    """
    folder, config = run.config.data.data_dir, run.folder / "config.yaml"
    if folder is None or not folder.is_dir():
        raise InputError(
            f"{config}: data.data_dir: the project of the run does not exist, found {folder}. Put it back, or set "
            "data.data_dir to its folder",
            code="missing-file",
            key="data.data_dir",
            path=folder,
            config=config,
        )
    try:
        project = read_project(run.config)
    except InputError as error:
        if "key" not in error.facts:
            raise
        raise error.prefixed(f"{config}: ", config=config) from error
    return in_network_order(project, run.spec)


def in_network_order(project: Project, spec: ModelSpec) -> Project:
    """Return a project with its views and keypoints in the order of a network's.

    Raises:
        InputError: The project has other views (`views-differ`) or keypoints (`keypoints-differ`) than the network, or
            no calibration where the network needs one.
    """
    found, expected = project.view_names, spec.view_names
    unnamed = len(found) == len(expected) == 1 and TABLE in (*found, *expected)
    if set(found) != set(expected) and not unnamed:
        text = _other_names(project, "views", found, expected)
        raise InputError(text, code="views-differ", path=project.root, found=found, expected=expected)
    found, expected = project.keypoint_names, spec.keypoint_names
    if set(found) != set(expected):
        text = _other_names(project, "keypoints", found, expected)
        raise InputError(text, code="keypoints-differ", path=project.root, found=found, expected=expected)
    check_cameras(project, spec)
    return arranged(project, project.view_names if unnamed else spec.view_names, spec.keypoint_names)


def check_cameras(project: Project, spec: ModelSpec) -> None:
    """Check that a project has calibrated frames if the network needs cameras.

    Raises:
        InputError: `no-calibration`.
    """
    if all(cameras is None for cameras in project.cameras):
        spec.check_needs_no_cameras(f"the frames of {project.root}")


def image_warnings(project: Project, config: Config) -> tuple[str, ...]:
    """Return the warnings about a project's images, for predictions by a run of this config."""
    whole, trained_on_whole = project.boxes is None, config.data.bbox_file is None
    if whole and not trained_on_whole:
        crops = f"the run was trained on crops, but the images of {project.root} are whole ones (it has no boxes)"
        return (*project.warnings, f"{crops}: the subject is smaller than the network has learned. Use mvtrain crop")
    if trained_on_whole and not whole:
        crops = f"the run was trained on whole images, but those of {project.root} are crops"
        return (*project.warnings, f"{crops}: the subject is larger than the network has learned")
    return project.warnings


def _other_names(project: Project, what: str, found: tuple[str, ...], expected: tuple[str, ...]) -> str:
    return (
        f"project {project.root}: other {what} than the run was trained on, found {', '.join(found)}, expected "
        f"{', '.join(expected)}"
    )


def predict_project(predictor: Predictor, project: Project) -> FramePredictions:
    """Predict every labeled frame, in the project's order."""
    return predict_rows(predictor, project, np.arange(len(project)))


def predict_with_all(
    predictors: Sequence[Predictor], project: Project
) -> tuple[FramePredictions, ConfidenceMap | None]:
    """Predict every labeled frame with one network, or with several whose predictions are combined.

    Returns:
        The predictions, and the calibration of their confidence; that of several networks is their likelihood already.
    """
    if len(predictors) == 1:
        return predict_project(predictors[0], project), predictors[0].confidence_map
    found = [predict_project(predictor, project) for predictor in predictors]
    maps = [predictor.confidence_map for predictor in predictors]
    return combine_frames(found, maps, [project.cameras[row] for row in found[0].index]), None


def predict_rows(predictor: Predictor, project: Project, rows: np.ndarray) -> FramePredictions:
    """Predict the labeled frames of these rows of the project, in their order."""
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
    """Return the index of a view's tables: image names, or the number of the frame where the view has no image."""
    return [names[view] or f"frame {row}" for row, names in enumerate(project.image_names)]


PROJECT_NOTE = "project.txt"
"""File beside the predictions of a project's images, with the project's folder."""


def check_of_project(folder: Path, project: Project) -> None:
    """Check that predictions of images in a folder are not those of another project, which has the same name.

    Raises:
        InputError: They are, and that project is still there (`occupied-folder`).
    """
    note = folder / PROJECT_NOTE
    if not note.is_file():
        return
    before = Path(read_text(note).strip())
    if before.is_dir() and before.resolve() != project.root.resolve():
        raise InputError(
            f"{folder}: has the predictions of another project of this name, {before}, which would be replaced by "
            f"those of {project.root}. Choose another folder with --output, or remove this one",
            code="occupied-folder",
            path=folder,
            found=before,
            project=project.root,
        )


def write_project_predictions(
    out_dir: Path,
    project: Project,
    predictions: FramePredictions,
    sets: Sequence[str] | None,
    confidence_map: ConfidenceMap | None,
    error_bars: ErrorBars | None = None,
    ending: str = "",
) -> None:
    """Write `predictions_<view>.csv`, in px of the stored images, and with calibration `predictions_3d.csv`.

    The table of a project whose only view has no name is `predictions.csv`.

    Args:
        out_dir: Output folder.
        project: Project that was predicted.
        predictions: Predictions of all its frames.
        sets: Name of each frame's split: train, validation or test; None leaves the column out.
        confidence_map: Map from confidence to likelihood; None takes the confidence as it is.
        error_bars: Error bars in 3D of the run, if it has any.
        ending: End of the names of the tables, such as `_new` for those of held-out frames.

    Raises:
        InputError: A table cannot be written.
    """
    crop_points = to_crop(project, predictions.index, predictions.points)
    for view, name in enumerate(project.view_names):
        rows = PredictionRows(
            index=table_index(project, view),
            points=crop_points[:, view],
            likelihood=calibrated(predictions.confidence[:, view], confidence_map),
            sets=sets,
        )
        write_predictions(
            out_dir / file_name(f"{of_view('predictions', name)}{ending}.csv"),
            project.keypoint_names,
            [rows],
            with_sets=sets is not None,
        )
    if len(project.view_names) > 1 and any(cameras is not None for cameras in project.cameras):
        rows_3d = [next(filter(None, names)) for names in project.image_names]
        write_points_3d(
            out_dir / file_name(f"predictions_3d{ending}.csv"),
            project.keypoint_names,
            [(rows_3d, reconstruct_project(project, predictions, confidence_map, error_bars))],
        )
