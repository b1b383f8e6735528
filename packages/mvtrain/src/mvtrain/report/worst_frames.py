"""Worst frames: the section with the largest errors, and the list of predicted frames that need a hand most."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from mvgeom.files import write_text
from mvtrain.drawing.sheets import Color, Marks, cell_size, draw_cell, frame_title, palette
from mvtrain.evaluation.error_tables import statistics
from mvtrain.evaluation.evaluation import Evaluation, held_out_split
from mvtrain.evaluation.fits_to_labels import DEFAULT_SHARE
from mvtrain.predict.saved_predictions import PredictedSession
from mvtrain.project.project import Project, to_crop
from mvtrain.report.html import Section, grid, heading, join_parts, jpeg, legend, number, paragraph

_NUM_FRAMES = 6
_MIN_DISTANCE = 3
"""Rows of the label table between two frames of a session; frames up to this distance look alike."""
_MAX_IMAGES = 32
"""Largest number of images, for the size of the page."""
_SCALE = 1.5
"""Size of an image relative to the sheets of `mvtrain check`, because screens show more than one pixel per CSS px."""

WORST_FRAMES = "worst_frames.csv"

DISAGREEMENT = 5.0
"""Reprojection error in px beyond which a keypoint needs a hand, as on the labeling page."""

_COLUMNS = ("session", "frame", "work", "error", "likelihood", "why")

_NUM_LISTED = 50
"""Largest number of frames of a list."""

_APART = 0.2
"""Smallest time in s between two frames of a list; nearer ones look alike."""

_USUAL_RATE = 30.0
"""Frames per second where the videos cannot be read any more."""


def worst_frames_section(evaluation: Evaluation, project: Project) -> Section:
    """Show all views of the frames with the largest errors in the held-out split.

    Raises:
        InputError: An image cannot be read.
    """
    split = held_out_split(evaluation)
    worst = worst_rows(evaluation, max(1, min(_NUM_FRAMES, _MAX_IMAGES // len(evaluation.view_names))))
    colors = palette(len(evaluation.keypoint_names))
    if worst:
        names = legend(zip(evaluation.keypoint_names, colors, strict=True))
        body = join_parts([names, *(_frame(evaluation, project, n, colors) for n in worst)])
    else:
        body = paragraph(f"The {split} split has no visible label.", "note")
    return Section(
        anchor="worst-frames",
        title="Worst frames",
        how_to_read=(
            f"The frames of the {split} split with the largest mean error; of frames close in time only the worst. A "
            "dot is a label, the cross joined to it its prediction, a cross alone the prediction of a keypoint without "
            f"visible label; red circles mark errors above {100 * DEFAULT_SHARE:g} % of the subject's size. First look "
            "for wrong labels, then for conditions that these frames have in common."
        ),
        body_html=body,
    )


def worst_rows(evaluation: Evaluation, count: int) -> list[int]:
    """Find the frames of the held-out split with the largest mean error, as positions in the evaluation, worst first.

    Of frames close to each other in a session only the worst is taken, because they look alike.
    """
    means = np.array([statistics(errors)["mean"] for errors in evaluation.pixel_error])
    candidates = np.flatnonzero((evaluation.split == held_out_split(evaluation)) & np.isfinite(means))
    chosen: list[int] = []
    for frame in candidates[np.argsort(-means[candidates], kind="stable")].tolist():
        distances = np.abs(evaluation.rows[chosen] - evaluation.rows[frame])
        if not any(
            distance <= _MIN_DISTANCE and evaluation.sessions[other] == evaluation.sessions[frame]
            for distance, other in zip(distances, chosen, strict=True)
        ):
            chosen.append(frame)
    return chosen[:count]


def _frame(evaluation: Evaluation, project: Project, frame: int, colors: list[Color]) -> Markup:
    """Render the images of a frame with its labels and predictions."""
    row = int(evaluation.rows[frame])
    width, height = cell_size(project)
    size = round(_SCALE * width), round(_SCALE * height)
    images = []
    for view, name in enumerate(evaluation.view_names):
        if project.image_names[row][view] is None:
            continue
        image = draw_cell(project.read_image(row, view), marks_of(evaluation, project, frame, view), colors, size)
        mean = statistics(evaluation.pixel_error[frame, view])["mean"]
        caption = f"{name}: mean {number(mean)} px"
        images.append(jpeg(image, caption))
    title = f"{frame_title(project, row)}: mean {number(statistics(evaluation.pixel_error[frame])['mean'])} px"
    return join_parts([heading(title, "frame"), grid(images, "images")])


def marks_of(evaluation: Evaluation, project: Project, frame: int, view: int) -> Marks:
    """Return the labels and predictions of a frame in a view, in crop px."""
    row = evaluation.rows[[frame]]
    labels = to_crop(project, row, evaluation.labels[[frame]])[0, view]
    return Marks(
        points=labels,
        filled=np.ones(len(labels), dtype=bool),
        expected=to_crop(project, row, evaluation.points[[frame]])[0, view],
        highlighted=evaluation.pixel_error[frame, view] > DEFAULT_SHARE * evaluation.subject_size[view],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Doubts:
    """Doubts about the T predicted frames of a recording.

    Attributes:
        session: Name of the recording.
        work: (T,) keypoints that need a hand, over all views: 1 - likelihood of each, 1 where it disagrees with the
            other views; NaN where a view has no prediction.
        error: (T,) mean reprojection errors in full-image px; NaN without calibration.
        likelihood: (T,) mean likelihoods.
        worst: T names of the worst keypoint and its view.
        worst_error: (T,) reprojection errors of the worst keypoints; NaN without calibration.
        worst_likelihood: (T,) their likelihoods.
        apart: Smallest distance in frames between two that are listed.
    """

    session: str
    work: np.ndarray
    error: np.ndarray
    likelihood: np.ndarray
    worst: Sequence[str]
    worst_error: np.ndarray
    worst_likelihood: np.ndarray
    apart: int

    def why(self, frame: int) -> str:
        """Return a sentence about the worst keypoint of a frame."""
        if self.worst_error[frame] > DISAGREEMENT:
            return f"{self.worst[frame]} is {self.worst_error[frame]:.1f} px from the projection of the 3D point"
        return f"{self.worst[frame]} has a likelihood of {np.nan_to_num(self.worst_likelihood[frame]):.2f}"


def find_doubts(predicted: PredictedSession, error: np.ndarray | None, rate: float | None) -> Doubts:
    """Measure how much of each predicted frame needs a hand.

    Args:
        predicted: Predictions of T frames in V views.
        error: (T, V, K) reprojection errors in full-image px, NaN where missing; None without calibration.
        rate: Frames per second; None where it is not known.
    """
    likelihood = predicted.likelihood
    error = np.full(likelihood.shape, np.nan) if error is None else error
    disagrees = np.nan_to_num(error) > DISAGREEMENT
    doubt = np.where(disagrees, 1.0, 1 - np.clip(np.nan_to_num(likelihood), 0, 1))
    seen = np.isfinite(likelihood).any(axis=2).all(axis=1)
    # Of keypoints that disagree the farthest is the worst, and any of them is worse than one that does not.
    flat = (len(doubt), -1)
    worst = np.where(disagrees, 1 + np.nan_to_num(error), doubt).reshape(flat).argmax(axis=1)
    names = [f"{keypoint} in {view}" for view in predicted.view_names for keypoint in predicted.keypoint_names]
    frames = np.arange(len(doubt))
    return Doubts(
        session=predicted.name,
        work=np.where(seen, doubt.sum(axis=(1, 2)), np.nan),
        error=_means(error),
        likelihood=_means(likelihood),
        worst=[names[number] for number in worst],
        worst_error=error.reshape(flat)[frames, worst],
        worst_likelihood=likelihood.reshape(flat)[frames, worst],
        apart=max(1, round(_APART * (rate or _USUAL_RATE))),
    )


def write_worst_frames(path: Path, doubts: Sequence[Doubts], known: Collection[tuple[str, int | None]]) -> int:
    """Write the list of the frames that need a hand most, those with most work first.

    Args:
        path: CSV file to write.
        doubts: Doubts about the recordings.
        known: Session and number of frames to leave out, because the project has them.

    Returns:
        Number of frames.

    Raises:
        InputError: The file cannot be written.
    """
    candidates = [
        (float(each.work[frame]), index, frame)
        for index, each in enumerate(doubts)
        for frame in _spread(each, [frame for session, frame in known if session == each.session and frame is not None])
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    chosen = sorted(candidates, key=lambda each: (-each[0], *each[1:]))[:_NUM_LISTED]
    for work, index, frame in chosen:
        each = doubts[index]
        error = "" if np.isnan(each.error[frame]) else f"{each.error[frame]:.2f}"
        writer.writerow([each.session, frame, f"{work:.2f}", error, f"{each.likelihood[frame]:.3f}", each.why(frame)])
    write_text(path, text.getvalue())
    return len(chosen)


def _spread(doubts: Doubts, known: Sequence[int]) -> list[int]:
    """Return the frames with most work; of frames close to each other, or to known ones, only the first."""
    free = np.isfinite(doubts.work) & (doubts.work > 0)
    for frame in known:
        free[max(0, frame - doubts.apart + 1) : frame + doubts.apart] = False
    chosen: list[int] = []
    for frame in np.argsort(-np.nan_to_num(doubts.work), kind="stable").tolist():
        if free[frame]:
            chosen.append(frame)
            free[max(0, frame - doubts.apart + 1) : frame + doubts.apart] = False
            if len(chosen) == _NUM_LISTED:
                break
    return chosen


def _means(values: np.ndarray) -> np.ndarray:
    """Return (T,) means over views and keypoints of the values that are there; NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(axis=(1, 2))
    return np.where(count > 0, np.where(known, values, 0).sum(axis=(1, 2)) / np.maximum(count, 1), np.nan)
