"""Predicted videos of a run, with the cameras of each recording, and the section on their reprojection errors."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from mvgeom import CameraGroup, reprojection_error
from mvgeom.errors import InputError
from mvgeom.files import list_files
from mvtrain.evaluation.error_tables import ALL, statistics
from mvtrain.evaluation.evaluation import Evaluation
from mvtrain.model.run_folder import Run
from mvtrain.predict.recordings import load_calibration
from mvtrain.predict.saved_predictions import (
    PredictedSession,
    PredictionFiles,
    find_predictions,
    load_predictions,
)
from mvtrain.report.html import Section, color, figure, figure_html, go, join_parts, number, paragraph, plain, table
from mvtrain.report.worst_frames import Doubts, find_doubts

_MAX_POINTS = 1500
"""Largest number of points of a curve; in longer videos each point is the median of several frames."""

_MAX_RECORDINGS = 8
_HEIGHT = 340


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


def reprojection_section(evaluation: Evaluation, errors: pd.DataFrame, recordings: Recordings) -> Section:
    """Show the distance of each view's predictions from the projected 3D points, over time.

    Args:
        evaluation: Evaluation of the labeled frames.
        errors: Table of the evaluation from `evaluate.error_tables.error_table`.
        recordings: Predicted videos.
    """
    parts = []
    if np.isfinite(evaluation.reprojection_error).any():
        parts += [figure_html(draw_labeled(evaluation), "reprojection-labeled", _HEIGHT), _table_by_view(errors)]
    else:
        parts.append(
            paragraph("No errors of labeled frames: the project has no calibration of two views or more.", "note")
        )
    parts += [
        figure_html(draw_recording(recording), f"reprojection-video-{position}", _HEIGHT)
        for position, recording in enumerate(recordings.complete[:_MAX_RECORDINGS])
    ]
    left_out = [recording.session for recording in recordings.complete[_MAX_RECORDINGS:]]
    if left_out:
        parts.append(paragraph(f"Further videos that are not shown: {', '.join(left_out)}.", "note"))
    if not recordings.complete and not recordings.omitted:
        parts.append(paragraph("No videos were predicted with this run yet (mvtrain predict RUN videos/).", "note"))
    parts += [paragraph(sentence, "note") for sentence in recordings.omitted]
    return Section(
        anchor="reprojection",
        title="Reprojection error over time",
        how_to_read=(
            "The distance in full-image px between a view's keypoints and the projection of the points triangulated "
            "from all views. Peaks are frames with wrong predictions; a view that is above the others all the time "
            "has a wrong calibration. Low values do not prove correct predictions: views can agree on a wrong point."
        ),
        body_html=join_parts(parts),
    )


def draw_labeled(evaluation: Evaluation) -> go.Figure:
    """Draw the median of every labeled frame over its frame number, a curve per session."""
    medians = np.array([statistics(errors)["median"] for errors in evaluation.reprojection_error])
    numbers = [_frame_number(next(filter(None, names))) for names in evaluation.image_names]
    numbered = all(number is not None for number in numbers)
    drawn = figure(
        "labeled frames: median over views and keypoints",
        xaxis_title_text="frame" if numbered else "row of the label table",
        yaxis_title_text="px",
        yaxis_rangemode="tozero",
        showlegend=True,
    )
    for position, session in enumerate(dict.fromkeys(evaluation.sessions)):
        members = np.array([n for n, name in enumerate(evaluation.sessions) if name == session])
        places = np.array([numbers[n] for n in members]) if numbered else evaluation.rows[members]
        members, places = members[np.argsort(places)], np.sort(places)
        drawn.add_scatter(
            x=places,
            y=medians[members],
            name=plain(session or "session"),
            mode="lines+markers",
            line={"width": 1, "color": color(position)},
            marker_size=5,
            text=[str(evaluation.split[n]) for n in members],
            hovertemplate="frame %{x}: %{y:.2f} px (%{text})",
        )
    return drawn


def _frame_number(image_name: str) -> int | None:
    """Return the last number in the name of a file, None if there is none."""
    found = re.findall(r"\d+", image_name.replace("\\", "/").rpartition("/")[2])
    return int(found[-1]) if found else None


def _table_by_view(errors: pd.DataFrame) -> Markup:
    """Render the reprojection errors by split and view."""
    chosen = errors[(errors["error"] == "reprojection") & (errors["keypoint"] == ALL)]
    rows = [
        [row["split"], row["view"], str(row["count"]), *(number(row[k]) for k in ("mean", "median", "percentile_95"))]
        for row in chosen.to_dict("records")
    ]
    return table(
        "reprojection-by-view", ("split", "view", "points", "mean", "median", "95 %"), rows, num_text_columns=2
    )


def draw_recording(recording: Recording) -> go.Figure:
    """Draw the median over the keypoints of each view, over the frames of a video."""
    num_frames, num_views, num_keypoints = recording.reprojection_error.shape
    step = -(-num_frames // _MAX_POINTS)
    num_points = -(-num_frames // step)
    padded = np.full((num_points * step, num_views, num_keypoints), np.nan)
    padded[:num_frames] = recording.reprojection_error
    together = f", {step} frames per point" if step > 1 else ""
    drawn = figure(
        f"video {plain(recording.session)}: median over keypoints by view{together}",
        xaxis_title_text="frame",
        yaxis_title_text="px",
        yaxis_rangemode="tozero",
        showlegend=True,
    )
    for view, name in enumerate(recording.view_names):
        # pandas, because NumPy's nanmedian warns where all values are missing.
        medians = pd.DataFrame(padded[:, view].reshape(num_points, -1)).median(axis=1).to_numpy()
        drawn.add_scatter(
            x=np.arange(num_points) * step,
            y=medians.astype(np.float32),
            name=plain(name),
            mode="lines",
            line={"width": 1.2, "color": color(view)},
            hovertemplate="frame %{x}: %{y:.2f} px",
        )
    return drawn
