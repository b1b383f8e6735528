"""Boxes around the labeled subject in whole images: from labels, from 3D, or from the nearest labeled frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from mvgeom import boxes as box_functions
from mvtrain.project.labels_3d import complete_labels, triangulate_labels
from mvtrain.project.names import frame_number
from mvtrain.project.project import Project
from mvtrain.project.view_tables import frame_of_row

SOURCES = ("labels", "3D", "nearest frame", "whole image")
"""Origins of a box: labels of the view; labels of other views, projected; the box of the view in the frame of the same
session that is nearest in time; none."""

_ENOUGH = 0.5
"""Share of the keypoints that must have a place for a box to count as typical; others are at least typical boxes."""

_SMALLEST = 1 / 1.6
"""Smallest side of a box, relative to a typical one of its view, as in `mvtrain predict --track`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SubjectBoxes:
    """Boxes of N frames in V views.

    Attributes:
        boxes: (N, V, 4) whole-numbered x, y, width, height in full-image px, inside the images; NaN where there is no
            image.
        sources: (N, V) positions in `SOURCES`; -1 where there is no image.
    """

    boxes: np.ndarray
    sources: np.ndarray


def find_subject_boxes(project: Project, *, margin: float) -> SubjectBoxes:
    """Find the box of the subject in every image of a project with whole images.

    A box holds all labels of its view and the projections of what the other views' labels triangulate to, as training
    uses them (`complete_labels`), with a margin; it is a square where the image is large enough, moved into the image.

    Args:
        project: Project whose stored images are full images.
        margin: Margin on every side, as a fraction of the larger extent of the keypoints.
    """
    own = np.isfinite(project.points).all(-1)
    # Occluded labels that have a place show where the subject is, too.
    placed = replace(project, visibility=np.where(own, 2, 0).astype(np.int8))
    completed = complete_labels(placed, triangulate_labels(placed))
    points = np.concatenate([project.points, completed.points], axis=2)
    num_placed = np.isfinite(completed.points).all(-1).sum(-1)
    tight = np.asarray(box_functions.from_keypoints(points, margin=margin, aspect=1.0))
    present = np.asarray((project.file_sizes > 0).all(-1))
    sources = np.where(own.any(-1), 0, np.where(num_placed > 0, 1, 2))
    enough = np.asarray(num_placed >= _ENOUGH * own.shape[-1])
    typical = _typical_sides(project, np.where(enough, tight[..., 2], np.nan))
    side = np.fmax(tight[..., 2], np.where(enough, _SMALLEST, 1.0) * typical)[..., None]
    grown = np.concatenate([tight[..., :2] + (tight[..., 2:] - side) / 2, side, side], axis=-1)
    has_box = present & (sources < 2)
    for row, view in zip(*np.nonzero(present & (sources == 2)), strict=True):
        nearest = _nearest_row(project, has_box[:, view], int(row))
        if nearest is None:
            sources[row, view] = 3
            grown[row, view] = [0.0, 0.0, *project.file_sizes[row, view]]
        else:
            grown[row, view] = grown[nearest, view]
    inside = _move_inside(grown, project.file_sizes.astype(np.float64))
    return SubjectBoxes(boxes=np.where(present[..., None], inside, np.nan), sources=np.where(present, sources, -1))


def _typical_sides(project: Project, sides: np.ndarray) -> np.ndarray:
    """Return (N, V) medians of the sides (N, V) of each session and view; NaN where there is none."""
    typical = np.full(sides.shape, np.nan)
    names = np.asarray(project.sessions, dtype=object)
    for session in dict.fromkeys(project.sessions):
        rows = np.flatnonzero(names == session)
        for view in range(sides.shape[1]):
            known = sides[rows, view][np.isfinite(sides[rows, view])]
            if len(known):
                typical[rows, view] = np.median(known)
    return typical


def _nearest_row(project: Project, has_box: np.ndarray, row: int) -> int | None:
    """Return the row with a box, of the same session, that is nearest in time; the earlier one of two."""
    rows = [int(other) for other in np.flatnonzero(has_box) if project.sessions[other] == project.sessions[row]]
    time = _frame_number(project, row)
    return min(rows, key=lambda other: (abs(_frame_number(project, other) - time), other), default=None)


def _frame_number(project: Project, row: int) -> int:
    """Return the number in a frame's file name; the row where there is none."""
    _, name = frame_of_row(project.image_names[row], project.view_names)
    number = frame_number(PurePosixPath(name).stem)
    return row if number is None else number


def _move_inside(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Round boxes outwards to whole pixels, and move them into the images; larger ones are cut at the border.

    Args:
        boxes: (N, V, 4) x, y, width, height in full-image px.
        sizes: (N, V, 2) width and height of the images in px.
    """
    start = np.floor(boxes[..., :2])
    extent = np.minimum(np.ceil(boxes[..., :2] + boxes[..., 2:]) - start, sizes)
    start = np.clip(start, 0, sizes - extent)
    return np.concatenate([start, extent], axis=-1)
