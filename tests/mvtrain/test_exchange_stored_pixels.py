"""Labels of every importable format in px of the stored images: turned images, and images of another size."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from PIL import Image
from rich.console import Console

from helpers.errors import raises_input
from helpers.videos import moving_dot, write_video
from mvtrain.config import load_config
from mvtrain.exchange.run_import import READERS, ImportOptions, import_project
from mvtrain.project.images import from_turned, read_header, read_image
from mvtrain.project.project import Project, read_project

VIEWS = ("side", "top")
SIZE = (40, 30)
POINTS = np.array([[11.25, 7.5], [2.0, 21.0]])
"""Labels of `nose` and `tail`, in px that both the stored and the turned image have."""


def save_image(path: Path, size: tuple[int, int], orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), dtype=np.uint8))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def write_coco(folder: Path, images: Sequence[Path], stated: tuple[int, int] | None) -> Path:
    size = {} if stated is None else {"width": stated[0], "height": stated[1]}
    keypoints = [value for point in POINTS for value in (*point, 2)]
    document = {
        "images": [{"id": n, "file_name": str(path), **size} for n, path in enumerate(images)],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "keypoints": keypoints} for n in range(len(images))],
        "categories": [{"id": 1, "name": "mouse", "keypoints": ["nose", "tail"]}],
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder / "annotations.json"


def write_sleap(folder: Path, images: Sequence[Path], stated: tuple[int, int] | None) -> Path:
    """Label images of the stated size, which are replaced afterwards by those that are there."""
    import sleap_io

    skeleton = sleap_io.Skeleton(["nose", "tail"])
    frames, contents = [], [path.read_bytes() for path in images]
    for path in images:
        if stated is not None:
            save_image(path, stated)
        instance = sleap_io.Instance.from_numpy(POINTS, skeleton=skeleton)
        video = sleap_io.Video.from_filename([str(path)])
        frames.append(sleap_io.LabeledFrame(video=video, frame_idx=0, instances=[instance]))
    sleap_io.Labels(frames, skeletons=[skeleton]).save(str(folder / "labels.slp"))
    for path, content in zip(images, contents, strict=True):
        path.write_bytes(content)
    return folder / "labels.slp"


def write_deeplabcut(folder: Path, images: Sequence[Path], stated: tuple[int, int] | None) -> Path:
    assert stated is None
    for path in images:
        rows = [
            "scorer,me,me,me,me",
            "bodyparts,nose,nose,tail,tail",
            "coords,x,y,x,y",
            f"labeled-data/{path.parent.name}/{path.name},{','.join(map(str, POINTS.ravel()))}",
        ]
        (path.parent / "CollectedData_me.csv").write_text("\n".join(rows) + "\n")
    return folder


def write_anipose(folder: Path, images: Sequence[Path], stated: tuple[int, int] | None) -> Path:
    write_deeplabcut(folder, images, stated)
    project = folder / "anipose"
    project.mkdir()
    config = {"model_folder": str(folder), "triangulation": {"cam_regex": "_(side|top)$"}}
    (project / "config.toml").write_text(tomli_w.dumps(config))
    return project


def write_mmpose(folder: Path, images: Sequence[Path], stated: tuple[int, int] | None) -> Path:
    assert stated is None
    for path in images:
        person = {"keypoints": POINTS.tolist(), "keypoint_scores": [0.9, 0.9]}
        path.with_suffix(".json").write_text(json.dumps([person]))
    return folder / "labeled-data"


def write_openpose(folder: Path, images: Sequence[Path], stated: tuple[int, int] | None) -> Path:
    assert stated is None
    for path in images:
        person = {"pose_keypoints_2d": [value for x, y in POINTS for value in (x, y, 0.9)]}
        path.with_name(f"{path.stem}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": [person]}))
    return folder / "labeled-data"


Writer = Callable[[Path, Sequence[Path], tuple[int, int] | None], Path]
WRITERS: dict[str, Writer] = {
    "anipose": write_anipose,
    "coco": write_coco,
    "deeplabcut": write_deeplabcut,
    "mmpose": write_mmpose,
    "openpose": write_openpose,
    "sleap": write_sleap,
}
SIZED = ("coco", "sleap")
STATES_SIZE = {name: name in SIZED for name in ("anipose", "coco", "deeplabcut", "mmpose", "openpose", "sleap")}
TURNS_IMAGES = {
    "anipose": False,
    "coco": True,
    "deeplabcut": False,
    "mmpose": True,
    "openpose": True,
    "sleap": False,
}
"""Formats whose programs turn images by EXIF: COCO's are labeled in browsers, and OpenCV's reader does it for MMPose
and OpenPose. The others ignore EXIF."""


def run_import(
    folder: Path,
    file_format: str,
    *,
    orientation: int = 1,
    size: tuple[int, int] = SIZE,
    stated: bool | tuple[int, int],
) -> tuple[Project, str]:
    """Import one labeled frame of two views, the image of the second one turned by EXIF."""
    images = [
        save_image(folder / "labeled-data" / f"mouse_{view}" / "img001.png", size, orientation if number else 1)
        for number, view in enumerate(VIEWS)
    ]
    found = stated if isinstance(stated, tuple) else SIZE if stated else None
    source = WRITERS[file_format](folder, images, found if STATES_SIZE[file_format] else None)
    console = Console(file=io.StringIO(), width=300)
    options = ImportOptions(out=folder / "out", predictions=0.5 if file_format in ("mmpose", "openpose") else None)
    import_project(file_format, [source], options, console)
    output = console.file
    assert isinstance(output, io.StringIO)
    return read_project(load_config(folder / "out" / "config.yaml")), output.getvalue()


def test_every_format_is_in_these_tables() -> None:
    """A new reader says whether its files state sizes, and whether its program turns images."""
    assert set(WRITERS) == set(STATES_SIZE) == set(TURNS_IMAGES) == set(READERS)


@pytest.mark.parametrize("file_format", READERS)
def test_labels_of_upright_images_stay(tmp_path: Path, file_format: str) -> None:
    found, output = run_import(tmp_path, file_format, stated=True)
    np.testing.assert_array_equal(found.points, np.stack([[POINTS, POINTS]]))
    assert "EXIF" not in output
    assert "scaled" not in output


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("file_format", READERS)
def test_labels_of_turned_images(tmp_path: Path, file_format: str, orientation: int) -> None:
    """Images are imported as stored, without the tag, and labels are in their px."""
    stated = STATES_SIZE[file_format] and file_format != "coco"
    found, output = run_import(tmp_path, file_format, orientation=orientation, stated=stated)
    turned = from_turned(POINTS, orientation, SIZE) if TURNS_IMAGES[file_format] else POINTS
    np.testing.assert_array_equal(found.points[0], [POINTS, turned])
    assert found.turned is None
    assert found.file_sizes[0].tolist() == [list(SIZE)] * 2
    original = read_image(tmp_path / "labeled-data" / "mouse_top" / "img001.png")
    np.testing.assert_array_equal(found.read_image(0, 1), original)
    path = found.image_paths[0][1]
    assert path is not None
    assert read_header(path).orientation == 1
    assert ("EXIF" in output) == TURNS_IMAGES[file_format]


@pytest.mark.parametrize("file_format", SIZED)
def test_labels_of_images_of_another_size_are_scaled(tmp_path: Path, file_format: str) -> None:
    """Pixel centers are at whole numbers in both images."""
    found, output = run_import(tmp_path, file_format, size=(80, 60), stated=True)
    np.testing.assert_allclose(found.points[0], np.stack([(POINTS + 0.5) * 2 - 0.5] * 2))
    assert "labels are for 40x30 px, the image has 80x60 px" in output


@pytest.mark.parametrize("file_format", SIZED)
def test_images_of_another_aspect_ratio(tmp_path: Path, file_format: str) -> None:
    with raises_input("size-mismatch", path="img001.png", found=(80, 50), expected=SIZE):
        run_import(tmp_path, file_format, size=(80, 50), stated=True)
    assert not (tmp_path / "out").exists()


def test_a_size_that_is_rounded(tmp_path: Path) -> None:
    """A third of 40x31 px."""
    found, _ = run_import(tmp_path, "coco", size=(40, 31), stated=(13, 10))
    np.testing.assert_allclose(found.points[0, 0], (POINTS + 0.5) * [40 / 13, 3.1] - 0.5)


@pytest.mark.parametrize(
    ("point", "turned"),
    [((11.0, 7.0), False), ((20.0, 35.0), True)],
    ids=["inside of the stored image", "only inside of the turned image"],
)
def test_coco_that_states_the_size_of_the_stored_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: tuple[float, float], turned: bool
) -> None:
    """Label Studio states it, though it shows the image turned; other programs do not turn it."""
    points = np.array([[3.0, 4.0], point])
    monkeypatch.setitem(globals(), "POINTS", points)
    found, _ = run_import(tmp_path, "coco", orientation=6, stated=SIZE)
    np.testing.assert_array_equal(found.points[0, 1], from_turned(points, 6, SIZE) if turned else points)


def test_coco_that_states_the_size_of_the_turned_image(tmp_path: Path) -> None:
    """An upright image of that size would have another aspect ratio."""
    images = [save_image(tmp_path / f"mouse_{view}" / "img1.png", SIZE, 6) for view in VIEWS]
    source = write_coco(tmp_path, images, SIZE[::-1])
    import_project("coco", [source], ImportOptions(out=tmp_path / "out"), Console(file=io.StringIO()))
    found = read_project(load_config(tmp_path / "out" / "config.yaml"))
    np.testing.assert_array_equal(found.points[0], np.stack([from_turned(POINTS, 6, SIZE)] * 2))


def test_the_size_of_a_video(tmp_path: Path) -> None:
    """The video was encoded again, twice as large."""
    import sleap_io

    skeleton = sleap_io.Skeleton(["nose", "tail"])
    paths = [tmp_path / f"mouse_{view}.avi" for view in VIEWS]
    frames, images = [], [moving_dot(number) for number in range(2)]
    for path in paths:
        write_video(path, images)
        instance = sleap_io.Instance.from_numpy(POINTS, skeleton=skeleton)
        video = sleap_io.Video.from_filename(str(path))
        frames.append(sleap_io.LabeledFrame(video=video, frame_idx=1, instances=[instance]))
    sleap_io.Labels(frames, skeletons=[skeleton]).save(str(tmp_path / "labels.slp"))
    for path in paths:
        write_video(path, [np.repeat(np.repeat(image, 2, axis=0), 2, axis=1) for image in images])
    options = ImportOptions(out=tmp_path / "out")
    import_project("sleap", [tmp_path / "labels.slp"], options, Console(file=io.StringIO()))
    found = read_project(load_config(tmp_path / "out" / "config.yaml"))
    np.testing.assert_allclose(found.points[0], np.stack([(POINTS + 0.5) * 2 - 0.5] * 2))
