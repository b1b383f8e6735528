"""The section of reprojection errors over time: of labelled moments, and of videos frame by frame."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from markupsafe import Markup

from mvtrain.evaluate.error_tables import ALL, statistics
from mvtrain.evaluate.evaluation import Evaluation
from mvtrain.report.html import Section, join_parts, number, paragraph, table
from mvtrain.report.plots import color, figure, figure_html, go, plain
from mvtrain.report.predicted_videos import Recording, Recordings

_MAX_PLACES = 1500
"""Points of a curve; of longer videos each stands for several frames."""
_MAX_RECORDINGS = 8
_HEIGHT = 340


def reprojection_section(evaluation: Evaluation, errors: pd.DataFrame, recordings: Recordings) -> Section:
    """How far the views are from what all of them together say, over time.

    Args:
        evaluation: of the labelled moments.
        errors: its table, from `evaluation.tables.error_table`.
        recordings: the predicted videos.
    """
    parts = []
    if np.isfinite(evaluation.reprojection_error).any():
        parts += [figure_html(draw_labeled(evaluation), "reprojection-labelled", _HEIGHT), _by_view(errors)]
    else:
        parts.append(
            paragraph("Nothing for labelled moments: the project has no calibration of two views or more.", "note")
        )
    parts += [
        figure_html(draw_recording(recording), f"reprojection-video-{position}", _HEIGHT)
        for position, recording in enumerate(recordings.complete[:_MAX_RECORDINGS])
    ]
    left_out = [recording.session for recording in recordings.complete[_MAX_RECORDINGS:]]
    if left_out:
        parts.append(paragraph(f"For want of room not shown: {', '.join(left_out)}.", "note"))
    if not recordings.complete and not recordings.omitted:
        parts.append(paragraph("No video of this run was predicted yet (mvtrain predict RUN videos/).", "note"))
    parts += [paragraph(sentence, "note") for sentence in recordings.omitted]
    return Section(
        anchor="reprojection",
        title="Reprojection error over time",
        how_to_read=(
            "The distance in px of the frame between a view's keypoints and the projection of what all views "
            "triangulate to. Peaks are moments not to be trusted; a view that is above the others all the time has a "
            "wrong calibration. Low values alone prove nothing: views can agree on something wrong."
        ),
        body_html=join_parts(parts),
    )


def draw_labeled(evaluation: Evaluation) -> go.Figure:
    """Median of every moment over its frame number, a curve per session."""
    medians = np.array([statistics(errors)["median"] for errors in evaluation.reprojection_error])
    numbers = [_frame_number(next(filter(None, names))) for names in evaluation.image_names]
    numbered = all(number is not None for number in numbers)
    drawn = figure(
        "labelled moments: median over views and keypoints",
        xaxis_title_text="frame" if numbered else "place in the label table",
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
    """The last number in a file's name; None where there is none."""
    found = re.findall(r"\d+", image_name.replace("\\", "/").rpartition("/")[2])
    return int(found[-1]) if found else None


def _by_view(errors: pd.DataFrame) -> Markup:
    chosen = errors[(errors["error"] == "reprojection") & (errors["keypoint"] == ALL)]
    rows = [
        [row["split"], row["view"], str(row["count"]), *(number(row[k]) for k in ("mean", "median", "percentile_95"))]
        for row in chosen.to_dict("records")
    ]
    return table("reprojection-by-view", ("set", "view", "points", "mean", "median", "95 %"), rows, num_text_columns=2)


def draw_recording(recording: Recording) -> go.Figure:
    """Median over the keypoints of each view, over the frames."""
    num_frames, num_views, num_keypoints = recording.reprojection_error.shape
    step = -(-num_frames // _MAX_PLACES)
    num_places = -(-num_frames // step)
    padded = np.full((num_places * step, num_views, num_keypoints), np.nan)
    padded[:num_frames] = recording.reprojection_error
    together = f", {step} frames to a point" if step > 1 else ""
    drawn = figure(
        f"video {plain(recording.session)}: median over keypoints by view{together}",
        xaxis_title_text="frame",
        yaxis_title_text="px",
        yaxis_rangemode="tozero",
        showlegend=True,
    )
    for view, name in enumerate(recording.view_names):
        # pandas, since numpy's nanmedian warns where nothing is known.
        medians = pd.DataFrame(padded[:, view].reshape(num_places, -1)).median(axis=1).to_numpy()
        drawn.add_scatter(
            x=np.arange(num_places) * step,
            y=medians.astype(np.float32),
            name=plain(name),
            mode="lines",
            line={"width": 1.2, "color": color(view)},
            hovertemplate="frame %{x}: %{y:.2f} px",
        )
    return drawn
