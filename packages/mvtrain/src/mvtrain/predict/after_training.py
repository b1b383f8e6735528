"""Videos that `mvtrain fit` predicts after the training, and their check before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from mvgeom.errors import InputError
from mvgeom.tables import read_video_boxes
from mvtrain.config import Config
from mvtrain.drawing.keypoints import style_from_config
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.recordings import FoundSessions, find_sessions
from mvtrain.predict.run_predict import PredictOptions, make_jobs, predict_jobs, print_line, print_warning
from mvtrain.predict.session import Job

_LACKING = "session {!r} has no calibration, which model.epipolar_attention needs"


def check_videos(config: Config, view_names: Sequence[str], keypoint_names: tuple[str, ...], console: Console) -> None:
    """Open, before a training, the files that `predict_videos` will need after it; warn of videos that are missing.

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
    found, problem = _find(config, view_names)
    if problem is not None:
        print_warning(console, f"no videos to predict after training: {problem}")
    if note := found.ignored_note():
        print_warning(console, note)
    for session in found.incomplete:
        print_warning(console, f"{session.problem}. The session will not be predicted after training")
    jobs = _jobs(found, config, view_names, keypoint_names, Path(), Console(quiet=True))
    for job in jobs:
        if _lacks_calibration(job, config):
            print_warning(console, f"{_LACKING.format(job.session.name)}. It will not be predicted after training")
        for path in job.boxes:
            if path is not None:
                read_video_boxes(path)


def predict_videos(predictor: Predictor, config: Config, out_dir: Path, console: Console) -> None:
    """Predict every complete session of `eval.test_videos_directory`, and warn of the others.

    Args:
        predictor: Predictor with the network.
        config: Config of the run.
        out_dir: Output folder.
        console: Console for progress and results.

    Raises:
        InputError: As for `predict`.
    """
    found, problem = _find(config, predictor.spec.view_names)
    if problem is not None:
        print_line(console, f"no videos to predict: {problem}")
        return
    for session in found.incomplete:
        print_warning(console, f"{session.problem}. The session is not predicted")
    spec, jobs = predictor.spec, []
    for job in _jobs(found, config, spec.view_names, spec.keypoint_names, out_dir, console):
        if _lacks_calibration(job, config):
            print_warning(console, f"{_LACKING.format(job.session.name)}. It is not predicted")
        else:
            jobs.append(job)
    for error in predict_jobs([predictor], jobs, console).values():
        print_warning(console, f"{error}. The session is not predicted")


def _lacks_calibration(job: Job, config: Config) -> bool:
    """Return True if the network needs a calibration to predict a session, and there is none."""
    return config.model.epipolar_attention and job.calibration is None


def _find(config: Config, view_names: Sequence[str]) -> tuple[FoundSessions, str | None]:
    """Find the sessions of the folder; none where the config names no folder, and none with a reason otherwise."""
    folder = config.eval.test_videos_directory
    nothing = FoundSessions(complete=(), incomplete=())
    if folder is None:
        return nothing, None
    key = "eval.test_videos_directory"
    if not folder.is_dir():
        return nothing, f"{key}: there is no folder {folder}"
    try:
        return find_sessions([folder], view_names), None
    except InputError as error:
        if "found" not in error.facts:  # a link that leads nowhere, or two videos of a view
            raise error.prefixed(f"{key}: ", key=key) from error
        return nothing, f"{key}: {error}"


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
