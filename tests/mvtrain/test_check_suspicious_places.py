"""Labels that are none: at (0, 0), at one place, hidden by the column `visible`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.projects import random_project
from mvgeom.calibration.findings import Finding
from mvtrain.check.label_checks import TableRows, count_placed_occluded, place_findings, read_rows
from mvtrain.config import Config, DataConfig
from mvtrain.project.project import Project

NUM_FRAMES, VIEWS, NAMES = 40, ("top", "side"), ("nose", "tail", "ear", "paw")
LINES = np.stack([np.arange(NUM_FRAMES) + 4] * len(VIEWS), axis=1)
ROWS = TableRows(
    lines=LINES,
    marks_occluded=np.ones(len(VIEWS), bool),
    unlabeled_places=np.zeros((*LINES.shape, len(NAMES)), bool),
)


@pytest.fixture
def project() -> Project:
    return random_project(NUM_FRAMES, VIEWS, NAMES)


def only(project: Project, rows: TableRows = ROWS) -> Finding:
    (finding,) = place_findings(project, rows)
    return finding


def test_a_complete_project_has_none(project: Project) -> None:
    assert place_findings(project, ROWS) == []


@pytest.mark.parametrize(("number", "severity"), [(1, "warning"), (16, "warning"), (17, "error")])
def test_labels_at_zero(project: Project, number: int, severity: str) -> None:
    for place in range(number):
        project.points[2 * place, 1, place % 2] = 0
    finding = only(project)
    assert (finding.code, finding.severity, finding.cameras) == ("labels_at_zero", severity, ("side",))
    assert finding.evidence == {"labels": number, "share": number / (NUM_FRAMES * len(NAMES))}
    assert "line 4 nose" in finding.text


def test_labels_at_zero_that_are_not_visible_are_none(project: Project) -> None:
    project.points[:20, 0] = 0
    project.visibility[:20, 0] = 0
    assert place_findings(project, ROWS) == []


def test_keypoints_of_an_image_at_one_place(project: Project) -> None:
    project.points[7, 0, 1:] = [12, 13]
    finding = only(project)
    assert (finding.code, finding.severity, finding.cameras) == ("stacked_labels", "warning", ("top",))
    assert finding.evidence == {"images": 1}
    assert "line 11 (3)" in finding.text
    project.points[7, 0, 1] = [12.5, 13]  # two at one place happen where the subject hides one behind the other
    assert place_findings(project, ROWS) == []


def test_a_keypoint_at_one_place_in_many_images(project: Project) -> None:
    project.points[::4, 1, 2] = [30, 20.5]
    finding = only(project)
    assert (finding.code, finding.severity, finding.cameras) == ("same_place", "warning", ("side",))
    assert finding.evidence == {"keypoints": 1, "labels": 10}
    assert "ear in side at 30, 20.5 in 10 of 40 images" in finding.text
    project.points[0, 1, 2] = [30, 20]
    assert place_findings(project, ROWS) == []


def test_only_occluded_labels(project: Project) -> None:
    """Visibility is judged over all tables: a view with occluded labels alone is no reason."""
    hidden = replace(project, visibility=np.where(np.arange(2)[:, None] == 1, 1, project.visibility))
    assert place_findings(hidden, ROWS) == []
    assert count_placed_occluded(hidden) == NUM_FRAMES * len(NAMES)
    finding = only(replace(project, visibility=np.ones_like(project.visibility)))
    assert (finding.code, finding.severity) == ("hidden_labels", "error")
    assert finding.evidence == {"labels": project.visibility.size}


def test_places_that_the_tables_mark_as_not_labeled(project: Project, tmp_path: Path) -> None:
    for view in VIEWS:
        places = "1,2,0,0,0,0,,,0,5,6,1" if view == "top" else "1,2,2,0,0,0,,,1,5,6,1"
        (tmp_path / f"CollectedData_{view}.csv").write_text(
            f"scorer{',me' * 12}\nbodyparts,{','.join(name for name in NAMES for _ in range(3))}\n"
            f"coords{',x,y,visible' * 4}\nlabeled-data/s_{view}/1.png,{places}\n"
        )
    rows = read_rows(Config(data=DataConfig(data_dir=tmp_path, view_names=VIEWS)))
    np.testing.assert_array_equal(np.argwhere(rows.unlabeled_places), [[0, 0, 0]])  # not 0, 0 and not empty cells
    finding = only(project, rows)
    assert (finding.code, finding.severity, finding.cameras) == ("unlabeled_places", "note", ("top",))
    assert "line 4 nose of view top" in finding.text
