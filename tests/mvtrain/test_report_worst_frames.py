"""Worst frames and reprojection errors over time in the report: choice, marks and order of the frames."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.evaluations import in_file, made_up_evaluation, noisy_evaluation
from helpers.page import Page
from helpers.rigs import ring
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.config import load_config
from mvtrain.evaluation.error_tables import error_table
from mvtrain.evaluation.evaluation import Evaluation
from mvtrain.project.project import Project, read_project
from mvtrain.report.predicted_videos import Recording, Recordings, draw_labeled, draw_recording, reprojection_section
from mvtrain.report.worst_frames import marks_of, worst_frames_section, worst_rows

NOTHING = Recordings(complete=(), omitted=())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Generate a project whose images are crops, so that crop px differ from full-image px."""
    folder = tmp_path_factory.mktemp("frames")
    generate_tiny_project(folder / "project", num_frames=12, num_sessions=2, crop=True)
    config = load_config(write_tiny_config(folder / "tiny.yaml", folder / "project"))
    boxes = tuple(f"bboxes_cam{view}.csv" for view in (1, 2, 3))
    return read_project(replace(config, data=replace(config.data, bbox_file=boxes)))


@pytest.fixture(scope="module")
def evaluation(project: Project) -> Evaluation:
    return noisy_evaluation(project, ["train"] * 4 + ["test"] * 8, noise=2.0)


def test_the_worst_frames_are_of_the_test_split_and_not_close_to_each_other() -> None:
    evaluation = made_up_evaluation(
        views=("a", "b"), keypoints=("nose",), sets=["train"] * 5 + ["test"] * 35, missing=0.0
    )
    means = evaluation.pixel_error.mean(axis=(1, 2))
    worst = worst_rows(evaluation, 5)
    assert worst[0] == 5 + means[5:].argmax()
    assert np.diff(means[worst]).max() < 0
    assert np.diff(np.sort(worst)).min() > 3
    # A worse frame is left out only next to a chosen one.
    for frame in range(5, 40):
        if frame not in worst and means[frame] > means[worst[-1]]:
            assert np.abs(np.array(worst) - frame).min() <= 3
    alternating = replace(evaluation, sessions=tuple("xy"[n % 2] for n in range(40)))
    assert np.diff(np.sort(worst_rows(alternating, 10))).min() == 1


def test_a_split_without_labels_has_no_worst_frame(project: Project) -> None:
    evaluation = noisy_evaluation(project, ["test"] * 12, noise=1.0)
    evaluation.pixel_error[:] = np.nan
    assert "The test split has no visible label." in worst_frames_section(evaluation, project).body_html


def test_marks_are_in_crop_px(project: Project, evaluation: Evaluation) -> None:
    visible = project.visibility == 2
    predicted = in_file(project, evaluation.points)
    for frame in (0, 7):
        for view in range(3):
            marks = marks_of(evaluation, project, frame, view)
            seen = visible[frame, view]
            np.testing.assert_allclose(marks.points[seen], project.points[frame, view][seen], atol=1e-9)
            assert np.isnan(marks.points[~seen]).all()
            np.testing.assert_allclose(marks.expected, predicted[frame, view], atol=1e-9)
            far = np.linalg.norm(predicted[frame, view] - project.points[frame, view], axis=-1)
            np.testing.assert_array_equal(marks.highlighted, seen & (far > 0.1 * evaluation.subject_size[view]))


def test_the_images_show_the_labels(project: Project, evaluation: Evaluation) -> None:
    section = worst_frames_section(evaluation, project)
    encoded = re.findall(r"base64,([^\"]*)\"", section.body_html)
    worst = worst_rows(evaluation, 6)
    assert len(encoded) == 3 * len(worst)
    images = [cv2.imdecode(np.frombuffer(base64.b64decode(each), np.uint8), cv2.IMREAD_COLOR) for each in encoded]
    assert all(image.shape[1] == 480 for image in images)
    bare = worst_frames_section(replace(evaluation, labels=np.full_like(evaluation.labels, np.nan)), project)
    without = re.findall(r"base64,([^\"]*)\"", bare.body_html)
    assert encoded != without
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", section.body_html)
    expected = [
        f"{name}: mean {np.nanmean(evaluation.pixel_error[frame, view]):.2f} px"
        for frame in worst
        for view, name in enumerate(evaluation.view_names)
    ]
    assert captions == expected


def test_curves_of_labeled_frames_are_medians_by_session(project: Project, evaluation: Evaluation) -> None:
    drawn = draw_labeled(evaluation)
    assert [trace.name for trace in drawn.data] == list(dict.fromkeys(evaluation.sessions))
    for trace in drawn.data:
        rows = [row for row, session in enumerate(evaluation.sessions) if session == trace.name]
        numbers = [int(Path(str(evaluation.image_names[row][0])).stem.removeprefix("img")) for row in rows]
        order = np.argsort(numbers)
        np.testing.assert_array_equal(trace.x, np.sort(numbers))
        medians = [np.nanmedian(evaluation.reprojection_error[rows[n]]) for n in order]
        np.testing.assert_allclose(np.asarray(trace.y, dtype=float), medians)
        assert list(trace.text) == [evaluation.split[rows[n]] for n in order]


def test_frames_without_a_number_are_in_the_order_of_the_table() -> None:
    evaluation = made_up_evaluation(views=("a", "b"), keypoints=("nose",), sets=["test"] * 3)
    named = replace(evaluation, image_names=(("x/one.png", None), ("x/two.png", None), ("x/3.png", None)))
    drawn = draw_labeled(named)
    assert list(drawn.data[0].x) == [0, 1, 2]
    assert drawn.layout.xaxis.title.text == "row of the label table"


def recording(num_frames: int) -> Recording:
    error = np.random.default_rng(0).gamma(2.0, size=(num_frames, 4, 5))
    error[3] = np.nan
    rig = ring()
    return Recording(
        session="a <b>video</b>",
        view_names=rig.names,
        points_3d=np.zeros((num_frames, 5, 3)),
        reprojection_error=error,
        cameras=rig,
    )


def test_curves_of_a_video_are_medians_by_view() -> None:
    short = recording(50)
    drawn = draw_recording(short)
    assert [trace.name for trace in drawn.data] == list(short.view_names)
    for view, trace in enumerate(drawn.data):
        y = np.asarray(trace.y, dtype=float)
        assert np.isnan(y[3])
        known = np.arange(50) != 3
        np.testing.assert_allclose(y[known], np.median(short.reprojection_error[known, view], axis=1), rtol=1e-6)
    assert "&lt;b&gt;" in drawn.layout.title.text


def test_frames_of_a_long_video_share_points() -> None:
    long = recording(4001)
    drawn = draw_recording(long)
    x, y = np.asarray(drawn.data[0].x), np.asarray(drawn.data[0].y)
    assert "3 frames per point" in drawn.layout.title.text
    assert len(x) == 1334
    np.testing.assert_array_equal(np.diff(x), 3)
    np.testing.assert_allclose(y[100], np.median(long.reprojection_error[300:303, 0]), rtol=1e-6)
    np.testing.assert_allclose(y[-1], np.median(long.reprojection_error[3999:, 0]), rtol=1e-6)


def test_the_table_of_reprojection_errors_has_the_values_of_the_evaluation(evaluation: Evaluation) -> None:
    page = Page(reprojection_section(evaluation, error_table(evaluation), NOTHING).body_html)
    (row,) = (row for row in page.tables["reprojection-by-view"] if row[:2] == ["test", "cam2"])
    found = evaluation.reprojection_error[evaluation.split == "test", 1]
    assert row[2:] == [
        str(np.isfinite(found).sum()),
        *(f"{value:.2f}" for value in (np.nanmean(found), np.nanmedian(found), np.nanpercentile(found, 95))),
    ]


def test_the_page_names_what_it_does_not_show(evaluation: Evaluation) -> None:
    flat = replace(evaluation, reprojection_error=np.full_like(evaluation.reprojection_error, np.nan))
    section = reprojection_section(flat, error_table(flat), NOTHING)
    assert "the project has no calibration" in section.body_html
    assert "No videos were predicted with this run yet" in section.body_html
    many = Recordings(complete=(recording(5),) * 9, omitted=("mouse is not shown: <reason>.",))
    section = reprojection_section(evaluation, error_table(evaluation), many)
    assert "not shown: a &lt;b&gt;video" in section.body_html
    assert "mouse is not shown: &lt;reason&gt;." in section.body_html
    assert section.body_html.count("Plotly.newPlot") == 9
