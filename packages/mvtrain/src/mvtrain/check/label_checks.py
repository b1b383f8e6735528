"""How many labels there are, of which kind, and where the tables have them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mvgeom.calibration.findings import Finding, error, warning
from mvtrain.config import Config
from mvtrain.project.label_tables import OCCLUDED, VISIBLE, find_tables, read_tables
from mvtrain.project.names import names_view
from mvtrain.project.project import Project
from mvtrain.project.splits import Split


def counted(number: int, what: str) -> str:
    """`1 label`, `2 labels`."""
    return f"{number} {what}{'s' * (number != 1)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class TableRows:
    """Where the label tables say what.

    Attributes:
        lines: (N, V) line of each row in the table of each view, counted from 1.
        tell_occluded: whether the tables have a column `visible`, so that an occluded label is no missing one.
    """

    lines: np.ndarray
    tell_occluded: bool


def read_rows(config: Config) -> TableRows:
    """Read the label tables of a project once more; the project itself does not keep where it was read.

    Raises:
        ValueError: see `read_tables`.
    """
    assert config.data.data_dir is not None
    tables = read_tables(*find_tables(config.data.data_dir, config.data), config.data)
    return TableRows(
        lines=np.stack([table.lines for table in tables], axis=1),
        tell_occluded=all(table.visible is not None for table in tables),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelCounts:
    """How many labels there are.

    Attributes:
        images: (V,) images.
        visible: (V, K) labels with a position to learn.
        occluded: (V, K) labels marked occluded.
        missing: (V, K) images with neither.
        training: (V, K) visible labels of the training frames.
        outside: (N, V, K) visible labels that lie outside of their image; training leaves them out.
    """

    images: np.ndarray
    visible: np.ndarray
    occluded: np.ndarray
    missing: np.ndarray
    training: np.ndarray
    outside: np.ndarray


def count_labels(project: Project, split: Split, rows: TableRows) -> LabelCounts:
    """Count the labels of a project."""
    visible = project.visibility == VISIBLE
    # Without a column `visible`, what is trained as occluded is missing in the table.
    occluded = (project.visibility == OCCLUDED).sum(axis=0) * rows.tell_occluded
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


_FEW_FRAMES = 20
_FEW_LABELS = 10
_MOSTLY_MISSING = 0.5
_MANY_OUTSIDE = 0.1
_SAME_LABELS = 0.5
_NUM_EXAMPLES = 3


def label_findings(project: Project, split: Split, counts: LabelCounts, rows: TableRows) -> list[Finding]:
    """Keypoints that cannot be learned, that hardly can, and labels where no image is.

    Args:
        project: whose labels to judge.
        split: of its frames.
        counts: of its labels.
        rows: of its label tables.
    """
    return [
        *_unlearnable(project, counts),
        *_few(project, split, counts),
        *_missing(project, counts),
        *_outside(project, counts, rows.lines),
        *_copied(project),
        *_other_views(project),
    ]


def _unlearnable(project: Project, counts: LabelCounts) -> list[Finding]:
    findings = []
    never = counts.training.sum(axis=0) == 0
    if never.any():
        names = [project.keypoint_names[k] for k in np.flatnonzero(never)]
        elsewhere = int(counts.visible[:, never].sum())
        where = f"the {elsewhere} labels there are belong to other frames" if elsewhere else "nor anywhere else"
        text = (
            f"{', '.join(names)}: no visible label in any training frame ({where}), so nothing is learned of it. Label "
            "it, take it out of the tables, or change the split"
        )
        findings.append(error("never_labelled", (), text, keypoints=len(names)))
    empty = counts.training.sum(axis=1) == 0
    for view in np.flatnonzero(empty):
        name = project.view_names[view]
        text = f"view {name} has no visible label in any training frame: label it, or take it out of data.view_names"
        findings.append(error("view_not_labelled", [name], text))
    # What is said of a keypoint or of a view as a whole is not repeated for each of them.
    places = (counts.training == 0) & ~never & ~empty[:, None]
    if places.any():
        shown = _by_view(project, places)
        text = f"no visible label in training, though other views have some: {shown}. The network learns to guess there"
        names = [project.view_names[view] for view in np.flatnonzero(places.any(axis=1))]
        findings.append(warning("never_labelled_in_view", names, text, places=int(places.sum())))
    return findings


def _few(project: Project, split: Split, counts: LabelCounts) -> list[Finding]:
    findings = []
    if len(split.train) < _FEW_FRAMES:
        text = (
            f"{len(split.train)} training frames are few, and results will hang on which they are: label more, or "
            "raise training.train_prob"
        )
        findings.append(warning("few_frames", (), text, frames=len(split.train)))
    total = counts.training.sum(axis=0)
    few = (total > 0) & (total < _FEW_LABELS)
    if few.any():
        shown = ", ".join(f"{project.keypoint_names[k]} ({total[k]})" for k in np.flatnonzero(few))
        text = f"fewer than {_FEW_LABELS} visible labels in training over all views: {shown}"
        findings.append(warning("few_labels", (), text, keypoints=int(few.sum())))
    visible = project.visibility == VISIBLE
    for name, rows in (("validation", split.validation), ("test", split.test)):
        if len(rows) and not visible[rows].any():
            what = "the best weights are chosen by chance" if name == "validation" else "there is nothing to test on"
            text = f"none of the {len(rows)} {name} frames has a visible label: {what}"
            findings.append(warning("set_not_labelled", (), text, frames=len(rows)))
    return findings


def _missing(project: Project, counts: LabelCounts) -> list[Finding]:
    """Places where most images lack a label; those never labeled in training are told of elsewhere."""
    share = counts.missing / np.maximum(counts.images, 1)[:, None]
    places = (share > _MOSTLY_MISSING) & (counts.training > 0)
    if not places.any():
        return []
    order = np.argsort(np.where(places, -share, np.inf), axis=None)[: int(places.sum())]
    worst = [np.unravel_index(place, places.shape) for place in order[:6]]
    shown = ", ".join(f"{project.keypoint_names[k]} in {project.view_names[v]} ({share[v, k]:.0%})" for v, k in worst)
    text = (
        f"{len(order)} of {places.size} keypoints of a view lack a label in more than half of the images: {shown}"
        f"{', ...' if len(order) > len(worst) else ''}. Label them where they can be seen, else mark them as occluded"
    )
    names = [project.view_names[view] for view in np.flatnonzero(places.any(axis=1))]
    return [warning("missing_labels", names, text, places=len(order), largest_share=float(share[places].max()))]


def _outside(project: Project, counts: LabelCounts, lines: np.ndarray) -> list[Finding]:
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
        what = "left out of training"
        if share > _MANY_OUTSIDE:
            what = "so many are labels in px of another image size, or of the full frame where images are crops"
        where = "; ".join(examples) + ("; ..." if len(places) > len(examples) else "")
        text = f"view {name}: {counted(len(places), 'label')} ({share:.1%}) outside of the image ({where}): {what}"
        build = error if share > _MANY_OUTSIDE else warning
        findings.append(build("label_outside", [name], text, labels=len(places), share=share))
    return findings


def _copied(project: Project) -> list[Finding]:
    """Pairs of views whose label tables say the same."""
    findings = []
    visible = project.visibility == VISIBLE
    for one, other in combinations(range(len(project.view_names)), 2):
        both = visible[:, one] & visible[:, other]
        same = int(np.isclose(project.points[:, one][both], project.points[:, other][both], atol=1e-6).all(-1).sum())
        if same > _SAME_LABELS * both.sum():
            pair = project.view_names[one], project.view_names[other]
            text = f"{same} of {int(both.sum())} labels of {pair[0]} and {pair[1]} are equal: was one table copied?"
            findings.append(error("same_labels", pair, text, labels=same))
    return findings


def _other_views(project: Project) -> list[Finding]:
    """Tables that name images of another view: csv_file and view_names in different orders, or a table renamed."""
    findings = []
    for view, name in enumerate(project.view_names):
        images = [names[view] for names in project.image_names]
        for other in project.view_names:
            foreign = [
                image
                for image in images
                if image is not None and names_view(image, other) and not names_view(image, name)
            ]
            if other != name and foreign:
                text = (
                    f"the label table of view {name} names {len(foreign)} images of view {other}, such as "
                    f"{foreign[0]}: are data.csv_file and data.view_names in the same order?"
                )
                findings.append(error("other_view", [name, other], text, images=len(foreign)))
    return findings


def _by_view(project: Project, places: np.ndarray) -> str:
    return "; ".join(
        f"{project.view_names[view]}: {', '.join(project.keypoint_names[k] for k in np.flatnonzero(places[view]))}"
        for view in np.flatnonzero(places.any(axis=1))
    )
