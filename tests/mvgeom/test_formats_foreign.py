"""Calibrations of other programs that are only read: they project as OpenCV does, and lose no camera silently."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.errors import raises_input
from helpers.foreign_cameras import FOREIGN, ForeignCamera, foreign_rig, write_caliscope, write_old_caliscope
from mvgeom import formats
from mvgeom.cameras import CameraGroup
from mvgeom.formats import filestorage
from mvgeom.projection import project

POINTS = np.random.default_rng(0).uniform(-0.4, 0.4, (30, 3))


def cameras_of(name: str) -> list[ForeignCamera]:
    case = FOREIGN[name]
    return foreign_rig(case.names, case.num_coefficients, fisheye=case.fisheye)


def assert_projects_as(cameras: CameraGroup, expected: list[ForeignCamera]) -> None:
    assert cameras.names == tuple(camera.name for camera in expected)
    assert cameras.fisheye == tuple(camera.fisheye for camera in expected)
    np.testing.assert_array_equal(cameras.sizes, [camera.size for camera in expected])
    pixels = project(POINTS, cameras)
    for view, camera in enumerate(expected):
        np.testing.assert_allclose(pixels[view], camera.project(POINTS), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", FOREIGN)
def test_projects_as_opencv(name: str, tmp_path: Path) -> None:
    case, expected = FOREIGN[name], cameras_of(name)
    path = tmp_path / case.file
    case.write(path, expected)
    assert name == formats.identify(path).NAME
    assert_projects_as(formats.load(path, **(case.options or {})), expected)


@pytest.mark.parametrize("name", FOREIGN)
def test_camera_without_a_pose_is_left_out_with_a_warning(name: str, tmp_path: Path) -> None:
    case, expected = FOREIGN[name], cameras_of(name)
    expected[1] = replace(expected[1], pose=None)
    path = tmp_path / case.file
    case.write(path, expected)
    with pytest.warns(UserWarning, match=f"cameras without extrinsics are left out: {expected[1].name}$"):
        cameras = formats.load(path, **(case.options or {}))
    assert_projects_as(cameras, [expected[0], expected[2]])


@pytest.mark.parametrize("name", FOREIGN)
def test_only_read(name: str, tmp_path: Path) -> None:
    case = FOREIGN[name]
    path = tmp_path / case.file
    case.write(path, cameras_of(name))
    cameras = formats.load(path, **(case.options or {}))
    with raises_input("unknown-format", argument="file_format"):
        formats.save(cameras, tmp_path / "again", file_format=name)
    assert not (tmp_path / "again").exists()


def test_old_caliscope_files_have_matrices_and_ports(tmp_path: Path) -> None:
    expected = foreign_rig(("cam_3", "cam_1", "cam_2"), 5)
    path = tmp_path / "config.toml"
    write_old_caliscope(path, expected)
    assert formats.identify(path).NAME == "caliscope"
    assert_projects_as(formats.load(path), expected)
    write_old_caliscope(path, [replace(expected[0], pose=None), *expected[1:]], further=replace(expected[0], name="x"))
    with pytest.warns(UserWarning, match="left out: cam_3$"):
        assert_projects_as(formats.load(path), [*expected[1:], replace(expected[0], name="strange")])


def test_caliscope_fisheye_ignored_cameras_and_null(tmp_path: Path) -> None:
    expected = foreign_rig(("cam_0", "cam_1"), 4, fisheye=True)
    path = tmp_path / "camera_array.toml"
    write_caliscope(path, expected)
    assert_projects_as(formats.load(path), expected)
    text = path.read_text()
    path.write_text(text.replace("[cameras.1]", "[cameras.1]\nignore = true"))
    with pytest.warns(UserWarning, match=r"left out: cam_1 \(ignored in Caliscope\)$"):
        assert_projects_as(formats.load(path), expected[:1])
    path.write_text(text.replace("[cameras.1]", '[cameras.1]\nname = "side"'))
    assert formats.load(path).names == ("cam_0", "side")
    head, _, last = text.rpartition("rotation = ")
    path.write_text(f'{head}rotation = "null"\nold_rotation = {last}')
    with raises_input("missing-field", view="cam_1", field="rotation"):
        formats.load(path)


@pytest.mark.parametrize("chained", [False, True])
def test_multical_poses_relative_to_a_master(chained: bool, tmp_path: Path) -> None:
    expected = foreign_rig(("a", "b", "c"), 5)
    expected[0] = replace(expected[0], pose=([0.0] * 3, [0.0] * 3))
    path = tmp_path / "calibration.json"
    FOREIGN["multical"].write(path, expected)
    document = json.loads(path.read_text())
    poses = document["camera_poses"]
    second, third = (np.vstack([np.column_stack([poses[k]["R"], poses[k]["T"]]), [0, 0, 0, 1]]) for k in "bc")
    between = third @ np.linalg.inv(second)  # from b to c
    key, pose = ("c_to_b", between) if chained else ("c_to_a", third)
    document["camera_poses"] = {
        "a": poses["a"],
        key: {"R": pose[:3, :3].tolist(), "T": pose[:3, 3].tolist()},
        "b_to_a": poses["b"],
    }
    path.write_text(json.dumps(document))
    cameras = formats.load(path)
    assert cameras.names == ("a", "b", "c")
    for view, camera in enumerate(expected):
        np.testing.assert_allclose(cameras.rotation[view], camera.rotation, atol=1e-12)
        np.testing.assert_allclose(cameras.translation[view], camera.pose[1], atol=1e-12)
    del document["camera_poses"]["a"]
    path.write_text(json.dumps(document))
    assert formats.load(path).names == ("a", "b", "c")
    document["camera_poses"]["d_to_a"] = poses["b"]
    path.write_text(json.dumps(document))
    with raises_input("missing-view", view="d_to_a", path="calibration.json"):
        formats.load(path)


def test_multical_poses_in_a_circle_or_of_two_worlds(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    FOREIGN["multical"].write(path, foreign_rig(("a", "b", "c", "d"), 5))
    document = json.loads(path.read_text())
    pose = document["camera_poses"]["a"]
    for keys in (("a_to_b", "b_to_a"), ("a_to_b", "c_to_d")):
        path.write_text(json.dumps(document | {"camera_poses": dict.fromkeys(keys, pose)}))
        with raises_input("missing-field", path="calibration.json"):
            formats.load(path)


def test_multical_four_coefficients_are_fisheye(tmp_path: Path) -> None:
    expected = foreign_rig(("a", "b"), 4, fisheye=True)
    path = tmp_path / "calibration.json"
    FOREIGN["multical"].write(path, expected)
    assert_projects_as(formats.load(path), expected)
    pinhole = [replace(camera, fisheye=False) for camera in expected]
    assert_projects_as(formats.load(path, fisheye=False), pinhole)


def test_acinoset_lists_of_arrays_and_lenses_that_are_not_fisheye(tmp_path: Path) -> None:
    expected = cameras_of("acinoset")
    path = tmp_path / "scene.json"
    document = {
        "camera_resolution": [1280, 720],
        "fisheye": True,
        "k_arr": [camera.matrix for camera in expected],
        "d_arr": [camera.distortion for camera in expected],
        "r_arr": [camera.rotation for camera in expected],
        "t_arr": [camera.pose[1] for camera in expected],
    }
    path.write_text(json.dumps(document))
    assert formats.identify(path).NAME == "acinoset"
    assert_projects_as(formats.load(path), expected)
    assert formats.load(path, names=["x", "y", "z"]).names == ("x", "y", "z")
    path.write_text(json.dumps(document | {"fisheye": False}))
    assert_projects_as(formats.load(path), [replace(camera, fisheye=False) for camera in expected])
    path.write_text(json.dumps(document | {"t_arr": document["t_arr"][:2]}))
    with raises_input("wrong-count", path="scene.json"):
        formats.load(path)


def test_openpose_two_cameras_cannot_be_the_world(tmp_path: Path) -> None:
    expected = foreign_rig(("1", "2", "3"), 8)
    expected[0] = replace(expected[0], pose=([0.0] * 3, [0.0] * 3))
    FOREIGN["openpose"].write(tmp_path, expected)
    assert len(formats.load(tmp_path, sizes=(1280, 720))) == 3
    FOREIGN["openpose"].write(tmp_path, [replace(expected[1], pose=expected[0].pose)])
    with raises_input("not-a-camera", views=("1", "2")):
        formats.load(tmp_path, sizes=(1280, 720))
    single = formats.load(tmp_path / "3.xml", sizes=(1280, 720))
    assert single.names == ("3",)
    with raises_input("missing-size", view="3"):
        formats.load(tmp_path / "3.xml")


@pytest.mark.parametrize(
    ("name", "field", "replacement", "code"),
    [
        ("panoptic", "K", None, "missing-field"),
        ("panoptic", "t", None, "missing-field"),
        ("panoptic", "R", [[1, 0, 0], [0, 1, 0], [0, 0, 2]], "not-a-rotation"),
        ("panoptic", "distCoef", [0.1], "wrong-count"),
        ("panoptic", "name", ["x"], "bad-field"),
        ("panoptic", "name", "00_07", "duplicate-name"),
        ("acinoset", "d", None, "missing-field"),
        ("acinoset", "fisheye", 1, "bad-field"),
        ("acinoset", "t", [1, 2], "wrong-shape"),
    ],
)
def test_wrong_field_of_a_camera(name: str, field: str, replacement: object, code: str, tmp_path: Path) -> None:
    path = tmp_path / FOREIGN[name].file
    FOREIGN[name].write(path, cameras_of(name))
    document = json.loads(path.read_text())
    document["cameras"][1][field] = replacement
    path.write_text(json.dumps(document))
    with raises_input(code):
        formats.load(path)


def test_opencv_one_camera_is_fisheye_where_the_file_states_so(tmp_path: Path) -> None:
    (camera,) = foreign_rig(("a",), 4, fisheye=True)
    camera = replace(camera, pose=([0.0] * 3, [0.0] * 3))
    path = tmp_path / "a.yml"
    entries = {
        "image_width": camera.size[0],
        "image_height": camera.size[1],
        "fisheye_model": 1,
        "camera_matrix": np.array(camera.matrix),
        "distortion_coefficients": np.array(camera.distortion)[:, None],
    }
    filestorage.write(path, entries)
    cameras = formats.load(path)
    ahead = POINTS + np.array([0.0, 0.0, 1.0])
    assert cameras.fisheye == (True,)
    np.testing.assert_allclose(project(ahead, cameras)[0], camera.project(ahead), rtol=0, atol=1e-8)
    filestorage.write(path, {**entries, "fisheye_model": 0})
    assert formats.load(path).fisheye == (False,)
    filestorage.write(path, {**entries, "xi": np.array([[0.9]])})
    with raises_input("unsupported-camera", view="a", field="xi"):
        formats.load(path)


@pytest.mark.parametrize("models", [(0, 0, 0), (0, 1, 0), (1, 1, 1)])
def test_opencv_5_multiview(models: tuple[int, ...], tmp_path: Path) -> None:
    expected = [
        replace(lens[view], fisheye=bool(model))
        for view, model in enumerate(models)
        for lens in [foreign_rig(("1", "2", "7"), 4 if model else 5)]
    ]
    path = tmp_path / "rig.yml"
    entries = {
        "Rs": np.array([camera.rotation for camera in expected]),
        "distortions": np.concatenate([camera.distortion for camera in expected]),
        "Ks": np.array([camera.matrix for camera in expected]),
        "Ts": np.array([camera.pose[1] for camera in expected if camera.pose is not None])[..., None],
        "models": np.array(models),
        "image_sizes": np.array([camera.size for camera in expected]),
        "cam_ids": "1,2,7",
    }
    filestorage.write(path, entries)
    assert_projects_as(formats.load(path), expected)
    old = {key: value for key, value in entries.items() if key != "models"}
    filestorage.write(path, {**old, "is_fisheye": np.array(models, dtype=bool)})
    assert_projects_as(formats.load(path), expected)
    for key, wrong, code in (
        ("models", np.array([0, 2, 0]), "bad-field"),
        ("distortions", np.zeros(13 if 0 in models else 11), "wrong-shape"),
        ("Rs", np.zeros((3, 3)), "wrong-shape"),
    ):
        filestorage.write(path, {**entries, key: wrong})
        with raises_input(code, field=key):
            formats.load(path)
