from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import Expectation, raises_input
from helpers.geometry import random_rig
from helpers.optional import torch
from mvgeom import affine, boxes, project
from mvgeom.tables import read_labeled_boxes, read_video_boxes, write_labeled_boxes, write_video_boxes

SEEDS = st.integers(0, 2**32 - 1)
SHARED = Path(__file__).parents[2].parent / "shared"


def random_boxes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.concatenate([rng.uniform(-50, 300, (*shape, 2)), rng.uniform(5, 200, (*shape, 2))], axis=-1)


def write(folder: Path, text: str) -> Path:
    path = folder / "bboxes_top.csv"
    path.write_text(text)
    return path


@settings(max_examples=50)
@given(seed=SEEDS, margin=st.floats(0, 1), aspect=st.one_of(st.none(), st.floats(0.2, 5)))
def test_a_box_from_keypoints_holds_them_all(seed: int, margin: float, aspect: float | None) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-500, 500, size=(3, 6, 2))
    points[rng.random((3, 6)) < 0.3] = np.nan
    points[0] = np.nan
    found = boxes.from_keypoints(points, margin=margin, aspect=aspect)
    assert found.shape == (3, 4)
    assert np.isnan(found[0]).all()
    for box, keypoints in zip(found[1:], points[1:], strict=True):
        present = keypoints[np.isfinite(keypoints[:, 0])]
        if len(present) == 0:
            assert np.isnan(box).all()
            continue
        inside = affine.apply(affine.from_box(box, (100, 100)), present)
        assert (inside >= -0.5 - 1e-9).all()
        assert (inside <= 99.5 + 1e-9).all()
        np.testing.assert_allclose((inside.min(0) + inside.max(0)) / 2, 49.5, rtol=0, atol=1e-6)
        if aspect is not None:
            assert box[2] / box[3] == pytest.approx(aspect)
    np.testing.assert_allclose(boxes.from_keypoints(torch.tensor(points), margin=margin, aspect=aspect), found)


def test_margin_and_least_size_of_a_box() -> None:
    points = np.array([[10.0, 20.0], [30.0, 30.0]])
    # The centers of the outermost pixels are 20 and 10 apart; the larger extent sets the margin on every side.
    np.testing.assert_allclose(boxes.from_keypoints(points, margin=0.0), [10.5, 20.5, 20, 10])
    np.testing.assert_allclose(boxes.from_keypoints(points, margin=0.1), [8.5, 18.5, 24, 14])
    np.testing.assert_allclose(boxes.from_keypoints(points[:1], min_size=8.0), [6.5, 16.5, 8, 8])


def test_boxes_from_world_points_are_boxes_of_their_projections() -> None:
    rng = np.random.default_rng(0)
    cams, points = random_rig(rng, 3), rng.uniform(-0.5, 0.5, size=(2, 5, 3))
    points[0, 1] = np.nan
    points[1] = 3 * cams.centers[0]
    found = boxes.from_points_3d(points, cams, margin=0.2)
    assert found.shape == (2, 3, 4)
    np.testing.assert_array_equal(found, boxes.from_keypoints(project(points, cams), margin=0.2))
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1, 0]).all()


@settings(max_examples=50)
@given(seed=SEEDS)
def test_clipped_boxes_lie_in_the_frame_and_in_themselves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    original = random_boxes(rng, 20)
    found = boxes.clip(original, (200, 150))
    left = np.isfinite(found[:, 0])
    np.testing.assert_array_equal(
        left, (original[:, 0] < 200) & (original[:, 1] < 150) & (original[:, :2] + original[:, 2:] > 0).all(axis=1)
    )
    assert (found[left, :2] >= 0).all()
    assert (found[left, :2] + found[left, 2:] <= [200 + 1e-9, 150 + 1e-9]).all()
    np.testing.assert_array_equal(boxes.clip(found, (200, 150)), found)
    frame = np.array([0.0, 0.0, 200.0, 150.0])
    kept = found[left, 2] * found[left, 3] / (200 * 150)
    union = boxes.iou(original[left], frame)
    area = original[left, 2] * original[left, 3] / (200 * 150)
    np.testing.assert_allclose(union, kept / (1 + area - kept), rtol=1e-9)


@settings(max_examples=50)
@given(seed=SEEDS, aspect=st.floats(0.1, 10))
def test_aspect_grows_one_side_about_the_center(seed: int, aspect: float) -> None:
    original = random_boxes(np.random.default_rng(seed), 5)
    found = boxes.with_aspect(original, aspect)
    np.testing.assert_allclose(found[:, 2] / found[:, 3], aspect, rtol=1e-9)
    np.testing.assert_allclose(
        found[:, :2] + found[:, 2:] / 2, original[:, :2] + original[:, 2:] / 2, rtol=0, atol=1e-9
    )
    assert (found[:, 2:] >= original[:, 2:] * (1 - 1e-12)).all()
    assert np.isclose(found[:, 2:], original[:, 2:], rtol=1e-9).any(axis=1).all()


@settings(max_examples=50)
@given(seed=SEEDS)
def test_iou_is_symmetric_and_one_only_for_equal_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = random_boxes(rng, 8), random_boxes(rng, 8)
    found = boxes.iou(first, second)
    np.testing.assert_allclose(found, boxes.iou(second, first))
    assert ((found >= 0) & (found < 1)).all()
    np.testing.assert_allclose(boxes.iou(first, first), 1)
    np.testing.assert_allclose(boxes.iou(torch.tensor(first), torch.tensor(second)), found)
    assert boxes.iou(first[:, None], second).shape == (8, 8)


def test_iou_of_known_and_missing_boxes() -> None:
    box = np.array([0.0, 0.0, 10.0, 10.0])
    assert boxes.iou(box, np.array([5.0, 0, 10, 10])) == pytest.approx(1 / 3)
    assert boxes.iou(box, np.array([10.0, 0, 10, 10])) == 0
    assert np.isnan(boxes.iou(box, np.full(4, np.nan)))


def test_smoothing_keeps_steady_boxes_bridges_gaps_and_damps_jumps() -> None:
    rng = np.random.default_rng(1)
    steady = np.tile([10.0, 20.0, 100.0, 50.0], (30, 1))
    np.testing.assert_allclose(boxes.smooth(steady, sigma=2.0), steady)
    moving = steady + np.arange(30)[:, None] * [3.0, 1.0, 0.0, 0.0]
    holed = moving.copy()
    holed[10:14] = np.nan
    np.testing.assert_allclose(boxes.smooth(holed, sigma=1.0)[6:24], moving[6:24], rtol=0, atol=1e-6)
    jumpy = moving + rng.normal(size=(30, 4))
    smoothed = boxes.smooth(jumpy, sigma=2.0)
    assert np.abs(np.diff(smoothed, 2, axis=0)).mean() < 0.1 * np.abs(np.diff(jumpy, 2, axis=0)).mean()


def test_long_gaps_stay_missing() -> None:
    track = np.tile([10.0, 20.0, 100.0, 50.0], (12, 2, 1))
    track[2:4, 0], track[5:9, 0], track[0, 0], track[:, 1] = np.nan, np.nan, np.nan, np.nan
    found = boxes.smooth(track, sigma=1.0, max_gap=3)
    np.testing.assert_array_equal(np.isnan(found[:, 0, 0]), [False] * 5 + [True] * 4 + [False] * 3)
    assert np.isnan(found[:, 1]).all()
    np.testing.assert_allclose(boxes.smooth(track, sigma=1.0)[:, 0], np.tile([10.0, 20.0, 100.0, 50.0], (12, 1)))


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4), (0, 2, 4)])
def test_no_frames_and_no_boxes_are_smoothed_to_none(shape: tuple[int, ...]) -> None:
    assert boxes.smooth(np.zeros(shape), sigma=2.0).shape == shape


@pytest.mark.parametrize("aspect", [None, 2.0])
@pytest.mark.parametrize("shape", [(0, 2), (3, 0, 2), (0, 5, 2), (2, 0, 0, 2)])
def test_no_keypoints_have_no_box(shape: tuple[int, ...], aspect: float | None) -> None:
    for points in (np.zeros(shape), torch.zeros(shape)):
        found = boxes.from_keypoints(points, aspect=aspect)
        assert tuple(found.shape) == (*shape[:-2], 4)
        assert found.dtype == points.dtype
        assert np.isnan(np.asarray(found)).all()


@settings(max_examples=25)
@given(seed=SEEDS)
def test_files_round_trip(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("boxes")
    original = random_boxes(rng, 6)
    original[0] = [0, 306, 933, 900]
    images = tuple(f"labeled-data/fly_top/img{index:08d}.png" for index in range(6))
    write_labeled_boxes(folder / "bboxes_top.csv", images, original)
    again = read_labeled_boxes(folder / "bboxes_top.csv")
    assert again.images == images
    np.testing.assert_array_equal(again.boxes, original)
    np.testing.assert_array_equal(again.select([images[4], images[1]]), original[[4, 1]])
    original[3] = np.nan
    write_labeled_boxes(folder / "bboxes_top.csv", images, original)
    np.testing.assert_array_equal(read_labeled_boxes(folder / "bboxes_top.csv").boxes, original)
    write_video_boxes(folder / "fly_top_bbox.csv", original)
    np.testing.assert_array_equal(read_video_boxes(folder / "fly_top_bbox.csv", 6), original)
    assert sorted(path.name for path in folder.iterdir()) == ["bboxes_top.csv", "fly_top_bbox.csv"]


def test_height_comes_before_width_on_disk(tmp_path: Path) -> None:
    write_video_boxes(tmp_path / "v_bbox.csv", np.array([[1.0, 2.0, 30.0, 40.5]]))
    assert (tmp_path / "v_bbox.csv").read_text() == ",x,y,h,w\n0,1,2,40.5,30\n"


def test_tables_saved_by_a_spreadsheet(tmp_path: Path) -> None:
    for separator in ";\t":
        for decimal in ".,":
            cells = [["", "x", "y", "h", "w"], ["a/1.png", "1.5", "2", "8", "9.25"], ["a/2.png", "1", "2", "8", "9"]]
            lines = [separator.join(row).replace(".5", f"{decimal}5").replace(".25", f"{decimal}25") for row in cells]
            path = write(tmp_path, "\n".join(lines) + "\n")
            np.testing.assert_array_equal(read_labeled_boxes(path).boxes, [[1.5, 2, 9.25, 8], [1, 2, 9, 8]])
            np.testing.assert_array_equal(read_video_boxes(path), [[1.5, 2, 9.25, 8], [1, 2, 9, 8]])
    with raises_input("bad-number", found=("1,5", "2.5")):
        read_video_boxes(write(tmp_path, ";x;y;h;w\n0;1,5;2.5;8;9\n"))


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "image, w,h,x,score,y\na.png,30,40,1,0.9,2\n")
    np.testing.assert_array_equal(read_labeled_boxes(path).boxes, [[1, 2, 30, 40]])
    path = write(tmp_path, "\ufeffx,y,h,w\n1,2,40,30\n,,,\n3,4,40,30\n")
    np.testing.assert_array_equal(read_video_boxes(path), [[1, 2, 30, 40], [np.nan] * 4, [3, 4, 30, 40]])


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "NA"])
def test_empty_boxes_are_missing_in_both_readers(tmp_path: Path, cell: str) -> None:
    """An image or frame without an animal."""
    path = write(tmp_path, f",x,y,h,w\na.png,1,2,40,30\nb.png{f',{cell}' * 4}\n")
    expected = [[1, 2, 30, 40], [np.nan] * 4]
    np.testing.assert_array_equal(read_labeled_boxes(path).select(["a.png", "b.png"]), expected)
    np.testing.assert_array_equal(read_video_boxes(path), expected)


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is absent")
def test_real_project() -> None:
    folder = SHARED / "data" / "human4"
    labeled = read_labeled_boxes(folder / "bboxes_cam1.csv")
    assert labeled.images[0] == "labeled-data/balancing_cam1/img00000000.jpg"
    np.testing.assert_array_equal(labeled.boxes[0], [0, 306, 933, 933])
    assert read_video_boxes(folder / "videos" / "balancing_cam4_bbox.csv").shape == (len(labeled.images), 4)


@pytest.mark.parametrize("header", ["x,y,h,w", "X,Y,H,W", "x,y,height,width", "X, Y, Height, Width"])
def test_names_of_columns_have_any_case(header: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"image,{header}\na.png,1,2,30,40\n")
    np.testing.assert_array_equal(read_labeled_boxes(path).boxes, [[1, 2, 40, 30]])
    np.testing.assert_array_equal(read_video_boxes(path), [[1, 2, 40, 30]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", raises_input("empty-file", path="bboxes_top.csv")),
        (
            ",x,y,w\na.png,1,2,3\n",
            raises_input("missing-column", column="h", path="bboxes_top.csv"),
        ),
        (",x\na.png,1\n", raises_input("missing-column", column="y", path="bboxes_top.csv")),
        (",x,y,h,w,w\na.png,1,2,3,4,4\n", raises_input("duplicate-name", name="w", path="bboxes_top.csv")),
        (
            ",x,y,h,w\na.png,1,2,3,4\nb.png,1,two,3,4\n",
            raises_input("bad-number", line=3, column="y", path="bboxes_top.csv"),
        ),
        (",x,y,h,w\na.png,1,2,3\n", raises_input("bad-number", line=2, column="w", path="bboxes_top.csv")),
        (",x,y,h,w\na.png,1,2,nan,4\n", raises_input("bad-number", line=2, column="h", path="bboxes_top.csv")),
        (",x,y,h,w\na.png,1,2,0,4\n", raises_input("out-of-range", line=2, column="h", path="bboxes_top.csv")),
        (",x,y,h,w\na.png,1,2,3,-4\n", raises_input("out-of-range", line=2, column="w", path="bboxes_top.csv")),
    ],
)
def test_messages_of_both_readers(text: str, expected: Expectation, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    for read in (read_labeled_boxes, read_video_boxes):
        with expected:
            read(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x,y,h,w\n1,2,3,4\n", raises_input("missing-column", column="image", path="bboxes_top.csv")),
        (",x,y,h,w\n,1,2,3,4\n", raises_input("empty-cell", line=2, path="bboxes_top.csv")),
        (
            ",x,y,h,w\na.png,1,2,3,4\nb.png,1,2,3,4\na.png,1,2,3,4\n",
            raises_input("duplicate-name", line=4, name="a.png", path="bboxes_top.csv"),
        ),
    ],
)
def test_messages_of_labeled_boxes(text: str, expected: Expectation, tmp_path: Path) -> None:
    with expected:
        read_labeled_boxes(write(tmp_path, text))


def test_messages_about_files_and_counts(tmp_path: Path) -> None:
    with raises_input("unreadable-file", path="bboxes_side.csv"):
        read_labeled_boxes(tmp_path / "bboxes_side.csv")
    path = write(tmp_path, ",x,y,h,w\na.png,1,2,3,4\n")
    with raises_input("wrong-count", found=1, expected=7, path="bboxes_top.csv"):
        read_video_boxes(path, 7)
    with raises_input("missing-row", row="b.png", path="bboxes_top.csv"):
        read_labeled_boxes(path).select(["a.png", "b.png"])
    path = write(tmp_path, ",x,y,h,w\n0,1,2,3,4\n\n2,1,2,3,4\n")
    with raises_input("empty-cell", line=3, path="bboxes_top.csv"):
        read_video_boxes(path)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            lambda path: write_video_boxes(path, np.zeros((3, 4))),
            raises_input("out-of-range", argument="boxes", row=0),
        ),
        (lambda path: write_video_boxes(path, np.zeros(4)), raises_input("wrong-shape", argument="boxes", found=(4,))),
        (
            lambda path: write_labeled_boxes(path, ["a"], np.ones((2, 4))),
            raises_input("wrong-shape", argument="boxes", found=(2, 4)),
        ),
        (
            lambda path: write_labeled_boxes(path, ["a"], np.array([[np.nan, 1, 2, 3]])),
            raises_input("out-of-range", argument="boxes", row="a"),
        ),
        (
            lambda path: boxes.from_keypoints(np.zeros((3, 2)), margin=-1),
            raises_input("out-of-range", argument="margin"),
        ),
        (lambda path: boxes.from_keypoints(np.zeros(3)), raises_input("wrong-shape", argument="points", found=(3,))),
        (lambda path: boxes.with_aspect(np.ones(4), 0), raises_input("out-of-range", argument="aspect")),
        (lambda path: boxes.smooth(np.ones((3, 4)), sigma=0), raises_input("out-of-range", argument="sigma")),
        (
            lambda path: boxes.smooth(np.ones(4), sigma=1),
            raises_input("wrong-shape", argument="boxes", found=(4,)),
        ),
        (lambda path: boxes.iou(np.ones(3), np.ones(4)), raises_input("wrong-shape", argument="first", found=(3,))),
    ],
)
def test_messages_of_arguments(call: object, expected: Expectation, tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    with expected:
        call(path)
    assert not path.exists()
