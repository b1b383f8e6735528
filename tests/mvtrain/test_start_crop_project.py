"""`mvtrain crop`: crops whose labels are the same full-image px, and boxes where labels are missing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from helpers.errors import raises_input
from helpers.tiny import generate_tiny_project
from mvgeom import project as project_points
from mvgeom.tables import read_labeled_boxes
from mvtrain.config import load_config
from mvtrain.project.images import read_image, read_stored
from mvtrain.project.labels_3d import triangulate_labels
from mvtrain.project.project import Project, read_project
from mvtrain.start.crop_project import SOURCES, CropOptions, crop_project, find_subject_boxes

WIDTH = 160


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with whole images, larger than the animal."""
    folder = tmp_path_factory.mktemp("crop") / "whole"
    return generate_tiny_project(
        folder, size=(WIDTH, 128), num_frames=6, num_video_frames=6, seed=4, image_format="png"
    )


@pytest.fixture
def whole(generated: Path, tmp_path: Path) -> Path:
    """A copy with links to the images, whose tables a test may change."""
    folder = tmp_path / "whole"
    folder.mkdir()
    for path in generated.iterdir():
        if path.is_dir():
            (folder / path.name).symlink_to(path)
        else:
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "points_3d.csv").unlink()
    return folder


def crop(folder: Path, **options: Any) -> tuple[Path, str]:
    output = folder.parent / "crops"
    console = Console(record=True, width=300, file=io.StringIO(), markup=False)
    crop_project(load_config(folder / "config.yaml"), CropOptions(output=output, **options), console)
    return output, console.export_text()


def read(folder: Path) -> Project:
    return read_project(load_config(folder / "config.yaml"))


def erase(folder: Path, view: str, row: int, *, keep: int = 0) -> None:
    """Remove the labels of a row, but for the first `keep` keypoints."""
    path = folder / f"CollectedData_{view}.csv"
    lines = path.read_text().splitlines()
    cells = lines[3 + row].split(",")
    lines[3 + row] = ",".join([*cells[: 1 + 3 * keep], *[""] * (len(cells) - 1 - 3 * keep)])
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("margin", [0.0, 0.3, 3.0])
def test_labels_keep_their_full_image_px(whole: Path, margin: float) -> None:
    before = read(whole)
    output, _ = crop(whole, margin=margin)
    after = read(output)
    np.testing.assert_allclose(after.points_full, before.points_full, atol=1e-6, rtol=0)
    assert np.array_equal(after.visibility, before.visibility)
    assert after.sessions == before.sessions
    assert [group is None for group in after.cameras] == [False] * len(after)
    assert after.boxes is not None
    # Boxes are whole pixels inside the image, and images are exactly these pixels.
    assert np.array_equal(after.boxes, np.round(after.boxes))
    assert (after.boxes[..., :2] >= 0).all()
    assert (after.boxes[..., :2] + after.boxes[..., 2:] <= before.file_sizes).all()
    assert np.array_equal(after.boxes[..., 2:], after.file_sizes)
    for row, view in np.ndindex(len(after), len(after.view_names)):
        x, y, width, height = after.boxes[row, view].astype(int)
        there, here = before.image_paths[row][view], after.image_paths[row][view]
        assert there is not None
        assert here is not None
        assert np.array_equal(read_image(here), read_image(there)[y : y + height, x : x + width])
    inside = (after.points > -0.5).all(-1) & (after.points < after.file_sizes[:, :, None] - 0.5).all(-1)
    assert inside[np.isfinite(after.points).all(-1)].all()


def test_a_crop_of_a_crop_px_to_full_image_px_is_exact(whole: Path) -> None:
    output, _ = crop(whole)
    table = pd.read_csv(output / "CollectedData_cam1.csv", header=[0, 1, 2], index_col=0)
    original = pd.read_csv(whole / "CollectedData_cam1.csv", header=[0, 1, 2], index_col=0)
    boxes = read_labeled_boxes(output / "bboxes_cam1.csv").select(table.index)
    for axis, name in enumerate("xy"):
        moved = table.xs(name, axis=1, level=2).to_numpy() + boxes[:, axis, None]
        written = original.xs(name, axis=1, level=2).to_numpy()
        np.testing.assert_array_equal(np.round(moved, 4), written)


def test_missing_labels_of_a_view_get_the_box_of_the_projections(whole: Path) -> None:
    full = read(whole)
    expected = find_subject_boxes(full, margin=0.2).boxes[2, 0]
    erase(whole, "cam1", 2)
    output, printed = crop(whole)
    found = find_subject_boxes(read(whole), margin=0.2)
    assert SOURCES[found.sources[2, 0]] == "3D"
    one, other = found.boxes[2, 0], expected
    assert np.abs(one - other).max() < 0.35 * other[2]
    origins = pd.read_csv(output / "crops.csv").set_index(["image", "view"])["box_from"]
    assert (origins == "3D").sum() == 1
    assert "1 from 3D" in printed
    # All keypoints that the others triangulate are in it.
    points = np.asarray(project_points(triangulate_labels(read(whole))[2], full.cameras[2]))[0]
    known = points[np.isfinite(points).all(-1) & (points > 0).all(-1) & (points < [WIDTH, 128]).all(-1)]
    assert ((known >= one[:2] - 0.5) & (known <= one[:2] + one[2:] - 0.5)).all()


def test_without_3d_the_nearest_frame_gives_the_box(whole: Path) -> None:
    for view in ("cam1", "cam2", "cam3"):
        erase(whole, view, 1, keep=0 if view != "cam3" else 3)
    erase(whole, "cam1", 0)
    (whole / "calibrations").unlink()
    found = find_subject_boxes(read(whole), margin=0.2)
    numbers = [int(str(names[0]).split("img")[1][:8]) for names in read(whole).image_names]
    assert SOURCES[found.sources[1, 0]] == "nearest frame"
    nearest = min((2, 3, 4, 5), key=lambda row: abs(numbers[row] - numbers[1]))
    np.testing.assert_array_equal(found.boxes[1, 0], found.boxes[nearest, 0])
    # Three keypoints do not show how large the animal is: the box is not much smaller than a typical one.
    assert SOURCES[found.sources[1, 2]] == "labels"
    typical = np.median(found.boxes[[0, 2, 3, 4, 5], 2, 2])
    assert found.boxes[1, 2, 2] >= 0.6 * typical
    output, printed = crop(whole)
    assert "note: no calibration" in printed
    assert read(output).boxes is not None


def test_a_view_without_any_label_stays_whole(whole: Path) -> None:
    for row in range(6):
        erase(whole, "cam2", row)
    (whole / "calibrations").unlink()
    found = find_subject_boxes(read(whole), margin=0.2)
    assert {SOURCES[source] for source in found.sources[:, 1]} == {"whole image"}
    assert found.boxes[0, 1].tolist() == [0, 0, WIDTH, 128]


def test_frames_without_labels_are_left_out(whole: Path) -> None:
    for view in ("cam1", "cam2", "cam3"):
        erase(whole, view, 3)
    output, printed = crop(whole)
    assert len(read(output)) == 5
    assert "left out 1 frame without any label" in printed


def test_an_absent_image_stays_absent(whole: Path) -> None:
    path = whole / "CollectedData_cam2.csv"
    lines = path.read_text().splitlines()
    lines[3] = "," * lines[3].count(",")
    path.write_text("\n".join(lines) + "\n")
    output, _ = crop(whole)
    after = read(output)
    assert after.image_names[0][1] is None
    assert after.boxes is not None
    assert np.isnan(after.boxes[0, 1]).all()


def test_the_config_keeps_the_backbone(whole: Path) -> None:
    text = (whole / "config.yaml").read_text()
    (whole / "config.yaml").write_text(text.replace("backbone: vits_dino", "backbone: vitb_dino"))
    output, _ = crop(whole)
    config = load_config(output / "config.yaml")
    assert config.model.backbone == "vitb_dino"
    assert config.data.bbox_file is not None
    assert config.data.video_dir is not None
    assert config.data.video_dir.samefile(whole / "videos")
    assert not config.eval.predict_vids_after_training


def test_what_cannot_be_cropped(whole: Path, tmp_path: Path) -> None:
    with raises_input("out-of-range", argument="--margin"):
        crop(whole, margin=-0.1)
    output, _ = crop(whole)
    with raises_input("occupied-folder"):
        crop(whole)
    with raises_input("bad-value", key="data.bbox_file"):
        crop_project(load_config(output / "config.yaml"), CropOptions(output=tmp_path / "x"), Console(quiet=True))


def test_a_session_with_two_calibrations(whole: Path) -> None:
    project = read(whole)
    names = [str(names[0]).replace("_cam1/", "/") for names in project.image_names]
    (whole / "other.toml").write_bytes((whole / "calibrations" / "session1.toml").read_bytes())
    files = ["calibrations/session1.toml", *["other.toml"] * 5]
    rows = "\n".join(f"{name},{file}" for name, file in zip(names, files, strict=True))
    (whole / "calibrations.csv").write_text(f",file\n{rows}\n")
    with raises_input("bad-value", session="session1"):
        crop(whole)
    assert not (whole.parent / "crops").exists()


def test_crops_of_16_bits_are_the_pixels_of_the_files(whole: Path) -> None:
    """A dark image stays dark: 16 bits are not scaled by each image's own maximum."""
    images = whole / "labeled-data"
    source = images.resolve()
    images.unlink()
    for number, path in enumerate(sorted(source.rglob("*.png"))):
        target = images / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        deep = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16) * (16 if number % 2 else 3)
        cv2.imwrite(str(target), deep if number % 3 else deep[..., 0])
    before = read(whole)
    output, _ = crop(whole)
    after = read(output)
    assert after.boxes is not None
    for row, view in np.ndindex(len(after), len(after.view_names)):
        x, y, width, height = after.boxes[row, view].astype(int)
        there, here = before.image_paths[row][view], after.image_paths[row][view]
        assert there is not None
        assert here is not None
        found = read_stored(here)
        assert found.dtype == np.uint16
        assert np.array_equal(found, read_stored(there)[y : y + height, x : x + width])


@pytest.mark.parametrize("calibrated", [False, True])
def test_the_next_command_can_work(whole: Path, calibrated: bool) -> None:
    """Tracking needs a calibration; without one, videos need boxes."""
    if not calibrated:
        for name in ("calibrations", "calibration.toml"):
            (whole / name).unlink(missing_ok=True)
        config = whole / "config.yaml"
        config.write_text(config.read_text().replace("imgaug_3d: true", "imgaug_3d: false"))
    output, printed = crop(whole)
    comment = (output / "config.yaml").read_text().partition("\ndata:")[0]
    for text in (printed.rpartition("Next:")[2], comment):
        assert ("--track" in text, "--boxes" in text) == (calibrated, not calibrated)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", ["1e308", "-1e12"])
def test_a_label_that_is_nowhere_near_the_image(whole: Path, value: str) -> None:
    path = whole / "CollectedData_cam1.csv"
    lines = path.read_text().splitlines()
    cells = lines[4].split(",")
    cells[1:3] = [value, "3"]
    lines[4] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    with raises_input("out-of-range", path=path, found=(float(value), 3.0)):
        crop(whole)
