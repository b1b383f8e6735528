"""Projects on disk: what is read, how files belong together, and an error for everything that does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.errors import raises_input
from mvgeom import CameraGroup, project, reprojection_error, triangulate
from mvgeom.tables import write_labeled_boxes
from mvtrain.check.label_checks import read_rows
from mvtrain.config import Config, DataConfig, TrainingConfig, load_config
from mvtrain.label.prelabels import read_prelabels
from mvtrain.model.inference import FramePredictions
from mvtrain.predict.labeled_images import write_project_predictions
from mvtrain.project.calibrations import read_calibration_table
from mvtrain.project.images import read_image
from mvtrain.project.names import TABLE
from mvtrain.project.project import read_project

HUMAN4 = Path(__file__).parents[2].parent / "shared" / "data" / "human4" / "config.yaml"
VIEWS = ("top", "side_b")
NAMES = ("nose", "tail", "ear")
FRAMES = (("mon", "img1.png"), ("mon", "img2.png"), ("tue", "img1.png"))
SIZES = {"top": (8, 6), "side_b": (12, 10)}


def rig(names: Sequence[str] = VIEWS) -> CameraGroup:
    """Cameras around the origin, 5 units away."""
    num_views = len(names)
    rotations = [cv2.Rodrigues(np.array([0.1, 0.8 * i, 0.0]))[0] for i in range(num_views)]
    return CameraGroup(
        names=tuple(names),
        sizes=np.tile([640.0, 480.0], (num_views, 1)),
        matrix=np.tile([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]], (num_views, 1, 1)),
        distortion=np.zeros((num_views, 5)),
        rotation=np.stack(rotations),
        translation=np.tile([0.0, 0, 5], (num_views, 1)),
    )


def image_name(frame: tuple[str, str], view: str) -> str:
    return f"labeled-data/{frame[0]}_{view}/{frame[1]}"


def write_table(path: Path, rows: Mapping[str, Sequence[Any]], coords: Sequence[str] = ("x", "y")) -> None:
    header = [("scorer", ["me"]), ("bodyparts", NAMES), ("coords", coords)]
    lines = [
        ",".join([first, *(cells[0 if len(cells) == 1 else k] for k in range(len(NAMES)) for _ in coords)])
        for first, cells in header[:2]
    ]
    lines.append(",".join(["coords", *(coord for _ in NAMES for coord in coords)]))
    lines += [",".join([name, *("" if value is None else f"{value}" for value in row)]) for name, row in rows.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_images(root: Path, frames: Sequence[tuple[str, str]] = FRAMES) -> None:
    for view in VIEWS:
        width, height = SIZES[view]
        for frame in frames:
            path = root / image_name(frame, view)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two views, three frames of two sessions, every keypoint at (row + 0.5, keypoint); the last nose is missing."""
    write_images(tmp_path)
    for view in VIEWS:
        rows = {
            image_name(frame, view): [c for k in range(3) for c in ((None,) * 2 if (i, k) == (2, 0) else (i + 0.5, k))]
            for i, frame in enumerate(FRAMES)
        }
        write_table(tmp_path / f"CollectedData_{view}.csv", rows)
    return tmp_path


def config_of(root: Path | None, uniform: bool = False, **data: Any) -> Config:
    arguments = {"view_names": VIEWS, **data}
    return Config(
        data=DataConfig(data_dir=root, **arguments),
        training=TrainingConfig(uniform_heatmaps_for_nan_keypoints=uniform),
    )


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def write_boxes(root: Path) -> dict[str, np.ndarray]:
    """One box per image, of another size in every row."""
    values = {}
    for view in VIEWS:
        images = [image_name(frame, view) for frame in FRAMES]
        values[view] = np.array([[10.0 + i, 20.0, 40.0 + 2 * i, 30.0 + i] for i in range(len(images))])
        write_labeled_boxes(root / f"bboxes_{view}.csv", images, values[view])
    return values


def test_plain_project(root: Path) -> None:
    found = read_project(config_of(root))
    assert len(found) == 3
    assert found.view_names == VIEWS
    assert found.keypoint_names == NAMES
    assert found.sessions == ("mon", "mon", "tue")
    assert found.image_names[2] == ("labeled-data/tue_top/img1.png", "labeled-data/tue_side_b/img1.png")
    assert found.image_paths[0][1] == root / "labeled-data/mon_side_b/img1.png"
    assert found.points.shape == (3, 2, 3, 2)
    np.testing.assert_array_equal(found.points[1, 0], [[1.5, 0], [1.5, 1], [1.5, 2]])
    np.testing.assert_array_equal(found.file_sizes[0], [[8, 6], [12, 10]])
    assert found.boxes is None
    assert found.cameras == (None, None, None)
    assert found.warnings == ()
    np.testing.assert_array_equal(found.points_full, found.points)
    np.testing.assert_array_equal(found.crop_to_full, np.broadcast_to(np.eye(2, 3), (3, 2, 2, 3)))


@pytest.mark.parametrize(("uniform", "missing"), [(False, 0), (True, 1)])
def test_missing_labels_without_a_visible_column(root: Path, uniform: bool, missing: int) -> None:
    found = read_project(config_of(root, uniform))
    expected = np.full((3, 2, 3), 2)
    expected[2, :, 0] = missing
    np.testing.assert_array_equal(found.visibility, expected)
    assert found.visibility.dtype == np.int8


@pytest.mark.parametrize("uniform", [False, True])
def test_visible_column(root: Path, uniform: bool) -> None:
    for view in VIEWS:
        rows = {
            image_name(frame, view): [1, 2, 2, 3, 4, 1, 5, 6, 0] if i else [None, None, 0, None, None, 1, 5, 6, 2]
            for i, frame in enumerate(FRAMES)
        }
        write_table(root / f"CollectedData_{view}.csv", rows, ("x", "y", "visible"))
    found = read_project(config_of(root, uniform))
    np.testing.assert_array_equal(found.visibility[:2, 0], [[0, 1, 2], [2, 1, 0]])
    # Occluded points keep their coordinates, points marked not labeled lose them.
    np.testing.assert_array_equal(found.points[1, 0], [[1, 2], [3, 4], [np.nan, np.nan]])
    assert np.isnan(found.points[0, 0, :2]).all()


def test_a_view_without_an_image_of_a_frame(root: Path) -> None:
    edit(root / "CollectedData_top.csv", "labeled-data/mon_top/img2.png,1.5,0,1.5,1,1.5,2", ",,,,,,")
    rig().save(root / "calibration.toml")
    found = read_project(config_of(root, uniform=True))
    assert found.image_names[1] == (None, "labeled-data/mon_side_b/img2.png")
    assert found.image_paths[1][0] is None
    assert found.sessions[1] == "mon"
    assert np.isnan(found.points[1, 0]).all()
    assert (found.visibility[1, 0] == 0).all()
    assert found.file_sizes[1, 0].tolist() == [0, 0]
    assert np.isfinite(found.points[1, 1]).all()
    assert np.isfinite(found.crop_to_full).all()


def test_a_view_without_an_image_needs_no_box(root: Path) -> None:
    values = write_boxes(root)
    edit(root / "CollectedData_top.csv", "labeled-data/mon_top/img2.png,1.5,0,1.5,1,1.5,2", ",,,,,,")
    edit(root / "bboxes_top.csv", "labeled-data/mon_top/img2.png,11,20,31,42\n", "")
    found = read_project(config_of(root, bbox_file=("bboxes_top.csv", "bboxes_side_b.csv")))
    assert found.boxes is not None
    assert np.isnan(found.boxes[1, 0]).all()
    np.testing.assert_array_equal(found.boxes[1, 1], values["side_b"][1])
    assert np.isfinite(found.crop_to_full).all()


def empty_box(root: Path, view: str, frame: tuple[str, str], cell: str = "nan") -> None:
    """Say that an image shows no animal, and take its labels away."""
    name = image_name(frame, view)
    for path, width in ((root / f"bboxes_{view}.csv", 4), (root / f"CollectedData_{view}.csv", 2 * len(NAMES))):
        lines = path.read_text().splitlines()
        empty = name + f",{cell if width == 4 else ''}" * width
        path.write_text("\n".join(empty if line.startswith(f"{name},") else line for line in lines) + "\n")


@pytest.mark.parametrize("cell", ["nan", ""])
def test_an_empty_box_is_a_view_without_an_animal(root: Path, cell: str) -> None:
    values = write_boxes(root)
    empty_box(root, "top", FRAMES[1], cell)
    (root / image_name(FRAMES[1], "top")).unlink()  # it is not even opened
    found = read_project(config_of(root, uniform=True, bbox_file=("bboxes_top.csv", "bboxes_side_b.csv")))
    assert found.image_names[1] == (None, image_name(FRAMES[1], "side_b"))
    assert found.boxes is not None
    assert np.isnan(found.boxes[1, 0]).all()
    np.testing.assert_array_equal(found.boxes[1, 1], values["side_b"][1])
    assert (found.visibility[1, 0] == 0).all()  # also where missing labels are trained as occluded
    assert (found.visibility[1, 1] == 2).all()
    assert found.file_sizes[1, 0].tolist() == [0, 0]
    assert np.isfinite(found.crop_to_full).all()
    assert found.warnings == ()


def test_a_frame_without_an_animal_in_any_view_is_left_out(root: Path) -> None:
    write_boxes(root)
    for view in VIEWS:
        empty_box(root, view, FRAMES[1])
    config = config_of(root, bbox_file=("bboxes_top.csv", "bboxes_side_b.csv"))
    found = read_project(config)
    assert found.sessions == ("mon", "tue")
    assert found.boxes is not None
    assert np.isfinite(found.boxes).all()
    (warning,) = found.warnings
    assert warning.startswith("left out 1 frame:")
    assert read_rows(config).lines[:, 0].tolist() == [4, 6]
    for frame in (FRAMES[0], FRAMES[2]):
        for view in VIEWS:
            empty_box(root, view, frame)
    with raises_input("empty-file", path="bboxes_top.csv"):
        read_project(config)


def test_labels_in_an_image_without_an_animal(root: Path) -> None:
    write_boxes(root)
    edit(root / "bboxes_top.csv", "labeled-data/mon_top/img2.png,11,20,31,42", "labeled-data/mon_top/img2.png,,,,")
    with raises_input("tables-differ", path="CollectedData_top.csv", line=5, row=image_name(FRAMES[1], "top")):
        read_project(config_of(root, bbox_file=("bboxes_top.csv", "bboxes_side_b.csv")))


def test_turned_images_are_read_as_stored_and_named(root: Path) -> None:
    image = Image.fromarray(np.zeros((6, 8, 3), np.uint8))
    image.getexif()[0x0112] = 6
    image.save(root / image_name(FRAMES[1], "top"), exif=image.getexif())
    found = read_project(config_of(root))
    np.testing.assert_array_equal(found.file_sizes[1, 0], [8, 6])
    assert found.turned is not None
    np.testing.assert_array_equal(np.argwhere(found.turned), [[1, 0]])
    (warning,) = found.warnings
    assert warning.startswith("found an EXIF orientation in 1 of 6 images")
    assert image_name(FRAMES[1], "top") in warning


def test_rows_that_are_empty_in_every_table_are_left_out(root: Path) -> None:
    for view in VIEWS:
        edit(root / f"CollectedData_{view}.csv", "x,y,x,y,x,y\n", "x,y,x,y,x,y\n,,,,,,\n")
    assert read_project(config_of(root)).sessions == ("mon", "mon", "tue")


def test_boxes_map_crop_px_to_full_image_px(root: Path) -> None:
    values = write_boxes(root)
    lines = (root / "bboxes_top.csv").read_text().splitlines()
    (root / "bboxes_top.csv").write_text(
        "\n".join([lines[0], *reversed(lines[1:])]) + "\n"
    )  # rows go by image, not place
    found = read_project(config_of(root, bbox_file=("bboxes_top.csv", "bboxes_side_b.csv")))
    for row in range(3):
        for view, name in enumerate(VIEWS):
            x, y, width, height = values[name][row]
            scale = np.array([width, height]) / found.file_sizes[row, view]
            expected = (found.points[row, view] + 0.5) * scale - 0.5 + [x, y]
            np.testing.assert_allclose(found.points_full[row, view], expected, atol=1e-12)


def test_tables_and_views_are_found_by_name(root: Path) -> None:
    for data in (
        {"view_names": None},
        {"view_names": None, "csv_file": ("CollectedData_side_b.csv", "CollectedData_top.csv")},
        {"view_names": ("side_b", "top")},
    ):
        assert read_project(config_of(root, **data)).view_names == ("side_b", "top")
    (root / "CollectedData_top.csv").rename(root / "labels_top.csv")
    tables = ("labels_top.csv", "CollectedData_side_b.csv")
    found = read_project(config_of(root, view_names=None, csv_file=tables, bbox_file=None))
    assert found.view_names == ("top", "side_b")


def test_names_beyond_ascii(tmp_path: Path) -> None:
    """In the project's folder, sessions, image names, views and keypoints."""
    root = tmp_path / "Mäuse 鼠 №1"
    views, parts, frame = ("Süd", "上"), ("Öhrchen", "尾"), ("Käfig é", "bild ü.png")
    for view in views:
        path = root / image_name(frame, view)
        path.parent.mkdir(parents=True)
        path.write_bytes(cv2.imencode(".png", np.full((6, 8, 3), 7, np.uint8))[1].tobytes())
        header = f"scorer,ich,ich,ich,ich\nbodyparts,{parts[0]},{parts[0]},{parts[1]},{parts[1]}\ncoords,x,y,x,y\n"
        table = header + f"{image_name(frame, view)},1,2,3,4\n"
        (root / f"CollectedData_{view}.csv").write_text(table, encoding="utf-8")
        write_labeled_boxes(root / f"bboxes_{view}.csv", [image_name(frame, view)], np.array([[1.0, 2, 80, 60]]))
    (root / "calibrations").mkdir()
    rig(views).save(root / "calibrations" / f"{frame[0]}.toml")
    files = tuple(f"bboxes_{view}.csv" for view in views)
    for table in (None, "welche é.csv"):
        if table is not None:
            text = f",file\n{frame[0]}/{frame[1]},calibrations/{frame[0]}.toml\n"
            (root / table).write_text(text, encoding="utf-8")
        found = read_project(config_of(root, view_names=views, bbox_file=files, camera_params_file=table))
        assert found.keypoint_names == parts
        assert found.sessions == (frame[0],)
        assert found.boxes is not None
        assert found.cameras[0] is not None
        assert found.cameras[0].names == views
        path = found.image_paths[0][1]
        assert path is not None
        assert (read_image(path) == 7).all()
    assert read_project(config_of(root, view_names=None)).view_names == tuple(sorted(views))


def test_image_names_written_on_windows(root: Path) -> None:
    path = root / "CollectedData_top.csv"
    path.write_text(path.read_text().replace("labeled-data/mon_top/", "labeled-data\\mon_top\\"))
    found = read_project(config_of(root))
    assert found.sessions == ("mon", "mon", "tue")
    assert found.image_paths[0][0] == root / "labeled-data/mon_top/img1.png"


def test_one_view_without_its_name_in_the_folder(root: Path) -> None:
    edit(root / "CollectedData_top.csv", "mon_top", "mon_side_b")
    (root / "CollectedData_top.csv").rename(root / "CollectedData.csv")
    found = read_project(config_of(root, view_names=None, csv_file=("CollectedData.csv",)))
    assert found.view_names == ("CollectedData",)
    assert found.sessions == ("mon_side_b", "mon_side_b", "tue_top")


def test_views_in_another_order_than_their_tables(root: Path) -> None:
    tables = tuple(f"CollectedData_{view}.csv" for view in VIEWS)
    with raises_input("tables-differ", key="data.view_names", view=VIEWS[1], found=VIEWS[0]):
        read_project(config_of(root, view_names=VIEWS[::-1], csv_file=tables, bbox_file=None))
    read_project(config_of(root, view_names=VIEWS[::-1], csv_file=tables[::-1], bbox_file=None))
    # Folders that end in no view, or in that of the table, say nothing.
    read_project(config_of(root, view_names=("p", "side_b"), csv_file=tables, bbox_file=None))


def test_tables_of_a_view_without_a_name_have_none(root: Path, tmp_path: Path) -> None:
    (root / "CollectedData_top.csv").rename(root / "CollectedData.csv")
    found = read_project(config_of(root, view_names=None, csv_file=("CollectedData.csv",), bbox_file=None))
    points = np.nan_to_num(found.points)
    predicted = FramePredictions(index=np.arange(3), points=points, confidence=np.full(points.shape[:-1], 0.5))
    write_project_predictions(tmp_path / "run", found, predicted, None, None)
    prelabels = read_prelabels(tmp_path / "run", found)
    assert prelabels.paths == (tmp_path / "run" / "predictions.csv",)
    np.testing.assert_allclose(prelabels.likelihood[:, 0], 0.5)


def test_calibration_by_session_then_common_then_none(root: Path) -> None:
    (root / "calibrations").mkdir()
    rig(VIEWS[::-1]).save(root / "calibrations" / "mon.toml")
    found = read_project(config_of(root, bbox_file=None))
    first, second, third = found.cameras
    assert first is not None
    assert first is second
    assert first.names == VIEWS  # reordered by name
    np.testing.assert_allclose(first.rotation, rig(VIEWS[::-1]).select(VIEWS).rotation, atol=1e-12)
    assert third is None
    assert any("no calibration for session tue: its frames (1)" in warning for warning in found.warnings)
    rig(("other", *VIEWS)).save(root / "calibration.toml")
    found = read_project(config_of(root))
    assert found.cameras[2] is not None
    assert found.cameras[2] is not found.cameras[0]
    assert not any("no calibration" in warning for warning in found.warnings)


@pytest.mark.parametrize("kind", ["by frame", "by position", "named in the config"])
def test_calibration_table(root: Path, kind: str) -> None:
    rig().save(root / "a.toml")
    rig().save(root / "b.toml")
    rig().save(root / "calibration.toml")
    files = {("mon", "img1.png"): "b.toml", ("mon", "img2.png"): "", ("tue", "img1.png"): "a.toml"}
    frames = FRAMES if kind == "by position" else FRAMES[::-1]
    lines = [f"{'' if kind == 'by position' else f'labeled-data/{s}/'}{n},x,{files[s, n]}" for s, n in frames]
    name = "which.csv" if kind == "named in the config" else "calibrations.csv"
    (root / name).write_text("\n".join([",note,file", *lines]) + "\n")
    found = read_project(config_of(root, camera_params_file=name if kind == "named in the config" else None))
    assert [group is None for group in found.cameras] == [False, True, False]
    assert found.cameras[0] is not found.cameras[2]
    assert any("no calibration for session mon: its frames (1)" in warning for warning in found.warnings)


def test_images_of_another_size_than_calibrated(root: Path) -> None:
    """The rule is in the docstring of mvtrain.project.calibrations."""
    cameras = rig()
    cameras.save(root / "calibration.toml")
    (warning, other) = read_project(config_of(root)).warnings
    assert (
        "another size than that of the calibration in 3 of 3 images of view top, such as 8x6 instead of 640x480 px: "
        "without bounding boxes they are taken as full images, so 3D will be wrong"
    ) in warning
    assert "3 of 3 images of view side_b" in other
    assert "such as 12x10 instead of 640x480 px" in other
    dataclasses.replace(cameras, sizes=np.array([SIZES[view] for view in VIEWS], float)).save(root / "calibration.toml")
    assert read_project(config_of(root)).warnings == ()
    edit(root / "CollectedData_top.csv", "labeled-data/mon_top/img2.png,1.5,0,1.5,1,1.5,2", ",,,,,,")
    assert read_project(config_of(root)).warnings == ()


@pytest.mark.parametrize(("width", "is_right"), [(1088, True), (1078, True), (1077, False), (1098, True), (640, False)])
def test_a_full_image_may_differ_from_its_calibration_by_one_percent(root: Path, width: int, is_right: bool) -> None:
    path = root / image_name(FRAMES[1], "top")
    path.write_bytes(cv2.imencode(".png", np.zeros((6, width, 3), np.uint8))[1].tobytes())
    dataclasses.replace(rig(), sizes=np.array([(1088, 6), SIZES["side_b"]], float)).save(root / "calibration.toml")
    (warning,) = read_project(config_of(root)).warnings
    number = 2 if is_right else 3  # the other two images of this view are 8 px wide
    assert f"in {number} of 3 images of view top" in warning


def test_boxes_outside_the_calibrated_image(root: Path) -> None:
    """Stored crops have any size, but their boxes lie in the full image."""
    write_boxes(root)
    config = config_of(root, bbox_file=("bboxes_top.csv", "bboxes_side_b.csv"))
    rig().save(root / "calibration.toml")
    assert read_project(config).warnings == ()
    dataclasses.replace(rig(), sizes=np.array([[64.0, 48.0], [31.0, 480.0]])).save(root / "calibration.toml")
    (warning,) = read_project(config).warnings
    assert (
        "the center of 2 of 3 bounding boxes of view side_b outside the 31x480 px image of their calibration, such "
        "as x, y, width, height = [11.0, 20.0, 42.0, 31.0]"
    ) in warning


def test_labels_boxes_and_calibration_agree_in_3d(root: Path) -> None:
    """Project a subject into the full images, through the boxes into the crops, read all back and triangulate."""
    cameras = rig()
    cameras.save(root / "calibration.toml")
    values = write_boxes(root)
    truth = np.random.default_rng(0).normal(0, 0.3, (3, 3, 3))
    pixels = project(truth, cameras)
    for view, name in enumerate(VIEWS):
        corner, extent = values[name][:, None, :2], values[name][:, None, 2:]
        in_crop = (pixels[:, view] + 0.5 - corner) * SIZES[name] / extent - 0.5
        rows = {image_name(frame, name): in_crop[i].reshape(-1).tolist() for i, frame in enumerate(FRAMES)}
        write_table(root / f"CollectedData_{name}.csv", rows)
    found = read_project(config_of(root, bbox_file=("bboxes_top.csv", "bboxes_side_b.csv")))
    assert found.cameras[0] is not None
    np.testing.assert_allclose(triangulate(found.points_full, found.cameras[0]), truth, atol=1e-9)


@pytest.mark.skipif(not HUMAN4.is_file(), reason="../shared/data/human4 is absent")
def test_human4() -> None:
    found = read_project(load_config(HUMAN4))
    assert found.points.shape == (100, 4, 19, 2)
    assert set(found.sessions) == {"balancing"}
    assert (found.file_sizes == 320).all()
    assert found.boxes is not None
    assert found.warnings == ()
    assert all(group is found.cameras[0] for group in found.cameras)
    np.testing.assert_array_equal(found.visibility == 2, np.isfinite(found.points).all(-1))
    cameras = found.cameras[0]
    assert cameras is not None
    error = reprojection_error(triangulate(found.points_full, cameras), found.points_full, cameras)
    # The rig's known quality (see ../shared/README.md); half a pixel of wrong crop would not show, wrong boxes would.
    assert 9 < np.nanmedian(error) < 14


def test_data_dir(tmp_path: Path) -> None:
    with raises_input("missing-field", key="data.data_dir"):
        read_project(config_of(None))
    with raises_input("missing-file", key="data.data_dir", path=tmp_path / "absent"):
        read_project(config_of(tmp_path / "absent"))
    (tmp_path / "file").touch()
    with raises_input("not-a-folder", key="data.data_dir", path=tmp_path / "file"):
        read_project(config_of(tmp_path / "file"))


def test_missing_label_table(root: Path) -> None:
    with raises_input("missing-file", key="data.csv_file", path=root / "Collected_side.csv") as caught:
        read_project(config_of(root, csv_file=("CollectedData_top.csv", "Collected_side.csv")))
    assert "CollectedData_side_b.csv, CollectedData_top.csv" in str(caught.value)
    with raises_input("missing-file", key="data.view_names", path=root / "CollectedData_left.csv"):
        read_project(config_of(root, view_names=("left",)))
    for view in VIEWS:
        (root / f"CollectedData_{view}.csv").unlink()
    with raises_input("missing-file", key="data.csv_file", path=root):
        read_project(config_of(root, view_names=None))


def test_views_that_cannot_be_distinguished(root: Path) -> None:
    (root / "more").mkdir()
    names = ("CollectedData_top.csv", "more/CollectedData_top.csv")
    (root / names[1]).write_text((root / names[0]).read_text())
    with raises_input("duplicate-name", key="data.view_names", name="top"):
        read_project(config_of(root, view_names=None, csv_file=names))


SIDE_IMAGE = "labeled-data/mon_side_b/img2.png"
TOP_ROW = "labeled-data/mon_top/img2.png,1.5,0,1.5,1,1.5,2"


@pytest.mark.parametrize(
    ("old", "new", "code", "facts"),
    [
        (TOP_ROW + "\n", "", "tables-differ", {"found": (2, 3), "view": "top", "name": SIDE_IMAGE}),
        (TOP_ROW + "\n", TOP_ROW + "\n,,,,,,\n", "tables-differ", {"found": (4, 3), "view": "side_b", "name": None}),
        ("mon_top/img2.png", "mon_top/img9.png", "tables-differ", {"row": 2, "line": 5, "view": "side_b"}),
        ("mon_top/img2.png", "tue_top/img2.png", "tables-differ", {"row": 2, "line": 5, "view": "side_b"}),
        ("tail,tail", "tails,tails", "keypoints-differ", {"expected": ("nose", "tails", "ear"), "found": NAMES}),
        ("tail,tail", "nose,nose", "bad-header", {"column": 2, "keypoint": "nose"}),
        ("coords,x,y", "coords,y,x", "bad-header", {"column": 2, "keypoint": "nose"}),
        (TOP_ROW, TOP_ROW.replace("1.5,1,", "1.5,one,"), "bad-number", {"line": 5, "column": 5, "found": "one"}),
        (
            "mon_top/img2.png",
            "mon_top/img1.png",
            "duplicate-name",
            {"line": 5, "name": "labeled-data/mon_top/img1.png"},
        ),
    ],
)
def test_tables_that_do_not_agree(root: Path, old: str, new: str, code: str, facts: dict[str, Any]) -> None:
    edit(root / "CollectedData_top.csv", old, new)
    with raises_input(code, **facts):
        read_project(config_of(root))


@pytest.mark.parametrize("name", ["CollectedData_top.csv", "CollectedData.csv", "labels_of_mouse.csv"])
def test_a_single_table_without_view_names_is_a_view_without_a_name(root: Path, name: str) -> None:
    """As in Lightning Pose, which then knows no calibration either: `top` might be a person, or a day."""
    rig(("front", "back")).save(root / "calibration.toml")
    (root / "CollectedData_top.csv").rename(root / name)
    found = read_project(config_of(root, view_names=None, csv_file=(name,), bbox_file=None))
    assert found.view_names == (TABLE,)
    assert found.sessions == ("mon_top", "mon_top", "tue_top")
    assert found.cameras == (None, None, None)
    named = read_project(config_of(root, view_names=("front",), csv_file=(name,), bbox_file=None))
    assert named.view_names == ("front",)
    assert all(cameras is not None for cameras in named.cameras)


def test_visible_column_in_one_view_only(root: Path) -> None:
    rows = {image_name(frame, "top"): [1, 2, 2] * 3 for frame in FRAMES}
    write_table(root / "CollectedData_top.csv", rows, ("x", "y", "visible"))
    for uniform, missing in ((False, 0), (True, 1)):
        visibility = read_project(config_of(root, uniform)).visibility
        assert visibility[-1, :, 0].tolist() == [2, missing]  # the last nose is missing in the other view


def test_keypoints_that_disagree_with_the_config(root: Path) -> None:
    with raises_input("keypoints-differ", key="data.num_keypoints", found=4, expected=3):
        read_project(config_of(root, num_keypoints=4))
    for names, difference in ((("nose", "ear", "tail"), "keypoint 2 is 'ear'"), (("nose", "tail"), "has 2 keypoints")):
        with raises_input("keypoints-differ", key="data.keypoint_names", found=names, expected=NAMES) as caught:
            read_project(config_of(root, keypoint_names=names))
        assert difference in str(caught.value)
    assert read_project(config_of(root, num_keypoints=3, keypoint_names=NAMES)).keypoint_names == NAMES


def test_projects_without_rows_or_labels(root: Path) -> None:
    for view in VIEWS:
        write_table(root / f"CollectedData_{view}.csv", {image_name(frame, view): [None] * 6 for frame in FRAMES})
    with raises_input("no-labels", path=root):
        read_project(config_of(root))
    for view in VIEWS:
        write_table(root / f"CollectedData_{view}.csv", {})
    with raises_input("empty-file", path=root / "CollectedData_top.csv"):
        read_project(config_of(root))


def test_missing_and_unreadable_images(root: Path) -> None:
    path, table = root / "labeled-data/tue_top/img1.png", root / "CollectedData_top.csv"
    path.write_text("no image")
    with raises_input("damaged-file", path=path, table=table, line=6):
        read_project(config_of(root))
    path.unlink()
    with raises_input("missing-file", path=path, table=table, line=6):
        read_project(config_of(root))
    edit(table, "labeled-data/tue_top", "labeled\0data/tue_top")
    with raises_input("damaged-file", table=table, line=6):
        read_project(config_of(root))


def test_calibrations_that_do_not_fit(root: Path) -> None:
    path = root / "calibration.toml"
    rig(("top", "side")).save(path)
    with raises_input("missing-view", path=path, view="side_b", found=("top", "side")):
        read_project(config_of(root))
    path.write_text("[cam_0\n")
    with raises_input("invalid-syntax") as caught:
        read_project(config_of(root))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "code", "facts"),
    [
        ("", "missing-column", {"column": "file"}),
        (",path\na,b\n", "missing-column", {"column": "file"}),
        (",file\nmon/img1.png\n", "wrong-count", {"line": 2, "found": 1, "expected": 2}),
        (',file\nmon/img1.png,"a.toml\n', "invalid-syntax", {"line": 2}),
        (
            ",file\nmon/img1.png,a.toml\nmon/img2.png,a.toml\n",
            "missing-row",
            {"row": "img1.png", "session": "tue"},
        ),
        (
            ",file\nmon/img1.png,a.toml\nmon/img2.png,a.toml\ntue/img1.png,a.toml\nmon/img1.png,b.toml\n",
            "duplicate-name",
            {"line": 5, "name": "mon/img1.png"},
        ),
    ],
)
def test_calibration_tables_that_do_not_fit(root: Path, text: str, code: str, facts: dict[str, Any]) -> None:
    rig().save(root / "a.toml")
    (root / "calibrations.csv").write_text(text)
    with raises_input(code, path=root / "calibrations.csv", **facts):
        read_project(config_of(root))


def test_a_calibration_table_may_have_backslashes_as_image_columns_do(root: Path) -> None:
    expected = read_calibration_table(root, write_rows(root, "/"), [("a", "img1.png")])
    assert read_calibration_table(root, write_rows(root, "\\"), [("a", "img1.png")]) == expected


def write_rows(root: Path, separator: str) -> Path:
    (root / "calibrations").mkdir(exist_ok=True)
    (root / "calibrations" / "a.toml").touch()
    row = "labeled-data/a/img1.png,calibrations/a.toml".replace("/", separator)
    (root / "calibrations.csv").write_text(f"image,file\n{row}\n")
    return root / "calibrations.csv"


@pytest.mark.parametrize("folder", ["", "labeled-data/mon_top/", "labeled-data/tue/"])
def test_rows_of_a_calibration_table_correspond_in_order_unless_they_are_of_another_session(
    root: Path, folder: str
) -> None:
    (root / "a.toml").touch()
    table = root / "calibrations.csv"
    table.write_text(f"image,file\n{folder}img1.png,a.toml\n")
    if folder == "labeled-data/tue/":
        with raises_input("missing-row", path=table, session="mon"):
            read_calibration_table(root, table, [("mon", "img1.png")])
    else:
        assert read_calibration_table(root, table, [("mon", "img1.png")]) == (root / "a.toml",)


def test_missing_file_of_a_calibration_table(root: Path) -> None:
    rig().save(root / "a.toml")
    table = root / "calibrations.csv"
    table.write_text(",file\nmon/img1.png,a.toml\nmon/img2.png,b.toml\ntue/img1.png,a.toml\n")
    with raises_input("missing-file", path=root / "b.toml", table=table, line=3):
        read_project(config_of(root))


def test_calibration_table_that_cannot_be_read(root: Path) -> None:
    with raises_input("missing-file", path=root / "absent.csv"):
        read_project(config_of(root, camera_params_file="absent.csv"))
    (root / "latin.csv").write_bytes(b",file\n\xe9/img1.png,a.toml\n")
    with raises_input("not-text", path=root / "latin.csv"):
        read_project(config_of(root, camera_params_file="latin.csv"))


def test_boxes_that_do_not_fit(root: Path) -> None:
    write_boxes(root)
    path = root / "bboxes_top.csv"
    config = config_of(root, bbox_file=("bboxes_top.csv", "bboxes_side_b.csv"))
    whole = path.read_text()
    edit(path, "labeled-data/mon_top/img2.png", "labeled-data/mon_top/img8.png")
    with raises_input("missing-row", path=path, row="labeled-data/mon_top/img2.png"):
        read_project(config)
    path.write_text(whole.replace("img2.png,11,20,31,42", "img2.png,11,20,0,42"))
    with raises_input("out-of-range", path=path, line=3):
        read_project(config)
    path.unlink()
    with raises_input("unreadable-file", path=path):
        read_project(config)


def test_a_calibration_of_turned_images_is_named(root: Path) -> None:
    cameras = rig()
    cameras.replace(sizes=np.array([[6.0, 8], [12, 10]])).save(root / "calibration.toml")
    (warning,) = read_project(config_of(root)).warnings
    assert "such as 8x6 instead of 6x8 px" in warning
    assert warning.endswith("whatever their EXIF orientation")
    cameras.replace(sizes=np.array([[16.0, 12], [12, 10]])).save(root / "calibration.toml")
    (warning,) = read_project(config_of(root)).warnings
    assert "EXIF" not in warning
