"""Section of the report: reprojection errors over time, of the labeled frames and of predicted videos."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from markupsafe import Markup

from mvtrain.evaluation.error_tables import ALL, statistics
from mvtrain.evaluation.evaluation import Evaluation
from mvtrain.report.html import Section, join_parts, number, paragraph, table
from mvtrain.report.plots import color, figure, figure_html, go, plain
from mvtrain.report.predicted_videos import Recording, Recordings

_MAX_POINTS = 1500
"""Largest number of points of a curve; in longer videos each point is the median of several frames."""
_MAX_RECORDINGS = 8
_HEIGHT = 340


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
