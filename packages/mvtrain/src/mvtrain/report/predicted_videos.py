"""Predictions of whole videos in the run folder, with the cameras of each recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup, reprojection_error
from mvgeom.errors import InputError
from mvgeom.files import list_files
from mvtrain.model.run_folder import Run
from mvtrain.predict.recordings import load_calibration
from mvtrain.predict.saved_predictions import (
    PredictedSession,
    PredictionFiles,
    find_predictions,
    load_predictions,
)
from mvtrain.report.doubtful_frames import Doubts, find_doubts


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """A predicted video of all views, in 3D.

    Attributes:
        session: Name of the recording.
        view_names: V names of the views.
        points_3d: (T, K, 3) predicted world points; NaN where no two views agree.
        reprojection_error: (T, V, K) distance in full-image px between a prediction and the projection of the 3D point;
            NaN without either.
        cameras: Cameras of the recording, in the order of the views.
    """

    session: str
    view_names: tuple[str, ...]
    points_3d: np.ndarray
    reprojection_error: np.ndarray
    cameras: CameraGroup


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """Recordings in `video_preds`.

    Attributes:
        complete: Recordings that can be shown in 3D.
        omitted: A sentence with the reason for each other recording.
        doubts: Doubts about the frames of all recordings.
    """

    complete: tuple[Recording, ...]
    omitted: tuple[str, ...]
    doubts: tuple[Doubts, ...] = ()


def read_recordings(run: Run) -> Recordings:
    """Read the predicted videos in the run's `video_preds`; none where `mvtrain predict` wrote nothing there.

    Raises:
        InputError: A table is damaged, has other keypoints than the run (`keypoints-differ`), or a calibration lacks a
            view.
    """
    folder = run.folder / "video_preds"
    if not list_files(folder, "*_prediction.json"):
        return Recordings(complete=(), omitted=())
    complete, omitted, doubts = [], [], []
    for files in find_predictions(folder):
        reason = _reason_to_omit(files)
        predicted = _read(files, run)
        error = None
        if reason is None:
            complete.append(_in_3d(files, predicted))
            error = complete[-1].reprojection_error
        else:
            omitted.append(f"{files.session} is not shown: {reason}.")
        doubts.append(find_doubts(predicted, error, files.frame_rate()))
    return Recordings(complete=tuple(complete), omitted=tuple(omitted), doubts=tuple(doubts))


def _reason_to_omit(files: PredictionFiles) -> str | None:
    """Return why a recording cannot be shown in 3D, None if it can."""
    if files.table_3d is None or files.calibration is None:
        return "it was predicted without calibration"
    if not files.calibration.is_file():
        return f"its calibration {files.calibration} is no longer there"
    return None


def _read(files: PredictionFiles, run: Run) -> PredictedSession:
    """Read the tables of a recording, whose keypoints must be those of the run."""
    predicted = load_predictions(files)
    if predicted.keypoint_names != run.spec.keypoint_names:
        folder = run.folder / "video_preds"
        raise InputError(
            f"{folder}: the predictions of session {files.session!r} have other keypoints than the run, found "
            f"{', '.join(predicted.keypoint_names)}, expected {', '.join(run.spec.keypoint_names)}. They are of "
            "another run: predict the videos again",
            code="keypoints-differ",
            path=folder,
            session=files.session,
            found=predicted.keypoint_names,
            expected=run.spec.keypoint_names,
        )
    return predicted


def _in_3d(files: PredictionFiles, predicted: PredictedSession) -> Recording:
    """Return a recording with its cameras."""
    assert files.calibration is not None
    assert predicted.in_3d is not None
    cameras = load_calibration(files.calibration, predicted.view_names).cameras
    points_3d = predicted.in_3d.points
    return Recording(
        session=predicted.name,
        view_names=predicted.view_names,
        points_3d=points_3d,
        reprojection_error=reprojection_error(points_3d, predicted.points, cameras),
        cameras=cameras,
    )
