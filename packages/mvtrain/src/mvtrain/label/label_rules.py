"""Rules of labels: what a label may be in the project that is open."""

from __future__ import annotations

import numpy as np

from mvgeom.errors import InputError
from mvtrain.label.journal import Label
from mvtrain.project.label_tables import EXCLUDED, OCCLUDED, VISIBLE
from mvtrain.project.project import Project


def check_label(
    project: Project, frame: int, view: int, keypoint: int, label: Label, *, has_visible: np.ndarray
) -> Label:
    """Return a label as it is kept, if it is possible.

    Args:
        project: Project of the label.
        frame: Number of the frame.
        view: Number of the view.
        keypoint: Number of the keypoint.
        label: Label in px of the stored image.
        has_visible: (V,) True for views whose table has a column `visible`.

    Raises:
        InputError: There is no such frame, view or keypoint, or the label is outside of its image (`out-of-range`); the
            view has no image of the frame (`missing-frame`); the label contradicts itself (`bad-value`), or is occluded
            where the view's table has no column `visible` (`missing-column`).
    """
    for what, number, length in (
        ("frame", frame, len(project)),
        ("view", view, len(project.view_names)),
        ("keypoint", keypoint, len(project.keypoint_names)),
    ):
        if not 0 <= number < length:
            raise InputError(
                f"{what}: no such number, found {number}, expected 0 to {length - 1}",
                code="out-of-range",
                argument=what,
                found=number,
            )
    view_name, image = project.view_names[view], project.image_names[frame][view]
    where = f"{frame_name(project, frame)}, {view_name}, {project.keypoint_names[keypoint]}"
    if image is None:
        raise InputError(f"{where}: the view has no image of this frame", code="missing-frame", view=view_name)
    located = label.x is not None and label.y is not None
    possible = {EXCLUDED: not located, OCCLUDED: True, VISIBLE: located}.get(label.visible, False)
    if not possible or (label.x is None) != (label.y is None):
        raise InputError(
            f"{where}: the label contradicts itself, found {tuple(label[:3])}, expected x, y and 2, or no x, y and 0",
            code="bad-value",
            found=label[:3],
        )
    if label.visible == OCCLUDED and not has_visible[view]:
        raise InputError(
            f"{where}: occluded needs a column `visible`, which the view's table does not have. Add it",
            code="missing-column",
            column="visible",
        )
    if label.x is None or label.y is None:
        return label
    x, y = float(label.x), float(label.y)
    width, height = project.file_sizes[frame, view].tolist()
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise InputError(
            f"{where}: the label is outside of its image of {width}x{height} px, found {x:g}, {y:g}",
            code="out-of-range",
            argument="label",
            found=(x, y),
            expected=(width, height),
        )
    return label._replace(x=x, y=y)


def frame_name(project: Project, frame: int) -> str:
    """Return the name of a frame: the path of its first image."""
    return next(filter(None, project.image_names[frame]))
