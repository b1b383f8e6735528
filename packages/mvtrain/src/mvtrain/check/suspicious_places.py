"""Checks for labels that are none: at (0, 0), many at one place, hidden by the column `visible`."""

from __future__ import annotations

import numpy as np

from mvgeom.calibration.findings import Finding, error, note, warning
from mvgeom.wording import counted
from mvtrain.check.label_checks import TableRows
from mvtrain.project.label_tables import OCCLUDED, VISIBLE
from mvtrain.project.project import Project

_MANY_AT_ZERO = 0.1
"""Share of a view's labels above which those at (0, 0) are an error."""

_MIN_AT_ONE_PLACE = 5
"""Number of labels of a keypoint in a view from which one place is reported."""

_MANY_AT_ONE_PLACE = 0.25
"""Share of a keypoint's labels in a view from which one place is reported."""

_MIN_STACKED = 3
"""Number of keypoints of an image from which one place is reported, if they are at least half of its labels."""

_NUM_EXAMPLES = 3


def place_findings(project: Project, rows: TableRows) -> list[Finding]:
    """Report labels at (0, 0), many labels at one place, and labels with a place that are not visible.

    Args:
        project: Project with the labels.
        rows: Lines and columns of its label tables.
    """
    visible = project.visibility == VISIBLE
    at_zero = visible & (project.points == 0).all(axis=-1)
    return [
        *_zero_findings(project, rows, visible, at_zero),
        *_stacked_findings(project, rows, visible & ~at_zero),
        *_resting_findings(project, visible & ~at_zero),
        *_hidden_findings(project, rows, visible),
    ]


def count_placed_occluded(project: Project) -> int:
    """Count the labels that are marked as occluded and have a place."""
    return int(((project.visibility == OCCLUDED) & np.isfinite(project.points).all(axis=-1)).sum())


def _zero_findings(project: Project, rows: TableRows, visible: np.ndarray, at_zero: np.ndarray) -> list[Finding]:
    findings = []
    for view, name in enumerate(project.view_names):
        places = np.argwhere(at_zero[:, view])
        if not len(places):
            continue
        share = len(places) / int(visible[:, view].sum())
        shown = ", ".join(
            f"line {rows.lines[row, view]} {project.keypoint_names[keypoint]}"
            for row, keypoint in places[:_NUM_EXAMPLES]
        )
        text = (
            f"view {name}: {counted(len(places), 'label')} ({share:.1%}) at exactly 0, 0 ({shown}"
            f"{', ...' if len(places) > _NUM_EXAMPLES else ''}). Some programs write 0 for what is not labeled: leave "
            "such cells empty"
        )
        build = error if share > _MANY_AT_ZERO else warning
        findings.append(build("labels_at_zero", [name], text, labels=len(places), share=share))
    return findings


def _stacked_findings(project: Project, rows: TableRows, visible: np.ndarray) -> list[Finding]:
    """Report images in which several keypoints are at one place."""
    findings = []
    for view, name in enumerate(project.view_names):
        stacked = []
        for row in np.flatnonzero(visible[:, view].sum(axis=1) >= _MIN_STACKED):
            points = project.points[row, view, visible[row, view]]
            count = int(np.unique(points, axis=0, return_counts=True)[1].max())
            if count >= max(_MIN_STACKED, len(points) / 2):
                stacked.append((int(row), count))
        if stacked:
            shown = ", ".join(f"line {rows.lines[row, view]} ({count})" for row, count in stacked[:_NUM_EXAMPLES])
            text = (
                f"view {name}: half of the keypoints or more are at one place in {counted(len(stacked), 'image')} "
                f"({shown}{', ...' if len(stacked) > _NUM_EXAMPLES else ''}). Label them, or leave their cells empty"
            )
            findings.append(warning("stacked_labels", [name], text, images=len(stacked)))
    return findings


def _resting_findings(project: Project, visible: np.ndarray) -> list[Finding]:
    """Report keypoints of a view that are at exactly one place in many images."""
    found: list[tuple[int, int, np.ndarray, int, int]] = []
    for view, keypoint in np.ndindex(*visible.shape[1:]):
        points = project.points[visible[:, view, keypoint], view, keypoint]
        if len(points) < _MIN_AT_ONE_PLACE:
            continue
        places, counts = np.unique(points, axis=0, return_counts=True)
        most = int(counts.argmax())
        if counts[most] >= max(_MIN_AT_ONE_PLACE, _MANY_AT_ONE_PLACE * len(points)):
            found.append((view, keypoint, places[most], int(counts[most]), len(points)))
    if not found:
        return []
    shown = "; ".join(
        f"{project.keypoint_names[keypoint]} in {project.view_names[view]} at {place[0]:g}, {place[1]:g} in {count} of "
        f"{total} images"
        for view, keypoint, place, count, total in found[:_NUM_EXAMPLES]
    )
    text = (
        f"{counted(len(found), 'keypoint')} of a view at exactly one place in many images: {shown}"
        f"{'; ...' if len(found) > _NUM_EXAMPLES else ''}. If the keypoint does not rest there, the labels were copied "
        "from one frame to others, or stand for what is not labeled"
    )
    names = [project.view_names[view] for view in dict.fromkeys(view for view, *_ in found)]
    return [warning("same_place", names, text, keypoints=len(found), labels=sum(count for *_, count, _ in found))]


def _hidden_findings(project: Project, rows: TableRows, visible: np.ndarray) -> list[Finding]:
    """Report labels that have a place and are not visible, over all tables of the project."""
    findings = []
    occluded = count_placed_occluded(project)
    if occluded and not visible.any():
        text = (
            f"no label of any table is visible (2); occluded (1) with a place: {occluded}. Probably 1 means "
            "visible in the program that wrote them: write 2 in the column `visible`"
        )
        findings.append(error("hidden_labels", (), text, labels=occluded))
    if rows.unlabeled_places.any():
        number = int(rows.unlabeled_places.sum())
        row, view, keypoint = np.argwhere(rows.unlabeled_places)[0]
        text = (
            f"{counted(number, 'place')} in the tables marked as not labeled (visible 0), such as line "
            f"{rows.lines[row, view]} {project.keypoint_names[keypoint]} of view {project.view_names[view]}, so "
            "training leaves them out"
        )
        names = [project.view_names[v] for v in np.flatnonzero(rows.unlabeled_places.any(axis=(0, 2)))]
        findings.append(note("unlabeled_places", names, text, labels=number))
    return findings
