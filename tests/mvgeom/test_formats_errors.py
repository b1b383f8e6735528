"""Mistakes in a file are named: file, camera, field, what was found, what to do."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from helpers.errors import Expectation, raises_input
from mvgeom import formats
from mvgeom.cameras import CameraGroup

CAMERA = {
    "name": "top",
    "size": [640, 480],
    "matrix": [[500, 0, 320], [0, 500, 240], [0, 0, 1]],
    "distortion": [0, 0, 0, 0],
    "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "translation": [0, 0, 5],
    "fisheye": False,
}


def write_json(folder: Path, **changes: object) -> Path:
    path = folder / "rig.json"
    document = {"format": "mvgeom cameras", "version": 1, "cameras": [{**CAMERA, **changes}]}
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1.1]]}, raises_input("not-a-rotation")),
        ({"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}, raises_input("not-a-rotation")),
        ({"rotation": [1, 0, 0]}, raises_input("wrong-shape", expected=(3, 3))),
        ({"matrix": [[500, 0, 0], [0, 500, 0], [320, 240, 1]]}, raises_input("not-a-camera")),
        ({"matrix": [[500, 0, 320], [3, 500, 240], [0, 0, 1]]}, raises_input("not-a-camera")),
        (
            {"matrix": [[0, 0, 320], [0, 500, 240], [0, 0, 1]]},
            raises_input("not-a-camera"),
        ),
        ({"matrix": [[500, 0], [0, 500, 240], [0, 0, 1]]}, raises_input("bad-number")),
        ({"matrix": "K"}, raises_input("bad-number")),
        ({"size": [640]}, raises_input("wrong-shape", expected=(2,))),
        ({"size": [640, 0]}, raises_input("out-of-range")),
        ({"distortion": [0, 0, 0]}, raises_input("wrong-count", found=3, expected=(0, 4, 5, 8, 12, 14))),
        ({"translation": [0, 0, float("nan")]}, raises_input("not-finite")),
        ({"fisheye": 1}, raises_input("bad-field", view="top", path="rig.json")),
    ],
)
def test_wrong_field_is_named(changes: dict[str, object], expected: Expectation, tmp_path: Path) -> None:
    with expected as caught:
        CameraGroup.load(write_json(tmp_path, **changes))
    assert str(caught.value).startswith(f"{tmp_path / 'rig.json'}: camera 'top': ")


@pytest.mark.parametrize("name", ["rig.json", "rig.toml", "rig.xml", "rig.yml", "rig.qca.txt"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_text_in_utf_16_is_named(tmp_path: Path, name: str, encoding: str) -> None:
    source, path = write_json(tmp_path), tmp_path / "16" / name
    path.parent.mkdir()
    formats.save(CameraGroup.load(source), path)
    path.write_bytes(f"\ufeff{path.read_text()}".encode(encoding))
    with raises_input("not-text", path=path):
        CameraGroup.load(path)


def test_rounded_rotation_is_made_exact(tmp_path: Path) -> None:
    angle = np.deg2rad(30)
    rounded = np.round([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], 4)
    rotation = CameraGroup.load(write_json(tmp_path, rotation=rounded.tolist())).rotation[0]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(rotation, rounded, atol=1e-4)


def test_names_that_repeat(tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    path.write_text(json.dumps({"format": "mvgeom cameras", "version": 1, "cameras": [CAMERA, CAMERA]}))
    with raises_input("duplicate-name", name="top", path="rig.json"):
        CameraGroup.load(path)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '{"format": "mvgeom cameras",', raises_input("invalid-syntax", path="a.json")),
        (
            "a.json",
            '{"format": "mvgeom cameras", "version": 9, "cameras": []}',
            raises_input("unsupported-file", found=9, expected=1, path="a.json"),
        ),
        (
            "a.json",
            '{"format": "mvgeom cameras", "version": 1, "cameras": []}',
            raises_input("too-few-views", path="a.json"),
        ),
        (
            "a.json",
            '{"format": "mvgeom cameras", "version": 1, "cameras": [{}]}',
            raises_input("missing-field", field="name", path="a.json"),
        ),
        ("a.xml", "<calibration><cameras>", raises_input("invalid-syntax", path="a.xml")),
        (
            "a.xml",
            '<calibration><cameras><camera active="1"/></cameras></calibration>',
            raises_input("missing-field", field="serial", path="a.xml"),
        ),
        (
            "a.xml",
            '<calibration><cameras><camera active="1" serial="7"/></cameras></calibration>',
            raises_input("missing-field", field="fov_video"),
        ),
        (
            "a.xml",
            '<calibration><cameras><camera serial="7"><fov_video left="x"/></camera></cameras></calibration>',
            raises_input("bad-number", field="left", found="x"),
        ),
        ("a.yml", "%YAML:1.0\n---\nKs: [1, 2\n", raises_input("invalid-syntax", path="a.yml")),
        ("a.csv", "1,2\n" * 11, raises_input("not-a-camera", view="cam1", path="a.csv")),
        ("cam_0.toml", "", raises_input("unknown-format", path="cam_0.toml")),
        ("a.mat", "MATLAB 5.0 MAT-file", raises_input("invalid-syntax", path="a.mat")),
    ],
)
def test_broken_file_states_what_is_wrong(name: str, text: str, expected: Expectation, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with expected:
        CameraGroup.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with raises_input("missing-file", path="nothing.toml"):
        CameraGroup.load(tmp_path / "nothing.toml")


def test_option_of_another_format(tmp_path: Path) -> None:
    with raises_input("unknown-choice", argument="sizez", expected=()):
        CameraGroup.load(write_json(tmp_path), sizez=(1, 2))
    with raises_input("unknown-format", argument="file_format", found="anypose"):
        CameraGroup.load(write_json(tmp_path), file_format="anypose")


def colmap(folder: Path, camera: str, image: str) -> Path:
    (folder / "cameras.txt").write_text(f"# a comment\n{camera}\n")
    (folder / "images.txt").write_text(f"# a comment\n{image}\n\n")
    return folder


@pytest.mark.parametrize(
    ("camera", "image", "expected"),
    [
        (
            "1 FOV 640 480 500 500 320 240 1",
            "",
            raises_input("unsupported-camera", line=2, found="FOV", path="cameras.txt"),
        ),
        ("1 PINHOLE 640 480 500", "", raises_input("wrong-count", line=2, found=1, expected=4, path="cameras.txt")),
        ("1 PINHOLE 640 480 5 5 3 x", "", raises_input("bad-number", found="5 5 3 x")),
        ("1 PINHOLE 640", "", raises_input("invalid-syntax", line=2, path="cameras.txt")),
        (
            "1 PINHOLE 640 480 5 5 3 2",
            "1 1 0 0 0 0 0 0 2 a.png",
            raises_input("missing-view", line=2, view="2", path="images.txt"),
        ),
        ("1 PINHOLE 640 480 5 5 3 2", "1 2 0 0 0 0 0 0 1 a.png", raises_input("not-a-rotation")),
        ("1 PINHOLE 640 480 5 5 3 2", "1 1 0 0 a.png", raises_input("invalid-syntax", line=2, path="images.txt")),
        ("1 PINHOLE 640 480 5 5 3 2", "", raises_input("too-few-views")),
    ],
)
def test_colmap_errors_name_the_line(camera: str, image: str, expected: Expectation, tmp_path: Path) -> None:
    with expected:
        CameraGroup.load(colmap(tmp_path, camera, image))


@pytest.mark.parametrize(("image", "name"), [("a.png", "a"), ("rig.1/a.1", "rig.1/a.1"), ("a.1.JPG", "a.1")])
def test_colmap_cameras_are_named_without_the_suffixes_of_images(image: str, name: str, tmp_path: Path) -> None:
    path = colmap(tmp_path, "1 PINHOLE 640 480 5 5 3 2", f"1 1 0 0 0 0 0 0 1 {image}")
    assert CameraGroup.load(path).names == (name,)


@pytest.mark.parametrize(
    ("model", "distortion", "fisheye"),
    [
        ("SIMPLE_PINHOLE 640 480 500 320.5 240.5", [0, 0, 0, 0], False),
        ("PINHOLE 640 480 500 500 320.5 240.5", [0, 0, 0, 0], False),
        ("SIMPLE_RADIAL 640 480 500 320.5 240.5 0.1", [0.1, 0, 0, 0], False),
        ("RADIAL 640 480 500 320.5 240.5 0.1 0.2", [0.1, 0.2, 0, 0], False),
        ("OPENCV 640 480 500 500 320.5 240.5 1 2 3 4", [1, 2, 3, 4], False),
        ("FULL_OPENCV 640 480 500 500 320.5 240.5 1 2 3 4 5 6 7 8", [1, 2, 3, 4, 5, 6, 7, 8], False),
        ("SIMPLE_RADIAL_FISHEYE 640 480 500 320.5 240.5 0.1", [0.1, 0, 0, 0], True),
        ("RADIAL_FISHEYE 640 480 500 320.5 240.5 0.1 0.2", [0.1, 0.2, 0, 0], True),
        ("OPENCV_FISHEYE 640 480 500 500 320.5 240.5 1 2 3 4", [1, 2, 3, 4], True),
    ],
)
def test_colmap_models(model: str, distortion: list[float], fisheye: bool, tmp_path: Path) -> None:
    image = "7 1 0 0 0 1 2 3 5 view one/a b.jpg"
    cameras = CameraGroup.load(colmap(tmp_path, f"5 {model}", image))
    assert cameras.names == ("view one/a b",)
    assert cameras.fisheye == (fisheye,)
    np.testing.assert_array_equal(cameras.matrix[0], [[500, 0, 320], [0, 500, 240], [0, 0, 1]])
    np.testing.assert_array_equal(cameras.distortion[0], distortion)
    np.testing.assert_array_equal(cameras.translation[0], [1, 2, 3])


@pytest.mark.parametrize("foreign", ["frames.txt", "images.bin"])
def test_colmap_files_of_another_model_are_no_place_for_this_one(foreign: str, tmp_path: Path) -> None:
    # COLMAP takes poses from frames.txt, and a binary model before one in text.
    path = colmap(tmp_path, "1 PINHOLE 640 480 5 5 3 2", "1 1 0 0 0 0 0 5 1 a.png")
    cameras = CameraGroup.load(path)
    cameras.save(path, file_format="colmap")
    (tmp_path / foreign).write_bytes(b"# 1\n")
    with raises_input("occupied-folder", found=(foreign,)):
        cameras.save(path, file_format="colmap")
    with raises_input("bad-name", view="cam 1"):  # COLMAP would read cam
        cameras.replace(names=("cam 1",)).save(tmp_path / "new", file_format="colmap")


def test_colmap_binary_models_state_how_to_convert_them(tmp_path: Path) -> None:
    for file in ("cameras.bin", "images.bin"):
        (tmp_path / file).write_bytes(bytes(8))
    for path in (tmp_path, tmp_path / "cameras.bin"):
        with raises_input("unsupported-file", path=path):
            CameraGroup.load(path)


def test_colmap_images_with_points_come_by_id(tmp_path: Path) -> None:
    lines = ["2 1 0 0 0 0 0 2 1 b.png", "1.5 2.5 -1 3 4 7", "1 1 0 0 0 0 0 1 1 a.png", ""]
    cameras = CameraGroup.load(colmap(tmp_path, "1 PINHOLE 640 480 5 5 3 2", "\n".join(lines)))
    assert cameras.names == ("a", "b")


def test_dannce_folder_of_single_cameras(tmp_path: Path) -> None:
    struct = {
        "K": np.array([[500, 0, 0], [2, 501, 0], [321, 241, 1.0]]),
        "RDistort": np.array([[0.1, 0.2]]),
        "TDistort": np.array([[0.3, 0.4]]),
        "r": np.eye(3),
        "t": np.array([[1.0, 2, 3]]),
    }
    for number in (10, 2):
        savemat(tmp_path / f"hires_cam{number}_params.mat", struct)
    cameras = CameraGroup.load(tmp_path, sizes=(640, 480))
    assert cameras.names == ("cam2", "cam10")
    np.testing.assert_array_equal(cameras.matrix[0], [[500, 2, 320], [0, 501, 240], [0, 0, 1]])
    np.testing.assert_array_equal(cameras.distortion[0], [0.1, 0.2, 0.3, 0.4, 0])
    savemat(tmp_path / "bad_params.mat", {**struct, "RDistort": np.array([[0.1]])})
    with raises_input("wrong-count", found=1):
        CameraGroup.load(tmp_path / "bad_params.mat", sizes=(640, 480))


def test_dannce_missing_parts(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"labels": np.zeros(3)})
    with raises_input("missing-field", field="params", path="a.mat"):
        CameraGroup.load(tmp_path / "a.mat")
    savemat(tmp_path / "b.mat", {"params": {"K": np.eye(3), "t": np.zeros(3)}})
    with raises_input("missing-field", view="Camera1", field="r", path="b.mat"):
        CameraGroup.load(tmp_path / "b.mat")
    hdf5 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "c.mat").write_bytes(hdf5)
    with raises_input("unsupported-file", path="c.mat"):
        CameraGroup.load(tmp_path / "c.mat")


def test_dlt_shapes_and_names(tmp_path: Path) -> None:
    path = tmp_path / "dlt.csv"
    path.write_text(",".join(["1"] * 11) + "\n" + ",".join(["2"] * 11) + "\n")
    with raises_input("wrong-count", found=2, expected=11, path="dlt.csv"):
        formats.load(path, file_format="dlt", sizes=(640, 480))
    path.write_text("1,2\n" * 11)
    with raises_input("wrong-count", argument="names", found=1, expected=2, path="dlt.csv"):
        formats.load(path, sizes=(640, 480), names=["a"])
    with raises_input("not-a-camera", view="cam1", path="dlt.csv"):
        formats.load(path, sizes=(640, 480))
    with raises_input("unknown-choice", argument="origin", found="top"):
        formats.load(path, sizes=(640, 480), origin="top")


def test_easymocap_disagreements(tmp_path: Path) -> None:
    cameras = CameraGroup.load(write_json(tmp_path))
    formats.save(cameras, tmp_path, file_format="easymocap")
    text = (tmp_path / "extri.yml").read_text()
    (tmp_path / "extri.yml").write_text(text.replace("data: [ 0., 0., 0. ]", "data: [ 0., 0., 0.1 ]", 1))
    with raises_input("not-a-rotation", view="top"):
        formats.load(tmp_path, file_format="easymocap")
    (tmp_path / "extri.yml").write_text(text.replace("top", "side"))
    with raises_input("missing-view", view="side", path="intri.yml"):
        formats.load(tmp_path, file_format="easymocap")
    (tmp_path / "extri.yml").write_text(text)
    with raises_input("size-mismatch", view="top"):
        formats.load(tmp_path, file_format="easymocap", sizes=(1, 2))


def test_opencv_parts_that_do_not_fit(tmp_path: Path) -> None:
    cameras = CameraGroup.load(write_json(tmp_path))
    cameras.save(tmp_path / "rig.yml")
    text = (tmp_path / "rig.yml").read_text()
    (tmp_path / "rig.yml").write_text(text.replace('cam_ids: "top"', 'cam_ids: "top,side"'))
    with raises_input("wrong-count", argument="names", found=2, expected=1, path="rig.yml"):
        CameraGroup.load(tmp_path / "rig.yml")
    with raises_input("bad-name", view="a,b"):
        cameras.replace(names=("a,b",)).save(tmp_path / "rig.yml")
