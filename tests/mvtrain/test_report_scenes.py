"""3D figures of the report: poses in the order of time, with all cameras visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.evaluations import noisy_evaluation
from helpers.rigs import ring
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvgeom import CameraGroup
from mvtrain.config import load_config
from mvtrain.project.project import Project, read_project
from mvtrain.report.pose_3d import Scene, camera_traces, draw_scene, pose_section, rig_points, scenes_of
from mvtrain.report.predicted_videos import Recording

NAMES = ("nose", "<b>tail</b>", "paw")
EDGES = ((0, 1), (1, 2))


def scene(cameras: Sequence[CameraGroup], *, known: bool = True, seed: int = 0) -> Scene:
    generator = np.random.default_rng(seed)
    points = generator.normal(scale=0.2, size=(len(cameras), len(NAMES), 3))
    points[0, 2] = np.nan
    return Scene(
        title="a <i>title</i>",
        frame_names=tuple(f"frame {number}" for number in range(len(cameras))),
        points=points,
        known=points + 0.1 if known else None,
        known_name="truth",
        cameras=tuple(cameras),
    )


def xyz(trace: Any) -> np.ndarray:
    return np.stack([np.asarray(trace[axis], dtype=np.float64) for axis in "xyz"], axis=-1)


@pytest.mark.parametrize("known", [True, False])
def test_each_step_of_the_animation_shows_its_frame(known: bool) -> None:
    rig = ring()
    shown = scene([rig] * 4, known=known)
    drawn = draw_scene(shown, NAMES, EDGES)
    layers = [shown.known, shown.points] if shown.known is not None else [shown.points]
    assert [frame.name for frame in drawn.frames] == ["0", "1", "2", "3"]
    for number, frame in enumerate(drawn.frames):
        assert list(frame.traces) == list(range(2 * len(layers)))
        for layer, points in enumerate(layers):
            markers, lines = frame.data[2 * layer : 2 * layer + 2]
            np.testing.assert_allclose(xyz(markers), points[number], rtol=1e-6, equal_nan=True)
            ends = xyz(lines).reshape(len(EDGES), 3, 3)
            np.testing.assert_allclose(ends[:, :2], points[number][np.array(EDGES)], rtol=1e-6, equal_nan=True)
            assert np.isnan(ends[:, 2]).all()
    for trace, moved in zip(drawn.data, drawn.frames[0].data, strict=False):
        np.testing.assert_array_equal(xyz(trace), xyz(moved))
    assert drawn.data[0].text[1] == "&lt;b&gt;tail&lt;/b&gt;"
    assert [step.args[0][0] for step in drawn.layout.sliders[0].steps] == ["0", "1", "2", "3"]


def test_cameras_are_drawn_at_their_centers_with_their_names() -> None:
    rig = ring(3)
    *frusta, names = camera_traces(rig)
    assert [trace["name"] for trace in frusta] == list(names["text"]) == list(rig.names)
    np.testing.assert_allclose(xyz(names), rig.centers, rtol=1e-6)
    for view, trace in enumerate(frusta):
        corners = xyz(trace)
        np.testing.assert_allclose(corners[0], rig.centers[view], rtol=1e-6)
        # All edges of a pyramid, each once.
        joined = [
            tuple(sorted(map(tuple, pair))) for pair in np.stack([corners[:-1], corners[1:]], 1).round(4).tolist()
        ]
        edges = [pair for pair in joined if not np.isnan(pair).any()]
        assert len(edges) == len(set(edges)) == 8


def test_a_rig_that_stays_is_drawn_once_and_one_that_changes_moves() -> None:
    first, second = ring(3), ring(3, size=200)
    second = second.replace(translation=second.translation * 1.5)
    still = draw_scene(scene([first] * 3), NAMES, EDGES)
    assert len(still.frames[2].data) == 4
    changing = draw_scene(scene([first, first, second]), NAMES, EDGES)
    *_, names = changing.frames[2].data
    np.testing.assert_allclose(xyz(names), second.centers, rtol=1e-6)
    assert list(changing.frames[2].traces) == list(range(len(changing.data)))


@settings(max_examples=30)
@given(
    scale=st.floats(1e-3, 1e4),
    shift=st.tuples(*[st.floats(-5, 5)] * 3),
    angle=st.floats(0, 6),
    num_views=st.integers(2, 8),
)
def test_the_first_view_shows_everything(scale: float, shift: tuple, angle: float, num_views: int) -> None:
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    offset = scale * np.array(shift)
    rig = ring(num_views)
    rotation = rig.rotation @ turn
    rig = rig.replace(rotation=rotation, translation=scale * rig.translation - rotation @ offset)
    posed = scene([rig] * 2)
    posed = replace(posed, points=scale * posed.points + offset, known=None)
    layout = draw_scene(posed, NAMES, EDGES).layout.scene

    low, high = (np.array([axis.range[end] for axis in (layout.xaxis, layout.yaxis, layout.zaxis)]) for end in (0, 1))
    ratio = np.array([layout.aspectratio[axis] for axis in "xyz"])
    eye, center, up = (
        np.array([vector[axis] for axis in "xyz"])
        for vector in (layout.camera.eye, layout.camera.center, layout.camera.up)
    )
    everything = rig_points(rig)
    assert ((everything >= low) & (everything <= high)).all()
    # Plotly's own units: the box of the axes has the sides `aspectratio` and its middle at 0.
    seen = (everything - (low + high) / 2) / (high - low) * ratio - eye
    forward = (center - eye) / np.linalg.norm(center - eye)
    right = np.cross(forward, up) / np.linalg.norm(np.cross(forward, up))
    depth = seen @ forward
    assert (depth > 0).all()
    limit = np.tan(np.deg2rad(45) / 2)
    assert (np.abs(seen @ np.cross(right, forward)) <= limit * depth).all()
    assert (np.abs(seen @ right) <= limit * depth).all()  # in a square figure


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("pose")
    generate_tiny_project(folder / "project", num_frames=8, num_sessions=2)
    return read_project(load_config(write_tiny_config(folder / "tiny.yaml", folder / "project")))


def test_labeled_frames_come_session_by_session_with_the_truth(project: Project) -> None:
    evaluation = noisy_evaluation(project, ["train", "test"] * 4, noise=1.0)
    (shown,) = scenes_of(evaluation, project, [])
    order = sorted(range(8), key=lambda row: (project.sessions[row], row))
    np.testing.assert_array_equal(shown.points, evaluation.points_3d[order])
    assert evaluation.truth_3d is not None
    np.testing.assert_array_equal(shown.known, evaluation.truth_3d[order])
    assert shown.known_name == "truth"
    assert [name.rpartition(" ")[2] for name in shown.frame_names] == [f"({evaluation.split[n]})" for n in order]
    assert len(shown.rigs) == len({id(rig) for rig in project.cameras})


def recording(num_frames: int, num_keypoints: int = 20) -> Recording:
    points = np.random.default_rng(0).normal(size=(num_frames, num_keypoints, 3))
    error = np.ones((num_frames, 4, num_keypoints))
    rig = ring()
    return Recording(session="mouse", view_names=rig.names, points_3d=points, reprojection_error=error, cameras=rig)


def test_long_recordings_show_their_middle(project: Project) -> None:
    evaluation = noisy_evaluation(project, ["test"] * 8, noise=1.0)
    long = recording(2001)
    shown = scenes_of(evaluation, project, [long])[1]
    first = int(shown.frame_names[0].removeprefix("frame "))
    assert 40 <= len(shown.frame_names) <= 300
    assert abs(first + len(shown.frame_names) / 2 - 1000) < 1
    np.testing.assert_array_equal(shown.points, long.points_3d[first : first + len(shown.frame_names)])
    assert f"frames {first} to {first + len(shown.frame_names) - 1} of 2001" in shown.title


def test_without_3d_the_page_has_a_reason_and_no_figure(project: Project) -> None:
    evaluation = noisy_evaluation(project, ["test"] * 8, noise=1.0)
    flat = replace(evaluation, points_3d=np.full_like(evaluation.points_3d, np.nan))
    nothing = recording(5)
    nothing.points_3d[:] = np.nan
    scenes = scenes_of(flat, project, [nothing])
    assert scenes == []
    section = pose_section(scenes, NAMES, EDGES, ["a sentence about <one>."])
    assert "No 3D: the project has no calibration" in section.body_html
    assert "a sentence about &lt;one&gt;." in section.body_html
    assert "Plotly" not in section.body_html


def test_a_subject_that_is_one_point_has_a_view() -> None:
    shown = scene([ring()] * 2, known=False)
    buttons = draw_scene(replace(shown, points=np.ones_like(shown.points)), NAMES, EDGES).layout.updatemenus[1].buttons
    view = buttons[1].args[0]["scene.camera"]
    assert buttons[1].label == "Subject"
    assert np.linalg.norm([view["eye"][axis] - view["center"][axis] for axis in "xyz"]) > 0.01


def test_without_a_skeleton_there_are_points_and_a_hint() -> None:
    shown = scene([ring()] * 2)
    drawn = draw_scene(shown, NAMES, ())
    assert [trace.mode for trace in drawn.data[:2]] == ["markers", "markers"]
    assert "data.skeleton" in pose_section([shown], NAMES, (), []).body_html


def test_the_page_stays_small(tmp_path: Path, project: Project) -> None:
    evaluation = noisy_evaluation(project, ["test"] * 8, noise=1.0)
    shown = scenes_of(evaluation, project, [recording(5000, num_keypoints=120)])[1]
    names = tuple(map(str, range(120)))
    edges = tuple((n, n + 1) for n in range(119))
    assert len(pose_section([shown], names, edges, []).body_html) < 1.5e6
