"""Keypoints drawn at their place and with their confidence; layouts and videos of several views."""

from pathlib import Path

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from helpers.errors import raises_input
from helpers.runs import KEYPOINTS
from helpers.videos import write_video
from mvgeom.videos import Video, open_video
from mvtrain.config import Config, DataConfig, EvalConfig
from mvtrain.drawing.keypoints import Style, draw_keypoints, style_from_config
from mvtrain.predict.outputs import PredictionRows, write_predictions
from mvtrain.predict.overlay import PredictedView, draw_overlay, single_layout, tiled_layout

RED = Style(colors=((0.0, 0.0, 255.0),) * 2, edges=((0, 1),), min_confidence=0.0)


def gray(width: int = 120, height: int = 90) -> np.ndarray:
    return np.full((height, width, 3), 100, dtype=np.uint8)


def centroid(changed: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(changed)
    return np.array([columns.mean(), rows.mean()])


@settings(max_examples=40)
@given(x=st.floats(15, 100), y=st.floats(15, 70), alpha=st.floats(0.2, 1.0))
def test_a_dot_is_at_its_point_and_as_opaque_as_its_confidence(x: float, y: float, alpha: float) -> None:
    points, confidence = np.array([[x, y], [np.nan, np.nan]]), np.array([alpha, 0.0])
    drawn = draw_keypoints(gray(), points, confidence, RED, radius=6.0).astype(int)
    assert np.abs(centroid((drawn != 100).any(-1)) - [x, y]).max() < 0.3
    # In the middle the color has the confidence as weight, the image the rest.
    expected = alpha * np.array([0, 0, 255]) + (1 - alpha) * 100
    assert np.abs(drawn[round(y), round(x)] - expected).max() <= 2


def test_dots_of_higher_confidence_are_larger_and_those_of_none_invisible() -> None:
    sizes = []
    for alpha in (0.0, 0.3, 1.0):
        drawn = draw_keypoints(gray(), np.array([[50.0, 40.0]] * 2), np.array([alpha, 0.0]), RED, radius=8.0)
        sizes.append(int((drawn != 100).any(-1).sum()))
    assert sizes[0] == 0 < sizes[1] < sizes[2]


def test_missing_low_confidence_and_far_keypoints_are_not_drawn() -> None:
    strict = Style(colors=RED.colors, edges=RED.edges, min_confidence=0.5)
    for points in ([[np.nan, np.nan], [30, 30]], [[1e9, -1e9], [30, 30]]):
        drawn = draw_keypoints(gray(), np.array(points, dtype=float), np.array([1.0, 0.4]), strict, radius=5.0)
        np.testing.assert_array_equal(drawn, gray())


def test_a_line_has_the_lower_confidence_of_its_ends() -> None:
    points, confidence = np.array([[20.0, 45.0], [100.0, 45.0]]), np.array([1.0, 0.4])
    middle = draw_keypoints(gray(), points, confidence, RED, radius=4.0)[45, 60].astype(int)
    assert np.abs(middle - (0.4 * np.array([0, 0, 255]) + 0.6 * 100)).max() <= 2
    one_end = draw_keypoints(gray(), points, np.array([1.0, 0.0]), RED, radius=4.0)
    np.testing.assert_array_equal(one_end[:, 30:], gray()[:, 30:])


def test_colors_and_skeleton_come_from_the_config() -> None:
    config = Config(data=DataConfig(skeleton=(("nose", "tail"), ("tail", "paw"))), eval=EvalConfig(colormap="cool"))
    style = style_from_config(config, KEYPOINTS, min_confidence=0.1)
    assert style.edges == ((0, 2), (2, 3))
    assert style.colors[0] == (255, 255, 0)  # cyan, as blue, green, red
    assert style.colors[-1] == (255, 0, 255)
    with raises_input("bad-value", key="data.skeleton", found="wing", expected=KEYPOINTS):
        style_from_config(Config(data=DataConfig(skeleton=(("nose", "wing"),))), KEYPOINTS, min_confidence=0.0)
    with raises_input("bad-value", key="eval.colormap", found="cold"):
        style_from_config(Config(eval=EvalConfig(colormap="cold")), KEYPOINTS, min_confidence=0.0)


def fake_video(width: int, height: int) -> Video:
    return Video(path=Path("x.mp4"), size=(width, height), fps=25, num_frames=1, times=np.zeros(1))


@settings(max_examples=50)
@given(sizes=st.lists(st.tuples(st.integers(16, 4000), st.integers(16, 4000)), min_size=1, max_size=9))
def test_views_fill_a_screen(sizes: list[tuple[int, int]]) -> None:
    videos = [fake_video(*size) for size in sizes]
    layout = tiled_layout(videos, [f"view{number}" for number in range(len(sizes))])
    num_rows = -(-len(sizes) // layout.num_columns)
    assert layout.num_columns * layout.cell[0] <= 1920 + 2 * layout.num_columns
    assert num_rows * layout.cell[1] <= 1080 + 2 * num_rows
    assert all(length % 2 == 0 for length in layout.cell)


def test_four_upright_views_are_in_one_row_and_wide_ones_in_two() -> None:
    assert tiled_layout([fake_video(1080, 1920)] * 4, "abcd").num_columns == 4
    assert tiled_layout([fake_video(1280, 1024)] * 4, "abcd").num_columns == 2


@pytest.mark.parametrize("view", [0, 1])
def test_every_frame_shows_its_row_in_the_cell_of_its_view(view: int, tmp_path: Path) -> None:
    length, sizes = 6, [(160, 120), (120, 120)]
    paths = [
        write_video(tmp_path / f"s_{number}.avi", [np.full((height, width, 3), 90, np.uint8)] * (length - 2 * number))
        for number, (width, height) in enumerate(sizes)
    ]
    points = np.full((length, 1, 2), np.nan)
    points[:, 0] = 30 + 12.0 * np.arange(length)[:, None] * [1, 0.8]
    nothing = np.full((length, 1), np.nan)
    for number in range(2):
        shown = points if number == view else np.full(points.shape, np.nan)
        likelihood = np.ones((length, 1)) if number == view else nothing
        rows = PredictionRows(index=range(length), points=shown, likelihood=likelihood)
        write_predictions(tmp_path / f"s_{number}.csv", ["nose"], [rows])
    videos = [open_video(path) for path in paths]
    layout = tiled_layout(videos, ["", ""])
    style = Style(colors=((0.0, 0.0, 255.0),), edges=(), min_confidence=0.0)
    seen: list[int] = []
    views = [
        PredictedView(video=video, table=tmp_path / f"s_{number}.csv", crops=np.array([[0.0, 0.0, *video.size]]))
        for number, video in enumerate(videos)
    ]
    out, still_file = tmp_path / "out.mp4", tmp_path / "still.png"
    draw_overlay(views, out, style, layout, still=still_file, on_frame=seen.append)
    assert seen == list(range(1, length + 1))
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    scale = min(layout.cell[0] / sizes[view][0], layout.cell[1] / sizes[view][1])
    corner = np.array([divmod(view, layout.num_columns)[1], divmod(view, layout.num_columns)[0]]) * layout.cell
    margin = (np.array(layout.cell) - scale * np.array(sizes[view])) / 2
    for number in range(length):
        success, image = capture.read()
        assert success
        red = (image[..., 2].astype(int) - image[..., 0]) > 100
        if number >= length - 2 * view:  # the view has ended: its cell is black, without a dot
            assert not red.any()
        else:
            expected = corner + margin + (points[number, 0] + 0.5) * scale - 0.5
            assert np.abs(centroid(red) - expected).max() < 1.5
    still = cv2.imread(str(tmp_path / "still.png"))
    assert still.shape == image.shape


def test_a_changed_table_is_named(tmp_path: Path) -> None:
    path, table = write_video(tmp_path / "s_top.avi", [gray()] * 3), tmp_path / "s_top.csv"
    video = open_video(path)
    layout = single_layout(video)
    view = PredictedView(video=video, table=table, crops=np.array([[0.0, 0.0, *video.size]]))
    for content in ("", "scorer,a\nbodyparts,a\ncoords,x\n0,many\n", "scorer\nbodyparts\ncoords\n0,1,2,1\n"):
        table.write_text(content)
        with raises_input("damaged-file", path=table):
            draw_overlay([view], tmp_path / "out.mp4", RED, layout, still=None, on_frame=print)


def test_a_single_view_keeps_its_size() -> None:
    assert single_layout(fake_video(640, 480)).cell == (640, 480)
    assert single_layout(fake_video(641, 481)).cell == (640, 480)
