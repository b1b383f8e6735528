"""Predictions of whole videos that lie in the run folder, with the cameras that took them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup, reprojection_error
from mvtrain.model.run_folder import Run
from mvtrain.predict.recordings import load_calibration
from mvtrain.predict.saved_predictions import PredictionFiles, find_predictions, load_predictions


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """A predicted video of all views, in 3D.

    Attributes:
        session: its name.
        view_names: V names.
        points_3d: (T, K, 3) world; NaN where no two views agree.
        reprojection_error: (T, V, K) px of the frame, distance between a prediction and the projection of the 3D point;
            NaN without either.
        cameras: that took it.
    """

    session: str
    view_names: tuple[str, ...]
    points_3d: np.ndarray
    reprojection_error: np.ndarray
    cameras: CameraGroup


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """What lies in `video_preds`.

    Attributes:
        complete: those that can be shown in 3D.
        omitted: for each other one a sentence that says why not.
    """

    complete: tuple[Recording, ...]
    omitted: tuple[str, ...]


def read_recordings(run: Run) -> Recordings:
    """The predicted videos in the run's `video_preds`; none where `mvtrain predict` wrote nothing there.

    Raises:
        ValueError: tables that are damaged, of other keypoints than the run's, or a calibration without its views.
    """
    folder = run.folder / "video_preds"
    if not any(folder.glob("*_prediction.json")):
        return Recordings(complete=(), omitted=())
    complete, omitted = [], []
    for files in find_predictions(folder):
        reason = _why_not(files)
        if reason is None:
            complete.append(_read(files, run))
        else:
            omitted.append(f"{files.session} is not shown: {reason}.")
    return Recordings(complete=tuple(complete), omitted=tuple(omitted))


def _why_not(files: PredictionFiles) -> str | None:
    if files.table_3d is None or files.calibration is None:
        return "it was predicted without calibration"
    if not files.calibration.is_file():
        return f"its calibration {files.calibration} is no longer there"
    return None


def _read(files: PredictionFiles, run: Run) -> Recording:
    predicted = load_predictions(files)
    if predicted.keypoint_names != run.spec.keypoint_names:
        raise ValueError(
            f"the predictions of {files.session} in {run.folder / 'video_preds'} have the keypoints "
            f"{', '.join(predicted.keypoint_names)}, but the run {', '.join(run.spec.keypoint_names)}: they are of "
            "another run; predict the videos again"
        )
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
