"""The section of the worst frames: pictures with labels and predictions drawn on them."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from mvtrain.drawing.sheets import Color, Marks, cell_size, draw_cell, frame_title, palette
from mvtrain.evaluate.error_tables import statistics
from mvtrain.evaluate.evaluation import Evaluation, held_out_set
from mvtrain.evaluate.likelihood_fit import DEFAULT_SHARE
from mvtrain.project.images import read_image
from mvtrain.project.project import Project, to_crop
from mvtrain.report.html import Section, grid, heading, join_parts, jpeg, legend, number, paragraph

_NUM_MOMENTS = 6
_NEAR = 3
"""Rows of the label table."""
_MAX_PICTURES = 32
"""What the page has room for."""
_SHARPNESS = 1.5
"""Pixels of a picture beside those of the sheets of `mvtrain check`: dense screens show more than one per CSS px."""


def worst_frames_section(evaluation: Evaluation, project: Project) -> Section:
    """The moments of the held-out set with the largest errors, all their views.

    Raises:
        ValueError: an image cannot be read.
    """
    split = held_out_set(evaluation)
    worst = worst_rows(evaluation, max(1, min(_NUM_MOMENTS, _MAX_PICTURES // len(evaluation.view_names))))
    colors = palette(len(evaluation.keypoint_names))
    if worst:
        names = legend(zip(evaluation.keypoint_names, colors, strict=True))
        body = join_parts([names, *(_frame(evaluation, project, n, colors) for n in worst)])
    else:
        body = paragraph(f"The {split} set has no visible label.", "note")
    return Section(
        anchor="worst-frames",
        title="Worst frames",
        how_to_read=(
            f"The moments of the {split} set with the largest mean error, of those close in time the worst. A dot is a "
            "label, the cross joined to it its prediction, a cross alone the prediction of a keypoint without visible "
            f"label; red circles mark errors above {100 * DEFAULT_SHARE:g} % of the subject's size. Look for wrong "
            "labels first, then for what these frames have in common."
        ),
        body_html=body,
    )


def worst_rows(evaluation: Evaluation, count: int) -> list[int]:
    """Positions in the evaluation of the moments of the held-out set with the largest mean error, the worst first.

    Of moments that are near each other in a session only the worst is taken: they look alike.
    """
    means = np.array([statistics(errors)["mean"] for errors in evaluation.pixel_error])
    candidates = np.flatnonzero((evaluation.split == held_out_set(evaluation)) & np.isfinite(means))
    chosen: list[int] = []
    for moment in candidates[np.argsort(-means[candidates], kind="stable")].tolist():
        distances = np.abs(evaluation.rows[chosen] - evaluation.rows[moment])
        if not any(
            distance <= _NEAR and evaluation.sessions[other] == evaluation.sessions[moment]
            for distance, other in zip(distances, chosen, strict=True)
        ):
            chosen.append(moment)
    return chosen[:count]


def _frame(evaluation: Evaluation, project: Project, moment: int, colors: list[Color]) -> Markup:
    row = int(evaluation.rows[moment])
    width, height = cell_size(project)
    size = round(_SHARPNESS * width), round(_SHARPNESS * height)
    pictures = []
    for view, name in enumerate(evaluation.view_names):
        path = project.image_paths[row][view]
        if path is None:
            continue
        picture = draw_cell(read_image(path), marks_of(evaluation, project, moment, view), colors, size)
        mean = statistics(evaluation.pixel_error[moment, view])["mean"]
        caption = f"{name}: mean {number(mean)} px"
        pictures.append(jpeg(picture, caption))
    title = f"{frame_title(project, row)}: mean {number(statistics(evaluation.pixel_error[moment])['mean'])} px"
    return join_parts([heading(title, "frame"), grid(pictures, "images")])


def marks_of(evaluation: Evaluation, project: Project, moment: int, view: int) -> Marks:
    """Labels and predictions of a moment in a view, in px of the stored image."""
    row = evaluation.rows[[moment]]
    labels = to_crop(project, row, evaluation.labels[[moment]])[0, view]
    return Marks(
        points=labels,
        filled=np.ones(len(labels), dtype=bool),
        expected=to_crop(project, row, evaluation.points[[moment]])[0, view],
        alarming=evaluation.pixel_error[moment, view] > DEFAULT_SHARE * evaluation.subject_size[view],
    )
