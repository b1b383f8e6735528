"""examples/human4/make_project.py, on a wheel of pose2sim in miniature."""

from __future__ import annotations

import importlib.util
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from helpers.errors import raises_input
from helpers.rigs import ring
from helpers.videos import write_video
from mvgeom import CameraGroup, affine, project, triangulate
from mvtrain.config import load_config
from mvtrain.project.project import read_project

SCRIPT = Path(__file__).parents[2] / "examples" / "human4" / "make_project.py"
NUM_FRAMES = 6
UNCERTAIN = (2, 8)
"""Frame, and place in BODY_25B, of a keypoint of low confidence."""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_project", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cameras() -> CameraGroup:
    """Make cameras in meters, with the names of the videos."""
    return ring().replace(names=("cam01", "cam02", "cam03", "cam04"))


@pytest.fixture(scope="module")
def points_3d() -> np.ndarray:
    """Make (T, 25, 3) keypoints of a walking person."""
    generator = np.random.default_rng(0)
    return generator.uniform(-1, 1, (25, 3)) + np.linspace(0, 0.5, NUM_FRAMES)[:, None, None] * [1, 0, 0]


@pytest.fixture(scope="module")
def members(
    example: ModuleType, cameras: CameraGroup, points_3d: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Make the files of the wheel, by name."""
    folder = tmp_path_factory.mktemp("wheel")
    names = tuple(name.replace("cam", "cam_") for name in cameras.names)
    cameras.replace(names=names, translation=cameras.translation * 1000).save(folder / "Calib.qca.txt")
    calibration = f"{example.DEMO}/S00_Calibration"
    about = f"pose2sim-{example.VERSION}.dist-info"
    found = {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: pose2sim\nVersion: {example.VERSION}\n".encode(),
        f"{about}/LICENSE": b"BSD 3-Clause",
        f"{calibration}/Calib.qca.txt": (folder / "Calib.qca.txt").read_bytes(),
    }
    pixels = np.asarray(project(points_3d, cameras))
    for view, name in enumerate(cameras.names):
        found[f"{calibration}/extrinsics/ext_{name}_img/{name}_ext.png"] = b"an image"
        for number in range(1, example.NUM_BOARDS + 1):
            found[f"{calibration}/intrinsics/int_{name}_img/{name}_{number:02d}_int.jpg"] = b"an image"
        video = write_video(folder / f"{name}.mp4", [_frame(frame[0]) for frame in pixels[:, view]], codec="mp4v")
        found[f"{example.TRIAL}/videos/{name}.mp4"] = video.read_bytes()
        for number, points in enumerate(pixels[:, view]):
            found[f"{example.TRIAL}/pose/{name}_json/{name}.{number:04d}.json"] = _detections(number, points)
    return found


def _frame(nose: np.ndarray) -> np.ndarray:
    """Make a (200, 200, 3) black image with a bright square around the nose."""
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    x, y = np.round(nose).astype(int)
    image[y - 2 : y + 3, x - 2 : x + 3] = 255
    return image


def _detections(number: int, points: np.ndarray) -> bytes:
    """Make a file of detections: the subject, and a bystander of half the size and higher confidence."""
    confidence = np.full((25, 1), 0.7)
    if number == UNCERTAIN[0]:
        confidence[UNCERTAIN[1]] = 0.39
    subject = np.hstack([points, confidence]).ravel().tolist()
    bystander = np.hstack([points / 2, np.full((25, 1), 0.9)]).ravel().tolist()
    people = [bystander, subject] if number % 2 else [subject, bystander]
    return json.dumps({"people": [{"pose_keypoints_2d": person} for person in people]}).encode()


def write_wheel(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("config", ["config.yaml", "short.yaml"])
def test_labels_lead_back_to_the_3d_points(
    example: ModuleType,
    cameras: CameraGroup,
    points_3d: np.ndarray,
    members: dict[str, bytes],
    tmp_path: Path,
    config: str,
) -> None:
    out = tmp_path / "new" / "human4"
    example.main([str(out), "--wheel", str(write_wheel(tmp_path / "pose2sim.whl", members))])
    found = read_project(load_config(out / config))
    assert found.view_names == cameras.names
    assert found.keypoint_names == tuple(example.KEYPOINTS)
    assert set(found.sessions) == {"balancing"}
    boxes = np.asarray(found.boxes)
    points = np.asarray(affine.apply(affine.invert(affine.from_box(boxes, example.CROP_SIZE)), found.points))
    missing = np.isnan(points).any(-1)
    expected = np.zeros_like(missing)
    expected[UNCERTAIN[0], :, list(example.KEYPOINTS.values()).index(UNCERTAIN[1])] = True
    np.testing.assert_array_equal(missing, expected)
    calibration = CameraGroup.load(out / "calibration.toml")
    truth = points_3d[:, list(example.KEYPOINTS.values())]
    seen = ~missing.all(axis=1)
    np.testing.assert_allclose(np.asarray(triangulate(points, calibration))[seen], truth[seen], atol=1e-3)


def test_crops_show_the_subject_of_the_labels(example: ModuleType, members: dict[str, bytes], tmp_path: Path) -> None:
    example.make_project(tmp_path / "out", write_wheel(tmp_path / "pose2sim.whl", members))
    found = read_project(load_config(tmp_path / "out" / "config.yaml"))
    nose = found.keypoint_names.index("Nose")
    for row in range(NUM_FRAMES):
        for view in range(4):
            image = cv2.imread(str(tmp_path / "out" / str(found.image_names[row][view])), cv2.IMREAD_GRAYSCALE)
            assert image is not None
            weights = np.where(image > 100, image, 0).astype(float)
            rows, columns = np.indices(image.shape)
            centroid = np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()
            scale = example.CROP_SIZE[0] / found.boxes[row, view, 2]
            # The square is drawn at whole pixels, and compression blurs it.
            assert np.abs(centroid - found.points[row, view, nose]).max() < 0.8 * scale


def test_nothing_is_left_behind_by_a_failure(example: ModuleType, members: dict[str, bytes], tmp_path: Path) -> None:
    broken = {name: content for name, content in members.items() if not name.endswith("cam04.mp4")}
    wheel = write_wheel(tmp_path / "pose2sim.whl", broken)
    with raises_input("missing-file", path=str(wheel), member=f"{example.TRIAL}/videos/cam04.mp4"):
        example.make_project(tmp_path / "human4", wheel)
    assert [path.name for path in tmp_path.iterdir()] == ["pose2sim.whl"]


def test_existing_folder(example: ModuleType, tmp_path: Path) -> None:
    with raises_input("occupied-folder", path=tmp_path):
        example.make_project(tmp_path, tmp_path / "pose2sim.whl")


def test_no_wheel(example: ModuleType, tmp_path: Path) -> None:
    with raises_input("missing-file", path=tmp_path / "absent.whl"):
        example.open_wheel(tmp_path / "absent.whl")
    (tmp_path / "cut.whl").write_bytes(b"PK\x03\x04 cut off")
    with raises_input("damaged-file", path=tmp_path / "cut.whl"):
        example.open_wheel(tmp_path / "cut.whl")
    with raises_input("damaged-file", path=tmp_path / "archive.zip"):
        example.open_wheel(write_wheel(tmp_path / "archive.zip", {"a.txt": b""}))


@pytest.mark.parametrize("name_and_version", [("pose2sim", "0.10.49"), ("sports2d", "0.8.4")])
def test_another_wheel(example: ModuleType, tmp_path: Path, name_and_version: tuple[str, str]) -> None:
    name, version = name_and_version
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    wheel = write_wheel(tmp_path / "other.whl", {f"{name}-{version}.dist-info/METADATA": about})
    expected = ("pose2sim", example.VERSION)
    with raises_input("unknown-version", path=wheel, found=name_and_version, expected=expected):
        example.open_wheel(wheel)


def test_no_detections(example: ModuleType, members: dict[str, bytes], tmp_path: Path) -> None:
    few = {name: content for name, content in members.items() if "/pose/cam02_json/" not in name}
    with raises_input("missing-file", member=f"{example.TRIAL}/pose/cam02_json/"):
        example.make_project(tmp_path / "out", write_wheel(tmp_path / "pose2sim.whl", few))


@pytest.mark.parametrize("text", [b"{", b'{"persons": []}', b'{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}'])
def test_other_detections(example: ModuleType, members: dict[str, bytes], tmp_path: Path, text: bytes) -> None:
    name = f"{example.TRIAL}/pose/cam01_json/cam01.0003.json"
    wheel = write_wheel(tmp_path / "pose2sim.whl", {**members, name: text})
    with raises_input("unsupported-file", member=name):
        example.make_project(tmp_path / "out", wheel)


def test_video_of_another_length(example: ModuleType, members: dict[str, bytes], tmp_path: Path) -> None:
    fewer = {name: content for name, content in members.items() if not name.endswith("cam03.0005.json")}
    with raises_input("wrong-count", view="cam03", found=6, expected=5):
        example.make_project(tmp_path / "out", write_wheel(tmp_path / "pose2sim.whl", fewer))


def test_frame_without_a_sure_person(example: ModuleType, tmp_path: Path) -> None:
    nobody = json.dumps({"people": []}).encode()
    unsure = json.dumps({"people": [{"pose_keypoints_2d": [5.0, 5.0, 0.1] * 25}]}).encode()
    folder = f"{example.TRIAL}/pose/cam01_json"
    wheel = write_wheel(tmp_path / "a.whl", {f"{folder}/cam01.0000.json": nobody, f"{folder}/cam01.0001.json": unsure})
    with zipfile.ZipFile(wheel) as archive:
        found = example.read_detections(archive, "cam01")
    assert found.shape == (2, len(example.KEYPOINTS), 2)
    assert np.isnan(found).all()


@pytest.mark.skipif(shutil.which("pip") is None, reason="there is no pip")
def test_no_network(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SystemExit) as stopped:
        example.main([str(tmp_path / "human4")])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: pip cannot download pose2sim {example.VERSION}")
    assert "--wheel" in error
    assert list(tmp_path.iterdir()) == []


def test_no_pip(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with raises_input("missing-library", library="pip"):
        example.download_wheel(tmp_path)
