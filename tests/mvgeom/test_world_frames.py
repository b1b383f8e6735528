"""Poses from known points in the room, and other frames of the world."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from helpers.boards import BOARD, arc_of_cameras, film, photograph
from helpers.errors import raises_input
from helpers.geometry import random_rotation
from helpers.keypoint_files import frame_table
from helpers.mvgeom_command import fails, run, run_next
from helpers.unsynchronized import same_clocks
from mvgeom import CameraGroup, project
from mvgeom.calibration import from_points
from mvgeom.calibration.board_world import world_of_board
from mvgeom.calibration.boards import object_points
from mvgeom.calibration.known_points import place_by_points
from mvgeom.calibration.world_axes import (
    WorldChange,
    axes_from_points,
    change_world,
    floor_from_points,
    match_points,
)
from mvgeom.clock_files import load_clocks, save_clocks
from mvgeom.clocks import Clocks
from mvgeom.tables import read_positions

ROOM = {
    "door": [0.4, 0.1, 0.0],
    "lamp": [-0.3, 0.2, 0.3],
    "table": [0.1, -0.3, -0.2],
    "chair": [-0.2, -0.2, 0.1],
    "shelf": [0.3, 0.3, 0.35],
    "plug": [-0.4, 0.0, -0.3],
    "clock": [0.0, 0.25, -0.1],
}
WORLD = np.array(list(ROOM.values()))


def clicks(cameras: CameraGroup, *, noise: float = 0.0, world: np.ndarray = WORLD) -> dict[str, np.ndarray]:
    pixels = project(world, cameras)
    pixels += noise * np.random.default_rng(0).normal(size=pixels.shape)
    return dict(zip(cameras.names, pixels, strict=True))


def angles(found: CameraGroup, truth: CameraGroup) -> np.ndarray:
    return np.rad2deg(Rotation.from_matrix(found.rotation @ np.swapaxes(truth.rotation, 1, 2)).magnitude())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), unit=st.floats(1e-3, 1e3), far=st.floats(-1e4, 1e4))
def test_poses_come_back_from_known_points_in_any_world(seed: int, unit: float, far: float) -> None:
    truth = arc_of_cameras(2, distortion=(-0.1, 0.01, 0, 0))
    rng = np.random.default_rng(seed)
    change = WorldChange(scale=unit, rotation=random_rotation(rng), shift=far * unit * rng.normal(size=3))
    moved = change_world(truth, change)
    positions = {name: unit * change.rotation @ each + change.shift for name, each in ROOM.items()}
    found = place_by_points(truth, positions, clicks(truth))
    assert angles(found.cameras, moved).max() < 1e-3
    np.testing.assert_allclose(found.cameras.centers, moved.centers, atol=unit * (1e-3 + 1e-7 * abs(far)))
    assert found.rms.max() < 1e-2


def test_deviations_of_placed_cameras_hold() -> None:
    truth = arc_of_cameras(3)
    found = place_by_points(truth, ROOM, clicks(truth, noise=1.0))
    turns = np.rad2deg(Rotation.from_matrix(found.cameras.rotation @ np.swapaxes(truth.rotation, 1, 2)).as_rotvec())
    assert (np.abs(turns) < 3.5 * found.rotation_deg).all()
    assert (np.abs(found.cameras.centers - truth.centers) < 3.5 * found.position).all()
    assert not [each for each in found.findings if each.severity == "error"]


def test_a_wrong_click_is_named() -> None:
    truth = arc_of_cameras(1)
    seen = clicks(truth, noise=0.3)
    seen["cam1"][2] += [40, -30]
    found = place_by_points(truth, ROOM, seen)
    assert [each.code for each in found.findings] == ["point_left_out"]
    assert "'table'" in found.findings[0].text


@pytest.mark.parametrize(
    ("world", "code"),
    [
        (WORLD[:3], "too_few_points"),
        (WORLD[:5], "too_few_points"),  # not in a plane
        (np.linspace([0, 0, 0], [0.3, 0.1, 0.2], 6), "points_in_line"),
    ],
)
def test_points_that_determine_no_pose(world: np.ndarray, code: str) -> None:
    truth = arc_of_cameras(1)
    positions = {str(number): each for number, each in enumerate(world)}
    with raises_input("no-calibration") as refused:
        place_by_points(truth, positions, clicks(truth, world=world))
    assert [each.code for each in refused.value.findings] == [code]


def test_two_poses_of_a_distant_plane_are_an_error() -> None:
    truth = arc_of_cameras(1, distortion=(0.0, 0, 0, 0), radius=30.0)
    world = np.array([[0.2, 0.2, 0], [-0.2, 0.2, 0], [-0.2, -0.2, 0], [0.2, -0.2, 0]]) @ random_rotation(
        np.random.default_rng(1)
    )
    positions = {str(number): each for number, each in enumerate(world)}
    found = place_by_points(truth, positions, clicks(truth, noise=0.5, world=world))
    assert "ambiguous_pose" in {each.code for each in found.findings if each.severity == "error"}


def test_missing_and_misshapen_clicks() -> None:
    truth = arc_of_cameras(2)
    with raises_input("missing-view", view="cam2"):
        place_by_points(truth, ROOM, {"cam1": clicks(truth)["cam1"]})
    with raises_input("wrong-shape", argument="points"):
        place_by_points(truth, ROOM, {"cam1": np.zeros((2, 2)), "cam2": np.zeros((2, 2))})


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0))
def test_a_change_of_the_world_keeps_all_images_and_is_found_again(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    truth = arc_of_cameras(2)
    change = WorldChange(scale=scale, rotation=random_rotation(rng), shift=rng.normal(size=3))
    moved = change_world(truth, change)
    world = scale * WORLD @ change.rotation.T + change.shift
    np.testing.assert_allclose(project(world, moved), project(WORLD, truth), atol=1e-6)
    found = match_points(WORLD, world)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-9)
    np.testing.assert_allclose(found.rotation, change.rotation, atol=1e-9)
    np.testing.assert_allclose(found.shift, change.shift, atol=1e-8 * max(1, scale))
    kept = match_points(WORLD, world, keep_scale=True)
    assert kept.scale == 1
    np.testing.assert_allclose(kept.rotation, change.rotation, atol=1e-9)

    origin, along_x, towards_y = rng.normal(size=(3, 3))
    axes = axes_from_points(origin, along_x, towards_y)
    new = (np.stack([origin, along_x, towards_y]) @ axes.rotation.T) + axes.shift
    np.testing.assert_allclose(new[0], 0, atol=1e-9)
    np.testing.assert_allclose(new[1, 1:], 0, atol=1e-9)
    assert new[1, 0] > 0
    assert abs(new[2, 2]) < 1e-9
    assert new[2, 1] > 0


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_floor_is_found_below_lifted_feet(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = arc_of_cameras(3)
    tilt = random_rotation(rng)
    up = tilt[:, 2] if np.median((truth.centers - 0.0) @ tilt[:, 2]) > 0 else -tilt[:, 2]
    feet = rng.uniform(-1, 1, (200, 3)) * [0.4, 0.4, 0.0] @ tilt.T + 0.002 * rng.normal(size=(200, 3))
    feet[::4] += rng.uniform(0.05, 0.4, (50, 1)) * up
    feet[::31] = np.nan
    change = floor_from_points(feet, truth)
    assert np.rad2deg(np.arccos(np.clip(change.rotation[2] @ up, -1, 1))) < 1
    moved = change_world(truth, change)
    assert np.median(moved.centers[:, 2]) > 0
    assert abs(moved.rotation[0, 0, 2]) < 0.2 or np.linalg.norm(np.cross(truth.rotation[0, 0], up)) < 0.99
    assert change.error < 0.01
    with raises_input("too-few-points", found=2):
        floor_from_points(feet[[1, 2]], truth)
    with raises_input("too-few-points", found=4):
        floor_from_points(np.linspace(np.zeros(3), np.ones(3), 4), truth)


@pytest.mark.parametrize("views", [1, 3])
def test_the_world_of_a_board(views: int) -> None:
    truth = arc_of_cameras(3)
    filmed = film(truth, 12)
    used = np.where((np.arange(3) < views)[:, None, None, None], filmed.points, np.nan)
    detections = from_points(truth.names, truth.sizes, BOARD, used)
    frame = int(np.flatnonzero(detections.seen[:views].all(axis=0))[0])
    # A board that is listed from its other end in one view is turned back.
    if views > 1:
        detections.points[1, frame] = detections.points[1, frame][detections.orders[-1]]
    small = truth.replace(translation=truth.translation * (0.5 if views > 1 else 1.0))
    change, name = world_of_board(small, detections, frame=str(frame))
    assert name == str(frame)
    moved = change_world(small, change)
    expected = project(object_points(BOARD)[5:6] @ filmed.rotation[frame].T + filmed.position[frame], truth)
    np.testing.assert_allclose(project(object_points(BOARD)[5:6], moved), expected, atol=0.1)
    with raises_input("missing-frame", frame="nowhere"):
        world_of_board(small, detections, frame="nowhere")


@pytest.mark.parametrize("keep_scale", [False, True])
def test_a_board_that_moved_between_the_views_defines_no_world(keep_scale: bool) -> None:
    truth = arc_of_cameras(3)
    corners = object_points(BOARD) - object_points(BOARD).mean(axis=0)
    turns = [Rotation.from_euler("z", angle, degrees=True).as_matrix() for angle in (0, 60, 120)]
    moved = [corners @ turn.T + shift for turn, shift in zip(turns, (0, [0.2, 0.2, 0.2], [-0.2, 0.2, 0]), strict=True)]
    seen = np.stack([project(points, truth)[view] for view, points in enumerate(moved)])
    with raises_input("out-of-range"):
        world_of_board(truth, from_points(truth.names, truth.sizes, BOARD, seen[:, None]), keep_scale=keep_scale)
    resting = from_points(truth.names, truth.sizes, BOARD, project(moved[0], truth)[:, None])
    small = truth.replace(translation=0.01 * truth.translation)  # another unit is no misfit
    assert world_of_board(small, resting, keep_scale=keep_scale)[0].scale == pytest.approx(1 if keep_scale else 100)


def write_views(folder: Path, pixels: dict[str, np.ndarray], names: tuple[str, ...]) -> list[str]:
    views = []
    for view, each in pixels.items():
        table = frame_table(each, np.ones(each.shape[:2]), names=names)
        table.to_csv(folder / f"{view}.csv")
        views.append(f"{view}={folder / view}.csv")
    return views


def write_positions(path: Path, delimiter: str = ",") -> Path:
    lines = [delimiter.join(("name", "x", "y", "z"))]
    lines += [delimiter.join((name, *(str(value) for value in each))) for name, each in ROOM.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_commands_place_and_world(tmp_path: Path) -> None:
    truth = arc_of_cameras(2, distortion=(-0.1, 0, 0, 0))
    rng = np.random.default_rng(0)
    pixels = {name: each[None] + 0.2 * rng.normal(size=(5, *each.shape)) for name, each in clicks(truth).items()}
    views = write_views(tmp_path, pixels, tuple(ROOM))
    room = write_positions(tmp_path / "room.csv")
    lost = truth.replace(rotation=np.tile(np.eye(3), (2, 1, 1)), translation=np.zeros((2, 3)))
    lost.save(tmp_path / "lenses.toml")
    nothing = np.zeros(2)
    clocks = Clocks(
        names=truth.names,
        reference=truth.names[0],
        frame_rate=50.0,
        offset=np.array([0.0, 3.0]),  # longer than the tables of clicks, which do not move
        drift=nothing,
        offset_std=nothing,
        drift_std=nothing,
    )
    save_clocks(clocks, tmp_path / "lenses.sync.json")
    placed = tmp_path / "placed.toml"
    result = run("place", tmp_path / "lenses.toml", *views, "--points", room, "-o", placed)
    assert result.exit_code == 0, result.output
    assert run_next(result).exit_code == 0
    assert same_clocks(load_clocks(tmp_path / "placed.sync.json"), clocks)
    (tmp_path / "placed.sync.json").unlink()
    assert angles(CameraGroup.load(placed), truth).max() < 0.2

    change_world(truth, WorldChange(scale=3.0, rotation=random_rotation(rng), shift=np.ones(3))).save(
        tmp_path / "other.toml"
    )
    back = tmp_path / "back.toml"
    result = run("world", tmp_path / "other.toml", *views, "--points", room, "-o", back)
    assert result.exit_code == 0, result.output
    assert angles(CameraGroup.load(back), truth).max() < 0.2
    np.testing.assert_allclose(CameraGroup.load(back).centers, truth.centers, atol=0.02)
    result = run("world", placed, *views, "--axes", "door", "lamp", "table", "-o", back)
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(
        np.linalg.norm(CameraGroup.load(back).centers, axis=1),
        np.linalg.norm(truth.centers - WORLD[0], axis=1),
        rtol=0.01,
    )
    result = run("world", placed, *views, "--floor", "door", "--floor", "lamp", "--floor", "plug", "-o", back)
    assert result.exit_code == 0, result.output

    back.unlink()
    fails("excluded-options", "world", placed, *views, "-o", back)
    fails("excluded-options", "world", placed, *views, "-o", back, "--points", room, "--floor", "door")
    fails("keypoints-differ", "world", placed, *views, "-o", back, "--floor", "roof", found="roof")
    fails("missing-argument", "place", placed, *views, "-o", back, option="--points")
    (tmp_path / "few.csv").write_text("name,x,y,z\ndoor,0,0,0\n")
    fails("no-calibration", "place", placed, *views[:1], "-o", back, "--points", tmp_path / "few.csv")
    assert not back.exists()


def test_the_world_of_a_photographed_board(tmp_path: Path) -> None:
    truth = arc_of_cameras(2, distortion=(0.0, 0, 0, 0))
    filmed = film(truth, 6)
    whole = int(np.flatnonzero(np.isfinite(filmed.points).all((2, 3)).all(axis=0))[0])
    views = []
    for view, images in enumerate(photograph(truth, BOARD, filmed)):
        file = tmp_path / f"board{view + 1}.png"
        cv2.imwrite(str(file), images[whole])
        views.append(f"{truth.names[view]}={file}")
    truth.save(tmp_path / "rig.toml")
    output = tmp_path / "world.toml"
    board = ("--chessboard", f"{BOARD.columns}x{BOARD.rows}", "--square", BOARD.square_size)
    result = run("world", tmp_path / "rig.toml", *views, *board, "-o", output)
    assert result.exit_code == 0, result.output
    found = CameraGroup.load(output)
    expected = project(object_points(BOARD)[3:4] @ filmed.rotation[whole].T + filmed.position[whole], truth)
    np.testing.assert_allclose(project(object_points(BOARD)[3:4], found), expected, atol=1.5)


def test_tables_of_positions(tmp_path: Path) -> None:
    for delimiter in (",", ";", "\t"):
        found = read_positions(write_positions(tmp_path / "room.csv", delimiter))
        assert list(found) == list(ROOM)
        np.testing.assert_array_equal(np.array(list(found.values())), WORLD)
    path = tmp_path / "bad.csv"
    wrong = {
        "name,x,y\na,1,2\n": ("missing-column", {"column": "z"}),
        "": ("missing-column", {"column": "name"}),
        "name,x,y,z\n": ("empty-file", {}),
        "name,x,y,z\na,1,2,3\na,1,2,3\n": ("duplicate-name", {"name": "a"}),
        "name,x,y,z\na,1,2,high\n": ("bad-number", {"line": 2}),
        "name,x,y,z\na,1,2\n": ("bad-number", {"line": 2}),
        "name,x,y,z\na,1,2,nan\n": ("bad-number", {"line": 2}),
        f"name,x,y,z\n{'a' * 200_000},1,2,3\n": ("invalid-syntax", {}),
    }
    for text, (code, facts) in wrong.items():
        path.write_text(text)
        with raises_input(code, path=path, **facts):
            read_positions(path)
    path.write_text("name;x;y;z;note\nwall;1,5;-2,25;0;left\n\n")
    np.testing.assert_array_equal(read_positions(path)["wall"], [1.5, -2.25, 0])
