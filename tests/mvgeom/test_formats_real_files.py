"""Real calibration files: every one is read, and where two describe one rig they agree to the pixel."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.errors import raises_input
from helpers.foreign_cameras import FOREIGN
from mvgeom import formats
from mvgeom.cameras import CameraGroup

SHARED = Path(__file__).parents[2].parent / "shared"
FORMATS = SHARED / "formats"
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is absent")


def project(cameras: CameraGroup, view: int, points: np.ndarray) -> np.ndarray:
    """(N, 2) px by OpenCV, independent of our own projection."""
    vector = cv2.Rodrigues(cameras.rotation[view])[0]
    pixels = cv2.projectPoints(
        points, vector, cameras.translation[view], cameras.matrix[view], cameras.distortion[view]
    )
    return pixels[0].reshape(-1, 2)


def rays_meet(cameras: CameraGroup) -> np.ndarray:
    """The point nearest to all optical axes, and the distances of the axes from it."""
    directions = cameras.rotation[:, 2]
    normal = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    point = np.linalg.solve(normal.sum(0), (normal @ cameras.centers[..., None]).sum(0))[:, 0]
    return np.append(point, np.linalg.norm((normal @ (point - cameras.centers)[..., None])[..., 0], axis=1))


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("ambiguousmonkey_4cam.toml", ("1", "2", "3", "4")),
        ("kinematics3d_fly5cam.toml", ("1", "2", "3", "4", "5")),
        ("markerless_tracking_gui_3cam.toml", ("A", "B", "C")),
    ],
)
def test_anipose(file: str, names: tuple[str, ...]) -> None:
    path = FORMATS / "anipose_toml" / file
    cameras = CameraGroup.load(path)
    assert formats.identify(path).NAME == "anipose"
    assert cameras.names == names
    assert cameras.distortion.shape == (len(names), 5)
    np.testing.assert_array_equal(cameras.matrix[:, 0, 2], 959.5)
    # Vectors and matrices are the same rotations.
    first = cv2.Rodrigues(cameras.rotation[0])[0][:, 0]
    assert f"{first[0]:.9f}" in path.read_text() or abs(first[0]) < 0.1
    np.testing.assert_allclose(cv2.Rodrigues(first)[0], cameras.rotation[0], atol=1e-12)


def test_pose2sim_toml_and_qualisys_xml_are_the_same_rig() -> None:
    toml = CameraGroup.load(FORMATS / "pose2sim" / "Calib_qualisys.toml")
    xml = CameraGroup.load(FORMATS / "pose2sim" / "Calib.qca.txt")
    assert formats.identify(FORMATS / "pose2sim" / "Calib.qca.txt").NAME == "qualisys"
    assert toml.names == xml.names
    np.testing.assert_array_equal(toml.sizes, xml.sizes)
    # Pose2Sim writes meters, and distortion coefficients divided by 64 (see the next test).
    np.testing.assert_allclose(toml.distortion * 64, xml.distortion[:, :4], rtol=1e-12)
    meters = xml.replace(translation=xml.translation / 1000)
    as_qualisys = toml.replace(distortion=toml.distortion * 64)
    points = np.random.default_rng(0).uniform([-0.5, -0.5, 0], [0.5, 0.5, 1.8], (50, 3))
    for view in range(4):
        np.testing.assert_allclose(project(as_qualisys, view, points), project(meters, view, points), atol=1e-6)
        off = np.abs(project(toml, view, points) - project(meters, view, points)).max()
        assert 0.1 < off < 30, "the stored distortion is all that differs"


def test_real_images_state_that_qualisys_distortion_is_not_in_subpixels() -> None:
    """The checkerboard of the same rig is fitted by the XML's coefficients, not by Pose2Sim's 64 times smaller ones."""
    xml = CameraGroup.load(FORMATS / "pose2sim" / "Calib.qca.txt")
    folder = SHARED / "boards" / "boards_pose2sim_checker" / "intrinsics" / "int_cam01_img"
    board = np.zeros((28, 3), np.float32)
    board[:, :2] = np.mgrid[0:4, 0:7].T.reshape(-1, 2) * 60
    corners = []
    for file in sorted(folder.glob("*.jpg")):
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        found, raw = cv2.findChessboardCorners(image, (4, 7))
        if found:
            corners.append(cv2.cornerSubPix(image, raw, (11, 11), (-1, -1), (3, 30, 1e-3)))
    flags = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3
    flags |= cv2.CALIB_FIX_TANGENT_DIST

    def rms(coefficients: np.ndarray) -> float:
        guess = xml.matrix[0].copy()
        return cv2.calibrateCamera([board] * len(corners), corners, (1088, 1920), guess, coefficients, flags=flags)[0]

    assert len(corners) >= 5
    assert rms(xml.distortion[0].copy()) < 0.85 * rms(xml.distortion[0] / 64)


def test_pose2sim_moving_cameras_need_a_frame() -> None:
    path = FORMATS / "pose2sim" / "Calib_qualisys_multi.test"
    with raises_input("missing-argument", argument="frame", path="Calib_qualisys_multi.test"):
        CameraGroup.load(path)
    with raises_input("missing-frame", frame=3, path="Calib_qualisys_multi.test"):
        CameraGroup.load(path, frame=3)
    still = CameraGroup.load(FORMATS / "pose2sim" / "Calib_qualisys.toml")
    moving = CameraGroup.load(path, frame=2)
    np.testing.assert_allclose(moving.rotation, still.rotation, atol=1e-12)
    np.testing.assert_array_equal(moving.matrix, still.matrix)


def test_jarvis_cameras_look_at_one_place() -> None:
    cameras = CameraGroup.load(FORMATS / "jarvis_yaml", sizes=(1280, 1024))
    assert cameras.names == ("Camera_B", "Camera_LC", "Camera_T")
    np.testing.assert_array_equal(cameras.matrix[:, 2], [[0, 0, 1]] * 3)
    # Top and bottom camera are 1.15 m apart and face each other; the side camera looks between
    # them only with R transposed.
    np.testing.assert_allclose(cameras.rotation[0, 2] @ cameras.rotation[2, 2], -1, atol=1e-3)
    assert rays_meet(cameras)[3:].max() < 100
    as_stored = cameras.replace(rotation=np.swapaxes(cameras.rotation, -1, -2))
    assert rays_meet(as_stored)[3:].max() > 200
    single = CameraGroup.load(FORMATS / "jarvis_yaml" / "Camera_LC.yaml", sizes={"Camera_LC": (1280, 1024)})
    np.testing.assert_array_equal(single.rotation, cameras.rotation[1:2])


def test_jarvis_without_sizes_states_what_to_do() -> None:
    with raises_input("missing-size", view="Camera_B"):
        CameraGroup.load(FORMATS / "jarvis_yaml")
    with raises_input("missing-size", view="Camera_B"):
        CameraGroup.load(FORMATS / "jarvis_yaml", sizes={"Camera_T": (1280, 1024)})


def test_easymocap_names_cameras_without_extrinsics() -> None:
    with pytest.warns(UserWarning, match="cameras without extrinsics are left out: 1, 10, 14,"):
        cameras = CameraGroup.load(FORMATS / "easymocap_yml", sizes=(1920, 1080))
    assert cameras.names == ("11", "12", "13", "15", "17", "19", "25", "27", "31", "7", "9")
    assert cameras.matrix[0, 0, 0] == 1605.067049
    # 6 decimals in the file: exact rotations all the same, equal to the matrices stored beside the vectors.
    np.testing.assert_allclose(np.linalg.det(cameras.rotation), 1, atol=1e-14)
    stored = [0.287431, -0.957452, -0.025882, -0.367472, -0.085281, -0.926116, 0.884504, 0.275706, -0.376349]
    np.testing.assert_allclose(cameras.rotation[0].ravel(), stored, atol=2e-6)


def test_opencv_single_camera() -> None:
    cameras = CameraGroup.load(FORMATS / "opencv_yaml" / "left_intrinsics.yml")
    assert cameras.names == ("left_intrinsics",)
    np.testing.assert_array_equal(cameras.sizes, [[640, 480]])
    assert cameras.matrix[0, 0, 0] == 535.91573396163199
    np.testing.assert_array_equal(cameras.distortion[0][:2], [-2.6637260909660682e-01, -3.8588898922304653e-02])
    np.testing.assert_array_equal(cameras.rotation[0], np.eye(3))


def test_opencv_stereo_pair(tmp_path: Path) -> None:
    intrinsics = FORMATS / "opencv_yaml" / "intrinsics.yml"
    with raises_input("missing-file", argument="extrinsics", path="intrinsics.yml"):
        CameraGroup.load(intrinsics, sizes=(640, 480))
    rotation = cv2.Rodrigues(np.array([0.01, 0.02, 0.03]))[0]
    storage = cv2.FileStorage(str(tmp_path / "extrinsics.yml"), cv2.FILE_STORAGE_WRITE)
    storage.write("R", rotation)
    storage.write("T", np.array([[-83.0], [1.0], [2.0]]))
    storage.release()
    cameras = CameraGroup.load(intrinsics, sizes=(640, 480), extrinsics=tmp_path / "extrinsics.yml")
    assert cameras.names == ("left", "right")
    np.testing.assert_array_equal(cameras.translation, [[0, 0, 0], [-83, 1, 2]])
    np.testing.assert_allclose(cameras.rotation[1], rotation, atol=1e-15)
    assert cameras.matrix[1, 0, 2] == 334.55744527912015
    (tmp_path / "intrinsics.yml").write_bytes(intrinsics.read_bytes())
    beside = CameraGroup.load(tmp_path / "intrinsics.yml", sizes=(640, 480), names=["l", "r"])
    assert beside.names == ("l", "r")


@pytest.mark.parametrize("file", ["calibration.yml", "stereo_calib.xml"])
def test_opencv_lists_of_images_are_no_calibration(file: str) -> None:
    with raises_input("missing-field"):
        CameraGroup.load(FORMATS / "opencv_yaml" / file)


IDENTIFIED = {
    "anipose_toml/*.toml": "anipose",
    "easymocap_yml": "easymocap",
    "easymocap_yml/*.yml": "easymocap",
    "jarvis_yaml": "jarvis",
    "jarvis_yaml/*.yaml": "jarvis",
    "opencv_yaml/*.yml": "opencv",
    "opencv_yaml/*.xml": "opencv",
    "pose2sim/*.txt": "qualisys",
    "pose2sim/*.toml": "anipose",
    "pose2sim/*.test": "pose2sim",
}


def test_every_file_is_identified() -> None:
    found = {path: name for pattern, name in IDENTIFIED.items() for path in FORMATS.glob(pattern)}
    assert {path for path in FORMATS.glob("*/*") if path.is_file()} <= found.keys()
    assert {path: formats.identify(path).NAME for path in found} == found


@pytest.mark.parametrize(
    "file", ["README.md", "data/human4/CollectedData_cam1.csv", "data/human4/config.yaml", "formats/anipose_toml"]
)
def test_other_files_list_the_known_formats(file: str) -> None:
    with raises_input("unknown-format"):
        CameraGroup.load(SHARED / file)


def test_human4_converts_to_every_format_that_can_hold_it(tmp_path: Path) -> None:
    cameras = CameraGroup.load(SHARED / "data" / "human4" / "calibration.toml")
    points = np.random.default_rng(0).uniform([-0.5, -0.5, 0], [0.5, 0.5, 1.8], (50, 3))
    for name in formats.FORMATS:
        if name == "dlt" or name in FOREIGN:  # has no lens distortion, which this rig has; is only read
            continue
        path = tmp_path / name / {"qualisys": "rig.qca.txt", "dannce": "rig.mat", "opencv": "rig.xml"}.get(name, "rig")
        path.parent.mkdir()
        formats.save(cameras, path, file_format=name)
        again = formats.load(path, **({"sizes": (1088, 1920)} if name == "dannce" else {})).select(cameras.names)
        for view in range(4):
            np.testing.assert_allclose(
                project(again, view, points), project(cameras, view, points), atol=1e-6, err_msg=name
            )
