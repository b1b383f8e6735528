"""Crops of DeepLabCut and offsets of anipose as boxes of an imported project."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tomli_w
import yaml
from rich.console import Console

from helpers.foreign_rows import row, write_deeplabcut, write_image
from helpers.videos import moving_dot, write_video
from mvgeom import CameraGroup
from mvgeom.tables import read_labeled_boxes, read_video_boxes
from mvtrain.config import load_config
from mvtrain.exchange.run_import import ImportOptions, import_project
from mvtrain.project.project import Project, read_project

SIZE = (16, 12)
"""Size of the stored images in px."""
VIEWS = ("side", "top")


def write_cameras(path: Path, size: tuple[int, int]) -> Path:
    group = CameraGroup(
        names=VIEWS,
        sizes=np.array([size, size], dtype=np.float64),
        matrix=np.array([[[50.0, 0, 8], [0, 50, 6], [0, 0, 1]]] * 2),
        distortion=np.zeros((2, 5)),
        rotation=np.array([np.eye(3)] * 2),
        translation=np.array([[0.0, 0, 5], [1, 0, 5]]),
    )
    group.save(path)
    return path


def write_labels(folder: Path, crop: str | None = None) -> Path:
    """Write a DeepLabCut project with two frames of two views; each has the crop in its config."""
    for view in VIEWS:
        video = f"mouse_{view}"
        for number in (1, 2):
            write_image(folder / "labeled-data" / video / f"img{number}.png", 50 * number, SIZE)
        rows = [row(f"labeled-data/{video}/img{number}.png") for number in (1, 2)]
        write_deeplabcut(folder / "labeled-data" / video, rows if view == "top" else rows[:1])
    entry = {} if crop is None else {"crop": crop}
    config = {"bodyparts": ["nose", "tail"], "video_sets": {f"C:\\v\\mouse_{view}.avi": entry for view in VIEWS}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def run(file_format: str, source: Path, out: Path, **options: object) -> Project:
    import_project(file_format, [source], ImportOptions(out=out, **options), Console(file=io.StringIO()))
    return read_project(load_config(out / "config.yaml"))


@pytest.mark.parametrize(
    ("crop", "calibrated", "corner"),
    [
        (f"100, {100 + SIZE[0]}, 30, {30 + SIZE[1]}", (640, 480), (100, 30)),
        (f"0, {SIZE[0]}, 0, {SIZE[1]}", (640, 480), (0, 0)),
        (f"0, {SIZE[0]}, 0, {SIZE[1]}", SIZE, None),
        (f"0, {SIZE[0]}, 0, {SIZE[1]}", None, None),
        (f"5, {SIZE[0]}, 0, {SIZE[1]}", None, None),
    ],
    ids=["corner", "at the origin", "whole image", "unknown size", "not of these images"],
)
def test_crops_of_deeplabcut(
    tmp_path: Path, crop: str, calibrated: tuple[int, int] | None, corner: tuple[int, int] | None
) -> None:
    source = write_labels(tmp_path / "dlc", crop)
    calibration = None if calibrated is None else write_cameras(tmp_path / "rig.toml", calibrated)
    project = run("deeplabcut", source, tmp_path / "out", calibration=calibration)
    if corner is None:
        assert project.boxes is None
    else:
        # The second frame of `side` has no labels; its image was cropped all the same.
        np.testing.assert_array_equal(project.boxes, np.full((2, 2, 4), (*corner, *SIZE)))


def test_a_crop_at_the_origin_of_a_larger_video(tmp_path: Path) -> None:
    source = write_labels(tmp_path / "dlc", f"0, {SIZE[0]}, 0, {SIZE[1]}")
    (source / "videos").mkdir()
    for view in VIEWS:
        write_video(source / "videos" / f"mouse_{view}.avi", [moving_dot(number) for number in range(3)])
    project = run("deeplabcut", source, tmp_path / "out")
    np.testing.assert_array_equal(project.boxes, np.full((2, 2, 4), (0, 0, *SIZE)))


def test_offsets_of_anipose(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "dlc", f"4, {4 + SIZE[0]}, 3, {3 + SIZE[1]}")
    # Frame 2 of `side` comes from its video.
    (labels / "labeled-data" / "mouse_side" / "img2.png").unlink()
    root = tmp_path / "anipose"
    (root / "mouse" / "videos-raw").mkdir(parents=True)
    for view in VIEWS:
        video = root / "mouse" / "videos-raw" / f"mouse_{view}.avi"
        write_video(video, [moving_dot(number) for number in range(3)])
    (root / "calibration").mkdir()
    write_cameras(root / "calibration" / "calibration.toml", (640, 480))
    document = {
        "model_folder": str(labels),
        "triangulation": {"cam_regex": "_([a-z]+)$"},
        "cameras": {"side": {"offset": [100, 200]}},
    }
    (root / "config.toml").write_text(tomli_w.dumps(document))
    out = tmp_path / "out"
    project = run("anipose", root, out, copy_videos=True)
    width, height = cv2.imread(str(out / "labeled-data" / "mouse_side" / "img00000002.png")).shape[1::-1]
    assert (width, height) != SIZE
    np.testing.assert_array_equal(
        project.boxes,
        [[[104, 203, *SIZE], [4, 3, *SIZE]], [[100, 200, width, height], [4, 3, *SIZE]]],
    )
    assert read_labeled_boxes(out / "bboxes_side.csv").images[0].endswith("mouse_side/img00000001.png")
    for view, corner in (("side", (100, 200)), ("top", (0, 0))):
        boxes = read_video_boxes(out / "videos" / f"mouse_{view}_bbox.csv")
        np.testing.assert_array_equal(boxes, np.tile([*corner, width, height], (3, 1)))
