"""Findings from the label tables alone, and counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.projects import random_project
from mvgeom.calibration.findings import Finding
from mvtrain.check.label_checks import TableRows, count_labels, label_findings
from mvtrain.project.project import Project
from mvtrain.project.splits import Split

NUM_FRAMES, VIEWS, NAMES = 40, ("top", "side"), ("nose", "tail", "ear")


def make_project() -> Project:
    return random_project(NUM_FRAMES, VIEWS, NAMES)


def findings(project: Project, num_train: int = 30, *, marks_occluded: bool = True) -> list[Finding]:
    rows = np.arange(NUM_FRAMES)
    split = Split(train=rows[:num_train], validation=rows[num_train:35], test=rows[35:])
    lines = np.stack([rows + 4] * len(VIEWS), axis=1)
    table = TableRows(
        lines=lines,
        marks_occluded=np.full(lines.shape[1], marks_occluded),
        unlabeled_places=np.zeros((*lines.shape, len(NAMES)), bool),
    )
    return label_findings(project, split, count_labels(project, split, table), table)


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


def hide(project: Project, *place: slice | int, visibility: int = 0) -> Project:
    visible = project.visibility.copy()
    visible[place] = visibility
    points = np.where((visible == 2)[..., None], project.points, np.nan)
    return replace(project, visibility=visible, points=points)


EVERY = slice(None)


def test_a_complete_project_has_none() -> None:
    assert findings(make_project()) == []


def test_never_labelled() -> None:
    finding = only(findings(hide(make_project(), slice(0, 30), EVERY, 1)))
    assert (finding.code, finding.severity, finding.cameras) == ("never_labelled", "error", ())
    assert finding.text.startswith("tail: ")
    assert "(20 in other frames)" in finding.text
    # A label that is occluded everywhere has no position to learn, either.
    finding = only(findings(hide(make_project(), EVERY, EVERY, 1, visibility=1)))
    assert (finding.code, finding.severity) == ("never_labelled", "error")
    assert "(0 in other frames)" in finding.text


def test_a_view_without_labels() -> None:
    finding = only(findings(hide(make_project(), EVERY, 1)))
    assert (finding.code, finding.severity, finding.cameras) == ("view_not_labelled", "error", ("side",))


def test_never_labelled_in_one_view() -> None:
    finding = only(findings(hide(make_project(), slice(0, 30), 1, 2)))
    assert (finding.code, finding.severity, finding.cameras) == ("never_labelled_in_view", "warning", ("side",))
    assert "side: ear." in finding.text


def test_mostly_missing_but_not_where_it_is_marked_occluded() -> None:
    finding = only(findings(hide(make_project(), slice(2, 30), 0, 0)))
    assert (finding.code, finding.severity, finding.cameras) == ("missing_labels", "warning", ("top",))
    assert "nose in top (70%)" in finding.text
    occluded = hide(make_project(), slice(2, 30), 0, 0, visibility=1)
    assert findings(occluded) == []
    # A table without `visible` cannot mark occluded labels.
    assert only(findings(occluded, marks_occluded=False)).code == "missing_labels"


def test_few() -> None:
    assert only(findings(make_project(), 19)).code == "few_frames"
    finding = only(findings(hide(make_project(), slice(4, 21), EVERY, 2), 21))
    assert (finding.code, finding.severity) == ("few_labels", "warning")
    assert finding.text.endswith("over all views: ear (8)")


@pytest.mark.parametrize(
    ("rows", "name"),
    [(slice(30, 35), "validation"), (slice(35, 40), "test")],
)
def test_splits_without_labels(rows: slice, name: str) -> None:
    finding = only(findings(hide(make_project(), rows)))
    assert (finding.code, finding.severity) == ("set_not_labelled", "warning")
    assert f"5 {name} frames" in finding.text


@pytest.mark.parametrize(
    ("place", "outside"),
    [
        ((-0.5, 63.5), False),
        ((79.5, -0.5), False),
        ((-0.6, 3), True),
        ((79.6, 3), True),
        ((3, 64), True),
        ((3, -1), True),
    ],
)
def test_pixels_end_half_a_pixel_beyond_their_centers(place: tuple[float, float], outside: bool) -> None:
    project = make_project()
    project.points[7, 1, 2] = place
    found = findings(project)
    assert len(found) == outside
    if outside:
        assert (found[0].code, found[0].severity, found[0].cameras) == ("label_outside", "warning", ("side",))
        assert (
            f"1 label (0.8%) outside of the image (line 11 ear at {place[0]:.1f}, {place[1]:.1f} of 80x64)"
            in found[0].text
        )


def test_many_outside_is_an_error() -> None:
    project = make_project()
    project.points[:15, 0] += 100
    finding = only(findings(project))
    assert (finding.code, finding.severity, finding.evidence["share"]) == ("label_outside", "error", 15 / 40)


def test_labels_that_are_not_visible_may_be_anywhere() -> None:
    project = make_project()
    project.points[:15, 0] += 100
    project.visibility[:15, 0] = 1
    assert findings(project) == []


def test_copied_labels() -> None:
    project = make_project()
    project.points[:, 1] = project.points[:, 0]
    finding = only(findings(project))
    assert (finding.code, finding.severity, finding.cameras) == ("same_labels", "error", VIEWS)
