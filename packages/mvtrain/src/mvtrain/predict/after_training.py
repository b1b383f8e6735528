"""Videos that `mvtrain fit` predicts after the training, and their check before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from mvgeom.tables import read_video_boxes
from mvtrain.config import Config
from mvtrain.drawing.keypoints import style_from_config
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.recordings import FoundSessions, find_sessions
from mvtrain.predict.run_predict import PredictOptions, make_jobs, predict_jobs, print_line, print_warning
from mvtrain.predict.session import Job


def check_videos(config: Config, view_names: Sequence[str], keypoint_names: tuple[str, ...], console: Console) -> None:
    """Open, before a training, the files that `predict_videos` will need after it; warn of those that are missing.

    Args:
        config: Config of the run.
        view_names: Names of the project's views.
        keypoint_names: Names of its keypoints.
        console: Console for warnings.

    Raises:
        InputError: A file is not a video or not a table of boxes, boxes lack a view, a calibration does not fit, or
            the skeleton or the colormap of drawn videos is unknown.
    """
    if not config.eval.predict_vids_after_training:
        return
    folder = _folder(config)
    if folder is not None and not folder.is_dir():
        print_warning(console, f"no videos to predict after training: there is no folder {folder}")
    found = _find(config, view_names)
    for session in found.incomplete:
        print_warning(console, f"{session.problem}. The session will not be predicted after training")
    for job in _jobs(found, config, view_names, keypoint_names, Path(), Console(quiet=True)):
        for path in job.boxes:
            if path is not None:
                read_video_boxes(path)


def predict_videos(predictor: Predictor, config: Config, out_dir: Path, console: Console) -> None:
    """Predict every complete session of `eval.test_videos_directory`, and warn of the incomplete ones.

    Args:
        predictor: Predictor with the network.
        config: Config of the run.
        out_dir: Output folder.
        console: Console for progress and results.

    Raises:
        InputError: As for `predict`.
    """
    folder = _folder(config)
    if folder is None or not folder.is_dir():
        print_line(console, f"no videos to predict: there is no folder {folder}")
        return
    found = _find(config, predictor.spec.view_names)
    for session in found.incomplete:
        print_warning(console, f"{session.problem}. The session is not predicted")
    spec = predictor.spec
    predict_jobs([predictor], _jobs(found, config, spec.view_names, spec.keypoint_names, out_dir, console), console)


def _folder(config: Config) -> Path | None:
    return config.eval.test_videos_directory or config.data.video_dir


def _find(config: Config, view_names: Sequence[str]) -> FoundSessions:
    """Find the sessions of the folder; none without it."""
    folder = _folder(config)
    if folder is None or not folder.is_dir():
        return FoundSessions(complete=(), incomplete=())
    return find_sessions([folder], view_names)


def _jobs(
    found: FoundSessions,
    config: Config,
    view_names: Sequence[str],
    keypoint_names: tuple[str, ...],
    out_dir: Path,
    console: Console,
) -> list[Job]:
    """Collect the complete sessions, with the style of their drawn videos if these are wanted."""
    jobs = make_jobs(found.complete, config, view_names, keypoint_names, out_dir, PredictOptions(), console)
    if not config.eval.save_vids_after_training:
        return jobs
    style = style_from_config(config, keypoint_names, min_confidence=config.eval.confidence_thresh_for_vid)
    return [replace(job, labeled=style) for job in jobs]
