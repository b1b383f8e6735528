"""Checks of the label tables alone: missing, few, outside, copied or exchanged labels, and labels that are none."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mvgeom.calibration.findings import Finding, error, note, warning
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.project.label_tables import EXCLUDED, OCCLUDED, VISIBLE
from mvtrain.project.project import Project
from mvtrain.project.splits import Split
from mvtrain.project.view_tables import read_labeled_rows

_FEW_FRAMES = 20
"""Number of training frames below which they are few."""

_FEW_LABELS = 10
"""Number of visible training labels of a keypoint below which they are few."""

_MOSTLY_MISSING = 0.5
"""Share of a view's images above which a keypoint is mostly missing."""

_MANY_OUTSIDE = 0.1
"""Share of a view's labels above which those outside of the image are an error."""

_SAME_LABELS = 0.5
"""Share of the labels above which two views' tables are copies."""

_NUM_EXAMPLES = 3

_MANY_AT_ZERO = 0.1
"""Share of a view's labels above which those at (0, 0) are an error."""

_MIN_AT_ONE_PLACE = 5
"""Number of labels of a keypoint in a view from which one place is reported."""

_MANY_AT_ONE_PLACE = 0.25
"""Share of a keypoint's labels in a view from which one place is reported."""

_MIN_STACKED = 3
"""Number of keypoints of an image from which one place is reported, if they are at least half of its labels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TableRows:
    """Lines and columns of the label tables.

    Attributes:
        lines: (N, V) line of each row in the table of each view, counted from 1.
        marks_occluded: (V,) True for tables with a column `visible`, which tells occluded from missing labels.
        unlabeled_places: (N, V, K) True where a table has a place other than 0, 0 that `visible` 0 marks as not
            labeled.
    """

    lines: np.ndarray
    marks_occluded: np.ndarray
    unlabeled_places: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelCounts:
    """Numbers of labels.

    Attributes:
        images: (V,) numbers of images.
        visible: (V, K) numbers of visible labels, which have a position.
        occluded: (V, K) numbers of labels marked as occluded.
        missing: (V, K) numbers of images with neither.
        training: (V, K) numbers of visible labels in the training frames.
        outside: (N, V, K) True for visible labels outside of their image, which training leaves out.
    """

    images: np.ndarray
    visible: np.ndarray
    occluded: np.ndarray
    missing: np.ndarray
    training: np.ndarray
    outside: np.ndarray


def read_rows(config: Config) -> TableRows:
    """Read the label tables of a project again, because the project does not keep their lines.

    Raises:
        InputError: As for `read_labeled_rows`.
    """
    assert config.data.data_dir is not None
    tables = read_labeled_rows(config.data.data_dir, config.data).tables
    points = np.stack([table.points for table in tables], axis=1)
    flags = [np.full(points.shape[::2], VISIBLE) if table.visible is None else table.visible for table in tables]
    placed = np.isfinite(points).all(axis=-1) & (points != 0).any(axis=-1)
    return TableRows(
        lines=np.stack([table.lines for table in tables], axis=1),
        marks_occluded=np.array([table.visible is not None for table in tables]),
        unlabeled_places=placed & (np.stack(flags, axis=1) == EXCLUDED),
    )


def count_labels(project: Project, split: Split, rows: TableRows) -> LabelCounts:
    """Count the labels of a project."""
    visible = project.visibility == VISIBLE
    # Without a column `visible`, labels that are trained as occluded are missing in the table.
    occluded = (project.visibility == OCCLUDED).sum(axis=0) * rows.marks_occluded[:, None]
    images = (project.file_sizes > 0).all(axis=-1).sum(axis=0)
    limits = project.file_sizes[:, :, None, :] - 0.5
    inside = ((project.points >= -0.5) & (project.points <= limits)).all(axis=-1)
    return LabelCounts(
        images=images,
        visible=visible.sum(axis=0),
        occluded=occluded,
        missing=images[:, None] - visible.sum(axis=0) - occluded,
        training=visible[split.train].sum(axis=0),
        outside=visible & ~inside,
    )


def label_findings(project: Project, split: Split, counts: LabelCounts, rows: TableRows) -> list[Finding]:
    """Report keypoints without labels or with few, labels outside of their image, and copied or exchanged tables.

    Args:
        project: Project with the labels.
        split: Split of its frames.
        counts: Counts of its labels.
        rows: Lines and columns of its label tables.
    """
    return [
        *_unlabeled_findings(project, counts),
        *_few_findings(project, split, counts),
        *_missing_findings(project, counts),
        *_outside_findings(project, counts, rows.lines),
        *_copy_findings(project),
    ]


def _unlabeled_findings(project: Project, counts: LabelCounts) -> list[Finding]:
    findings = []
    never = counts.training.sum(axis=0) == 0
    if never.any():
        names = [project.keypoint_names[k] for k in np.flatnonzero(never)]
        elsewhere = int(counts.visible[:, never].sum())
        text = (
            f"{', '.join(names)}: no visible label in any training frame ({elsewhere} in other frames), so training "
            "cannot learn it. Label it, remove it from the tables, or change the split"
        )
        findings.append(error("never_labelled", (), text, keypoints=len(names)))
    empty = counts.training.sum(axis=1) == 0
    for view in np.flatnonzero(empty):
        name = project.view_names[view]
        text = f"view {name} has no visible label in any training frame. Label it, or remove it from data.view_names"
        findings.append(error("view_not_labelled", [name], text))
    # A keypoint or a view without any label is not reported again for each of its places.
    places = (counts.training == 0) & ~never & ~empty[:, None]
    if places.any():
        shown = _format_by_view(project, places)
        text = f"no visible label in any training frame, though other views have some: {shown}. Label some there"
        names = [project.view_names[view] for view in np.flatnonzero(places.any(axis=1))]
        findings.append(warning("never_labelled_in_view", names, text, places=int(places.sum())))
    return findings


def _few_findings(project: Project, split: Split, counts: LabelCounts) -> list[Finding]:
    findings = []
    if len(split.train) < _FEW_FRAMES:
        text = (
            f"found only {counted(len(split.train), 'training frame')}, so results depend on the choice of frames. "
            "Label more, or raise training.train_prob"
        )
        findings.append(warning("few_frames", (), text, frames=len(split.train)))
    total = counts.training.sum(axis=0)
    few = (total > 0) & (total < _FEW_LABELS)
    if few.any():
        shown = ", ".join(f"{project.keypoint_names[k]} ({total[k]})" for k in np.flatnonzero(few))
        text = f"fewer than {_FEW_LABELS} visible labels in the training frames over all views: {shown}"
        findings.append(warning("few_labels", (), text, keypoints=int(few.sum())))
    visible = project.visibility == VISIBLE
    for name, rows in (("validation", split.validation), ("test", split.test)):
        if len(rows) and not visible[rows].any():
            effect = "the best weights cannot be chosen" if name == "validation" else "there are no test errors"
            text = f"no visible label in the {counted(len(rows), f'{name} frame')}, so {effect}"
            findings.append(warning("set_not_labelled", (), text, frames=len(rows)))
    return findings


def _missing_findings(project: Project, counts: LabelCounts) -> list[Finding]:
    """Report keypoints of a view that most images lack; those never labeled in training have findings of their own."""
    share = counts.missing / np.maximum(counts.images, 1)[:, None]
    places = (share > _MOSTLY_MISSING) & (counts.training > 0)
    if not places.any():
        return []
    order = np.argsort(np.where(places, -share, np.inf), axis=None)[: int(places.sum())]
    worst = [np.unravel_index(place, places.shape) for place in order[:6]]
    shown = ", ".join(f"{project.keypoint_names[k]} in {project.view_names[v]} ({share[v, k]:.0%})" for v, k in worst)
    text = (
        f"no label in more than half of the images for {len(order)} of {places.size} keypoints of a view: {shown}"
        f"{', ...' if len(order) > len(worst) else ''}. Label them where they are visible, else mark them as occluded"
    )
    names = [project.view_names[view] for view in np.flatnonzero(places.any(axis=1))]
    return [warning("missing_labels", names, text, places=len(order), largest_share=float(share[places].max()))]


def _outside_findings(project: Project, counts: LabelCounts, lines: np.ndarray) -> list[Finding]:
    findings = []
    for view, name in enumerate(project.view_names):
        places = np.argwhere(counts.outside[:, view])
        if not len(places):
            continue
        share = len(places) / int(counts.visible[view].sum())
        examples = []
        for row, keypoint in places[:_NUM_EXAMPLES]:
            x, y = project.points[row, view, keypoint]
            width, height = project.file_sizes[row, view]
            examples.append(
                f"line {lines[row, view]} {project.keypoint_names[keypoint]} at {x:.1f}, {y:.1f} of {width}x{height}"
            )
        conclusion = "Training leaves them out"
        if share > _MANY_OUTSIDE:
            conclusion = "Probably they are in px of another image size, or in full-image px where images are crops"
        where = "; ".join(examples) + ("; ..." if len(places) > len(examples) else "")
        number = counted(len(places), "label")
        text = f"view {name}: {number} ({share:.1%}) outside of the image ({where}). {conclusion}"
        build = error if share > _MANY_OUTSIDE else warning
        findings.append(build("label_outside", [name], text, labels=len(places), share=share))
    return findings


def _copy_findings(project: Project) -> list[Finding]:
    """Report pairs of views with the same labels."""
    findings = []
    visible = project.visibility == VISIBLE
    for one, other in combinations(range(len(project.view_names)), 2):
        both = visible[:, one] & visible[:, other]
        same = int(np.isclose(project.points[:, one][both], project.points[:, other][both], atol=1e-6).all(-1).sum())
        if same > _SAME_LABELS * both.sum():
            pair = project.view_names[one], project.view_names[other]
            text = (
                f"the labels of {pair[0]} and {pair[1]} are equal in {same} of {int(both.sum())} places. Check "
                "if one table is a copy of the other"
            )
            findings.append(error("same_labels", pair, text, labels=same))
    return findings


def _format_by_view(project: Project, places: np.ndarray) -> str:
    return "; ".join(
        f"{project.view_names[view]}: {', '.join(project.keypoint_names[k] for k in np.flatnonzero(places[view]))}"
        for view in np.flatnonzero(places.any(axis=1))
    )


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
