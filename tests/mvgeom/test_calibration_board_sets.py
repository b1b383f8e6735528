"""Rigid bodies with several boards: two-sided boards, cubes, single markers, and the files that describe them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.boards import draw_board, film_body, ring_of_cameras
from helpers.errors import raises_input
from mvgeom import CameraGroup
from mvgeom.calibration import (
    BoardSet,
    Calibration,
    CalibrationError,
    CharucoBoard,
    Chessboard,
    Face,
    Lens,
    Options,
    TagGrid,
    calibrate,
    calibrate_lenses,
    detect_boards,
    from_points,
    open_source,
    read_board,
    two_sided,
    world_of_board,
)
from mvgeom.calibration.board_poses import pose_candidates
from mvgeom.calibration.boards import corner_orders, object_points
from mvgeom.calibration.selection import select_frames
from mvgeom.cli.board_input import parse_board

SHEET = CharucoBoard(columns=6, rows=4, square_size=0.06, marker_size=0.045)
LENS = Lens(num_coefficients=0, square_pixels=True, fix_center=True)
OPTIONS = {
    "chessboard": None, "charuco": None, "aprilgrid": None, "marker_grid": None, "square": None, "marker": None,
    "spacing": None, "dictionary": None, "first_id": 0, "legacy": False, "inverted": False, "two_sided": None,
    "board": None,
}  # fmt: skip


def corner_of_a_room(estimated: bool = False) -> BoardSet:
    """Three sides of a cube of side 0.3, each with a grid of markers."""
    faces = []
    for number, (axis, angle) in enumerate([("y", 0), ("y", 90), ("x", 90)]):
        board = TagGrid(
            columns=2, rows=2, marker_size=0.12, spacing=0.2, dictionary="DICT_4X4_50", first_id=4 * number,
            corner_squares=False, from_bottom=False,
        )  # fmt: skip
        rotation = Rotation.from_euler(axis, angle, degrees=True).as_matrix()
        position = rotation @ (np.array([0, 0, -0.15]) - board.points().mean(axis=0))
        faces.append(Face(board=board) if estimated else Face(board=board, rotation=rotation, position=position))
    return BoardSet(faces=tuple(faces), estimated=estimated)


def centered(cameras: CameraGroup) -> CameraGroup:
    """Cameras as `LENS` assumes them."""
    matrix = cameras.matrix.copy()
    matrix[:, 1, 1] = matrix[:, 0, 0]
    matrix[:, :2, 2] = (cameras.sizes - 1) / 2
    return cameras.replace(matrix=matrix)


def assert_right(result: Calibration, truth: CameraGroup) -> None:
    """Poses and focal lengths are within four of the stated standard deviations."""
    relative = [group.rotation @ group.rotation[0].T for group in (result.cameras, truth)]
    angles = np.rad2deg(Rotation.from_matrix(relative[0] @ np.swapaxes(relative[1], 1, 2)).magnitude())[1:]
    assert (angles < 4 * np.linalg.norm(result.deviations.rotation_deg[1:], axis=1) + 1e-6).all()
    focal = np.abs(result.cameras.matrix - truth.matrix)[:, 0, 0]
    assert (focal < 4 * result.deviations.focal[:, 0]).all()
    centers = [(group.centers - group.centers[0]) @ group.rotation[0].T for group in (result.cameras, truth)]
    np.testing.assert_allclose(centers[0], centers[1], atol=0.02)


def test_the_back_of_a_two_sided_board() -> None:
    body = two_sided(SHEET, 0.01)
    front, back = (object_points(body)[body.face_of_points() == face] for face in (0, 1))
    np.testing.assert_array_equal(front, SHEET.points())
    np.testing.assert_allclose(back[:, 2], 0.01)
    # Turned about the vertical axis: the first corner of the back is behind the last one of the front's first row.
    columns = SHEET.grid[0]
    np.testing.assert_allclose(back[0, :2], front[columns - 1, :2], atol=1e-12)
    np.testing.assert_allclose(back[columns - 1, :2], front[0, :2], atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(body.faces[1].rotation), 1)
    assert body.faces[1].board.ids.start == body.faces[0].board.ids.stop
    assert corner_orders(body).shape == (1, len(front) + len(back))


def test_mistakes_in_sets() -> None:
    with raises_input("duplicate-name", argument="faces", found=0):
        BoardSet(faces=(Face(board=SHEET), Face(board=SHEET)))
    with raises_input("out-of-range", argument="faces"):
        BoardSet(faces=())
    with raises_input("out-of-range", argument="thickness", found=-1):
        two_sided(SHEET, -1)
    with raises_input("out-of-range", argument="dictionary"):
        two_sided(CharucoBoard(columns=8, rows=8, square_size=1, marker_size=0.7), 0)


def test_both_sides_are_detected_by_opposite_cameras(tmp_path: Path) -> None:
    body = two_sided(SHEET, 0.02)
    cameras = ring_of_cameras(2, radius=0.9).resize([640.0, 512.0])
    turn = Rotation.from_euler("xyz", [5, 10, 15], degrees=True).as_matrix()
    place = -turn @ object_points(body).mean(axis=0)
    sources, expected = {}, []
    for view, name in enumerate(cameras.names):
        face = body.faces[view]
        rotation = cameras.rotation[view] @ turn @ face.rotation
        shift = cameras.rotation[view] @ (turn @ face.position + place) + cameras.translation[view]
        assert rotation[2, 2] > 0  # this face is turned to this camera
        homography = cameras.matrix[view] @ np.column_stack([rotation[:, :2], shift])
        cv2.imwrite(str(tmp_path / f"{name}.png"), draw_board(face.board, homography, (640, 512)))
        sources[name] = open_source(name, tmp_path / f"{name}.png")
        corners = cv2.perspectiveTransform(face.board.points()[None, :, :2], homography)[0]
        expected.append(np.full((len(object_points(body)), 2), np.nan))
        expected[-1][body.face_of_points() == view] = corners
    found = detect_boards(sources, body)
    np.testing.assert_allclose(found.points[:, 0], expected, atol=0.15)


def test_markers_of_other_faces_are_the_board_s_own(tmp_path: Path) -> None:
    """A camera that sees the back in few of its images: what is found there is not another board."""
    body = two_sided(SHEET, 0.02)
    face = body.faces[1].board
    seen = draw_board(face, np.array([[900.0, 0, 80], [0, 900, 90], [0, 0, 1]]), (640, 512))
    half = draw_board(face, np.array([[900.0, 0, 560], [0, 900, 440], [0, 0, 1]]), (640, 512))  # cut to a marker or two
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), seen if number == 0 else half)
    found = detect_boards({"cam1": open_source("cam1", tmp_path)}, body)
    assert found.seen.sum() == 1
    assert [each.code for each in found.findings] == []


def test_a_face_alone_has_a_pose_with_its_mirror() -> None:
    body = corner_of_a_room()
    corners = object_points(body)
    alone = body.face_of_points() == 1
    rotation = Rotation.from_euler("xyz", [10, -70, 5], degrees=True).as_matrix()
    local = corners @ rotation.T + [0, 0, 2]
    for seen in (alone, np.ones_like(alone)):
        normalized = np.where(seen[:, None], local[:, :2] / local[:, 2:], np.nan)
        poses, errors = pose_candidates(normalized[None], corners)
        assert errors[0, 0] < 1e-8
        np.testing.assert_allclose(poses[0, 0, :3, :3], rotation, atol=1e-5)
        assert np.isfinite(errors[0, 1]) == (seen is alone)


@pytest.mark.parametrize("body", [two_sided(SHEET, 0.02), corner_of_a_room()], ids=["two-sided", "cube"])
def test_cameras_all_around_are_calibrated_by_a_body(body: BoardSet) -> None:
    truth = centered(ring_of_cameras(3))
    points = film_body(truth, body, 16, noise=0.2).points
    assert_right(calibrate(from_points(truth.names, truth.sizes, body, points), Options(lens=LENS)), truth)


def test_a_false_corner_moves_no_pose() -> None:
    corners = object_points(SHEET)
    truth = np.eye(4)
    truth[:3, :3] = Rotation.from_euler("xyz", [0.3, -0.2, 0.1]).as_matrix()
    truth[:3, 3] = [-0.05, 0.02, 10 * np.abs(corners).max()]
    local = corners @ truth[:3, :3].T + truth[:3, 3]
    normalized = local[:, :2] / local[:, 2:]
    normalized += np.random.default_rng(0).normal(0, 1e-5, normalized.shape)
    normalized[2] += 0.02
    poses, _ = pose_candidates(normalized[None], corners)
    np.testing.assert_allclose(poses[0, 0][:3, :3], truth[:3, :3], atol=2e-3)


def test_poses_of_faces_are_found() -> None:
    truth = centered(ring_of_cameras(3))
    body, unknown = corner_of_a_room(), corner_of_a_room(estimated=True)
    points = film_body(truth, body, 20, noise=0.2).points
    result = calibrate(from_points(truth.names, truth.sizes, unknown, points), Options(lens=LENS))
    assert_right(result, truth)
    first = body.faces[0]
    expected = (object_points(body) - first.position) @ first.rotation
    np.testing.assert_allclose(result.detections.object_points, expected, atol=1e-3)
    lenses = calibrate_lenses(from_points(truth.names, truth.sizes, unknown, points), LENS)
    np.testing.assert_allclose(lenses.cameras.matrix[:, 0, 0], truth.matrix[:, 0, 0], rtol=0.02)
    with raises_input("missing-argument", argument="detections"):
        world_of_board(truth, from_points(truth.names, truth.sizes, unknown, points))
    notes = [each for each in result.findings if each.code == "placed_face"]
    assert len(notes) == 2
    assert notes[0].evidence["frames"] > 3


@pytest.mark.slow
def test_standard_deviations_contain_those_of_faces() -> None:
    truth = centered(ring_of_cameras(3))
    body, unknown = corner_of_a_room(), corner_of_a_room(estimated=True)
    ratios = []
    for seed in range(10):
        points = film_body(truth, body, 20, noise=0.3, seed=seed).points
        result = calibrate(from_points(truth.names, truth.sizes, unknown, points), Options(lens=LENS))
        relative = [group.rotation @ group.rotation[0].T for group in (result.cameras, truth)]
        turns = Rotation.from_matrix(relative[0] @ np.swapaxes(relative[1], 1, 2)).as_rotvec(degrees=True)[1:]
        ratios.append(turns / result.deviations.rotation_deg[1:])
    # 60 numbers, of which the six of a recording hang together: a fifth up and down is chance.
    assert 0.7 < np.sqrt(np.mean(np.square(ratios))) < 1.35


def test_a_face_that_is_seen_with_no_other_one_has_no_pose() -> None:
    truth = centered(ring_of_cameras(2))
    body = two_sided(SHEET, 0.02)
    unknown = BoardSet(faces=tuple(Face(board=face.board) for face in body.faces), estimated=True)
    points = film_body(truth, body, 12).points
    back = body.face_of_points() == 1
    points[:, ::2, back] = np.nan
    points[:, 1::2, ~back] = np.nan
    points[1] = points[0] + 1.0  # both cameras side by side see the same face
    with raises_input("no-calibration"):
        calibrate(from_points(truth.names, truth.sizes, unknown, points), Options(lens=LENS))


def test_what_keeps_a_face_from_being_placed_is_named() -> None:
    truth = centered(ring_of_cameras(3))
    body, unknown = corner_of_a_room(), corner_of_a_room(estimated=True)
    points = film_body(truth, body, 20, noise=0.2).points
    faces = body.face_of_points()
    absent = np.where((faces == 0)[:, None], np.nan, points)
    with pytest.raises(CalibrationError) as raised:
        calibrate(from_points(truth.names, truth.sizes, unknown, absent), Options(lens=LENS))
    assert [(each.code, each.evidence) for each in raised.value.findings] == [("unplaced_face", {"faces": 1.0})]
    apart = points.copy()
    apart[:, ::2, faces == 0] = np.nan
    apart[:, 1::2, faces != 0] = np.nan
    with pytest.raises(CalibrationError) as raised:
        calibrate(from_points(truth.names, truth.sizes, unknown, apart), Options(lens=LENS))
    assert {each.code for each in raised.value.findings} <= {"unplaced_face", "disconnected_cameras"}


def test_frames_that_show_several_faces_are_selected() -> None:
    """Frames of one face each, which cover the whole image, and two frames of two faces that cover little."""
    faces = np.repeat([0, 1], 4)
    corners = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    points = np.full((1, 22, 8, 2), np.nan)
    for frame in range(20):
        points[0, frame, faces == frame % 2] = 10 + 600 * corners
    points[0, 20:] = np.tile(300 + 20 * corners, (2, 1))
    sizes = np.array([[640.0, 640.0]])
    assert {20, 21} & set(select_frames(points, sizes, 8, faces=faces).tolist())
    assert not {20, 21} & set(select_frames(points, sizes, 8).tolist())


CUBE = """
[[face]]
kind = "charuco"
columns = 6
rows = 4
square = 0.06
marker = 0.045

[[face]]
kind = "marker"
marker = 0.1
first_id = 40
position = [0.2, 0, 0.1]
rotation = [0, 90, 0]
"""


def test_a_file_describes_a_body(tmp_path: Path) -> None:
    path = tmp_path / "body.toml"
    path.write_text(CUBE)
    body = read_board(path)
    assert isinstance(body, BoardSet)
    assert not body.estimated
    assert body.faces[0].board == SHEET
    np.testing.assert_allclose(object_points(body)[-4:-2], [[0.2, 0, 0.1], [0.2, 0, 0]], atol=1e-12)
    path.write_text(CUBE.replace("position = [0.2, 0, 0.1]\nrotation = [0, 90, 0]\n", ""))
    unknown = read_board(path)
    assert isinstance(unknown, BoardSet)
    assert unknown.estimated
    assert from_points(("a",), np.ones((1, 2)), unknown, np.zeros((1, 1, 19, 2))).faces is not None
    path.write_text(CUBE[: CUBE.index('[[face]]\nkind = "marker"')])
    assert read_board(path) == SHEET
    assert parse_board({**OPTIONS, "board": path}) == SHEET
    assert isinstance(parse_board({**OPTIONS, "board": path, "two_sided": 0.01}), BoardSet)


@pytest.mark.parametrize(
    ("change", "code", "facts"),
    [
        (("[[face]]", "[[side]]"), "missing-field", {"key": "face"}),
        (('"marker"\n', '"sphere"\n'), "unknown-choice", {"key": "kind", "found": "sphere"}),
        (('"marker"\n', '["marker"]\n'), "unknown-choice", {"key": "kind", "found": ["marker"]}),
        (("square = 0.06", "square = inf"), "bad-field", {"key": "square"}),
        (("columns = 6", ""), "missing-field", {"key": "columns"}),
        (("columns = 6", "columns = 6.5"), "bad-field", {"key": "columns", "found": 6.5}),
        (("columns = 6", "columns_of_board = 6\ncolumns = 6"), "bad-key", {"key": "columns_of_board"}),
        (("square = 0.06", "square = true"), "bad-field", {"key": "square"}),
        (("[0, 90, 0]", "[0, 90]"), "bad-field", {"key": "rotation"}),
        (("[0, 90, 0]", "[0, nan, 0]"), "bad-field", {"key": "rotation"}),
        (("first_id = 40", "first_id = 60"), "out-of-range", {"argument": "dictionary"}),
        (("first_id = 40", "first_id = 4"), "duplicate-name", {"found": 4}),
        (("kind", "kind = "), "invalid-syntax", {}),
    ],
)
def test_mistakes_in_files_of_boards(change: tuple[str, str], code: str, facts: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "body.toml"
    path.write_text(CUBE.replace(*change))
    with raises_input(code, **facts):
        read_board(path)


def test_faces_without_a_pose_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "body.toml"
    path.write_text(CUBE + '\n[[face]]\nkind = "marker"\nmarker = 0.1\nfirst_id = 41\n')
    with raises_input("missing-field", key="position"):
        read_board(path)


def test_a_chessboard_does_not_show_which_side_is_seen() -> None:
    with raises_input("bad-option", option="--two-sided"):
        parse_board({**OPTIONS, "chessboard": "7x4", "square": 1.0, "two_sided": 0.01})
    assert parse_board({**OPTIONS, "chessboard": "7x4", "square": 1.0}) == Chessboard(
        columns=7, rows=4, square_size=1.0
    )


def test_the_file_in_the_docs_is_a_two_sided_board(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text(encoding="utf-8")
    path = tmp_path / "body.toml"
    path.write_text(page.split("```toml\n[[face]]")[1].split("```")[0].join(["[[face]]", ""]))
    sheet = CharucoBoard(columns=7, rows=5, square_size=0.04, marker_size=0.03, dictionary="DICT_4X4_100")
    body, expected = read_board(path), two_sided(sheet, 0.01)
    assert isinstance(body, BoardSet)
    assert [face.board for face in body.faces] == [face.board for face in expected.faces]
    np.testing.assert_allclose(object_points(body), object_points(expected), atol=1e-12)
