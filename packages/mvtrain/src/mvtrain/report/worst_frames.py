"""Section of the report: the frames with the largest errors, labels and predictions drawn on their images."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from mvtrain.drawing.sheets import Color, Marks, cell_size, draw_cell, frame_title, palette
from mvtrain.evaluation.error_tables import statistics
from mvtrain.evaluation.evaluation import Evaluation, held_out_split
from mvtrain.evaluation.likelihood_fit import DEFAULT_SHARE
from mvtrain.project.project import Project, to_crop
from mvtrain.report.html import Section, grid, heading, join_parts, jpeg, legend, number, paragraph

_NUM_FRAMES = 6
_MIN_DISTANCE = 3
"""Rows of the label table between two frames of a session; frames up to this distance look alike."""
_MAX_IMAGES = 32
"""Largest number of images, for the size of the page."""
_SCALE = 1.5
"""Size of an image relative to the sheets of `mvtrain check`, because screens show more than one pixel per CSS px."""


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
