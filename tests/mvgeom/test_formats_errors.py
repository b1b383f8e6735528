"""What a user gets wrong in a file is named: file, camera, field, what was found, what to do."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

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
    ("changes", "message"),
    [
        ({"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1.1]]}, r"rotation is not a rotation: R'R differs .* by 0\.21,"),
        ({"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}, r"rotation is a reflection \(determinant -1\)"),
        ({"rotation": [1, 0, 0]}, r"rotation must be 3x3 numbers, found 3"),
        ({"matrix": [[500, 0, 0], [0, 500, 0], [320, 240, 1]]}, r"last row 0 0 1, .* it seems to be stored transposed"),
        (
            {"matrix": [[0, 0, 320], [0, 500, 240], [0, 0, 1]]},
            r"matrix must have positive focal lengths, found 0 and",
        ),
        ({"matrix": [[500, 0], [0, 500, 240], [0, 0, 1]]}, r"matrix must be 3x3 numbers, found \[\[500, 0\], "),
        ({"matrix": "K"}, r"matrix must be 3x3 numbers, found 'K'"),
        ({"size": [640]}, r"size must be 2 numbers, found 1"),
        ({"size": [640, 0]}, r"size must be a positive width and height, found \[640\.0, 0\.0\]"),
        ({"distortion": [0, 0, 0]}, r"distortion must have 0 or 4 or 5 or 8 or 12 or 14 coefficients, found 3"),
        ({"translation": [0, 0, float("nan")]}, r"translation holds a value that is not finite: \[0\.0, 0\.0, nan\]"),
        ({"fisheye": 1}, r"name must be text and fisheye true or false"),
    ],
)
def test_wrong_field_is_named(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"rig\.json: camera 'top': {message}|rig\.json: camera 'top': .*{message}"):
        CameraGroup.load(write_json(tmp_path, **changes))


def test_rounded_rotation_is_made_exact(tmp_path: Path) -> None:
    angle = np.deg2rad(30)
    rounded = np.round([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], 4)
    rotation = CameraGroup.load(write_json(tmp_path, rotation=rounded.tolist())).rotation[0]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(rotation, rounded, atol=1e-4)


def test_names_that_repeat(tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    path.write_text(json.dumps({"format": "mvgeom cameras", "version": 1, "cameras": [CAMERA, CAMERA]}))
    with pytest.raises(ValueError, match=r"rig\.json: camera names must be distinct, but 'top' repeats"):
        CameraGroup.load(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"format": "mvgeom cameras",', r"a\.json: not valid JSON: .* line 1"),
        ("a.json", '{"format": "mvgeom cameras", "version": 9, "cameras": []}', "version 9 of the format"),
        ("a.json", '{"format": "mvgeom cameras", "version": 1, "cameras": []}', "no cameras found"),
        ("a.json", '{"format": "mvgeom cameras", "version": 1, "cameras": [{}]}', "camera number 1 has no name, size,"),
        ("a.xml", "<calibration><cameras>", r"a\.xml: not valid XML: .*line 1"),
        (
            "a.xml",
            '<calibration><cameras><camera active="1"/></cameras></calibration>',
            "number 1 has no serial",
        ),
        (
            "a.xml",
            '<calibration><cameras><camera active="1" serial="7"/></cameras></calibration>',
            "camera '7': no element <fov_video>",
        ),
        (
            "a.xml",
            '<calibration><cameras><camera serial="7"><fov_video left="x"/></camera></cameras></calibration>',
            "camera '7': left of <fov_video> must be a number, found 'x'",
        ),
        ("a.yml", "%YAML:1.0\n---\nKs: [1, 2\n", r"a\.yml: not a file that OpenCV can read: line \d+: "),
        ("a.csv", "1,2\n" * 11, r"camera 'cam1': the coefficients are not those of a camera \(singular\)"),
        ("cam_0.toml", "", "not a calibration in a known format"),
        ("a.mat", "MATLAB 5.0 MAT-file", r"a\.mat: not a MAT file"),
    ],
)
def test_broken_file_says_what_is_wrong(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        CameraGroup.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.toml: no such file or folder"):
        CameraGroup.load(tmp_path / "nothing.toml")


def test_option_of_another_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"JSON of mvgeom .* has no option sizez here; it takes none"):
        CameraGroup.load(write_json(tmp_path), sizez=(1, 2))
    with pytest.raises(ValueError, match=r"no calibration format 'anypose'; there are anipose, pose2sim"):
        CameraGroup.load(write_json(tmp_path), file_format="anypose")


def colmap(folder: Path, camera: str, image: str) -> Path:
    (folder / "cameras.txt").write_text(f"# a comment\n{camera}\n")
    (folder / "images.txt").write_text(f"# a comment\n{image}\n\n")
    return folder


@pytest.mark.parametrize(
    ("camera", "image", "message"),
    [
        ("1 FOV 640 480 500 500 320 240 1", "", r"cameras\.txt: line 2: camera model FOV has no counterpart in OpenCV"),
        ("1 PINHOLE 640 480 500", "", r"cameras\.txt: line 2: PINHOLE has 4 parameters, found 1"),
        ("1 PINHOLE 640 480 5 5 3 x", "", r"line 2: parameters of PINHOLE must be numbers, found '5 5 3 x'"),
        ("1 PINHOLE 640", "", r"line 2: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS\[\]"),
        (
            "1 PINHOLE 640 480 5 5 3 2",
            "1 1 0 0 0 0 0 0 2 a.png",
            r"images\.txt: line 2: camera 2 is not in cameras",
        ),
        ("1 PINHOLE 640 480 5 5 3 2", "1 2 0 0 0 0 0 0 1 a.png", r"is not of length 1 but off by 1"),
        ("1 PINHOLE 640 480 5 5 3 2", "1 1 0 0 a.png", r"images\.txt: line 2: expected IMAGE_ID QW"),
        ("1 PINHOLE 640 480 5 5 3 2", "", r"no cameras found"),
    ],
)
def test_colmap_errors_name_the_line(camera: str, image: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        CameraGroup.load(colmap(tmp_path, camera, image))


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
    with pytest.raises(ValueError, match=r"camera 'bad': RDistort must have 2 or 3 coefficients, found 1"):
        CameraGroup.load(tmp_path / "bad_params.mat", sizes=(640, 480))


def test_dannce_missing_parts(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"labels": np.zeros(3)})
    with pytest.raises(ValueError, match=r"a\.mat: no variable params \(a cell array of cameras\), only labels"):
        CameraGroup.load(tmp_path / "a.mat")
    savemat(tmp_path / "b.mat", {"params": {"K": np.eye(3), "t": np.zeros(3)}})
    with pytest.raises(ValueError, match=r"camera 'Camera1': no field r, RDistort, TDistort"):
        CameraGroup.load(tmp_path / "b.mat")
    hdf5 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "c.mat").write_bytes(hdf5)
    with pytest.raises(ValueError, match=r"c\.mat: saved with -v7\.3 \(HDF5\); in MATLAB, load it"):
        CameraGroup.load(tmp_path / "c.mat")


def test_dlt_shapes_and_names(tmp_path: Path) -> None:
    path = tmp_path / "dlt.csv"
    path.write_text(",".join(["1"] * 11) + "\n" + ",".join(["2"] * 11) + "\n")
    with pytest.raises(ValueError, match=r"11 rows with a column per camera, found 2 rows .* seems to be transposed"):
        formats.load(path, file_format="dlt", sizes=(640, 480))
    path.write_text("1,2\n" * 11)
    with pytest.raises(ValueError, match="2 cameras, but 1 names"):
        formats.load(path, sizes=(640, 480), names=["a"])
    with pytest.raises(ValueError, match="the coefficients are not those of a camera"):
        formats.load(path, sizes=(640, 480))
    with pytest.raises(ValueError, match="origin must be upper-left or lower-left, got 'top'"):
        formats.load(path, sizes=(640, 480), origin="top")


def test_easymocap_disagreements(tmp_path: Path) -> None:
    cameras = CameraGroup.load(write_json(tmp_path))
    formats.save(cameras, tmp_path, file_format="easymocap")
    text = (tmp_path / "extri.yml").read_text()
    (tmp_path / "extri.yml").write_text(text.replace("data: [ 0., 0., 0. ]", "data: [ 0., 0., 0.1 ]", 1))
    with pytest.raises(ValueError, match=r"R_top and Rot_top are different rotations \(entries differ by 0\.1\)"):
        formats.load(tmp_path, file_format="easymocap")
    (tmp_path / "extri.yml").write_text(text.replace("top", "side"))
    with pytest.raises(ValueError, match=r"intri\.yml: no camera 'side', which extri\.yml has"):
        formats.load(tmp_path, file_format="easymocap")
    (tmp_path / "extri.yml").write_text(text)
    with pytest.raises(ValueError, match=r"the file says \[640\.0, 480\.0\] px, sizes says \[1, 2\]"):
        formats.load(tmp_path, file_format="easymocap", sizes=(1, 2))


def test_opencv_parts_that_do_not_fit(tmp_path: Path) -> None:
    cameras = CameraGroup.load(write_json(tmp_path))
    cameras.save(tmp_path / "rig.yml")
    text = (tmp_path / "rig.yml").read_text()
    (tmp_path / "rig.yml").write_text(text.replace("cam_ids: top", 'cam_ids: "top,side"'))
    with pytest.raises(ValueError, match=r"rig\.yml: 1 cameras, but 2 names: \['top', 'side'\]"):
        CameraGroup.load(tmp_path / "rig.yml")
    with pytest.raises(ValueError, match="must not have a comma"):
        cameras.replace(names=("a,b",)).save(tmp_path / "rig.yml")
