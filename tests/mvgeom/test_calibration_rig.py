"""Whole rigs from corners of boards: exact without noise, as uncertain as stated with it, and what goes wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.boards import BOARD, Filmed, arc_of_cameras, film
from helpers.errors import raises_input
from mvgeom import CameraGroup, project
from mvgeom.calibration import (
    Calibration,
    CalibrationError,
    CharucoBoard,
    Chessboard,
    Detections,
    Finding,
    Lens,
    Options,
    calibrate,
    calibrate_lenses,
    from_points,
)
from mvgeom.calibration.board_poses import order_motions
from mvgeom.calibration.boards import corner_orders, object_points

FISHEYE = (0.02, -0.005, 0.003, -0.001)
KNOWN = Lens(fix_intrinsics=True, fix_distortion=True)


def detections(filmed: Filmed, points: np.ndarray | None = None, board: Chessboard = BOARD) -> Detections:
    cameras = filmed.cameras
    return from_points(cameras.names, cameras.sizes, board, filmed.points if points is None else points)


def relative_to_first(cameras: CameraGroup) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and translations in the frame of the first camera."""
    rotation = cameras.rotation @ cameras.rotation[0].T
    return rotation, cameras.translation - rotation @ cameras.translation[0]


def pose_errors(found: CameraGroup, truth: CameraGroup) -> tuple[np.ndarray, np.ndarray]:
    """Degrees and distances of the centers, both rigs in the frame of their first camera."""
    rotation, translation = relative_to_first(truth)
    found_rotation, found_translation = relative_to_first(found)
    angle = np.rad2deg(Rotation.from_matrix(found_rotation @ np.swapaxes(rotation, 1, 2)).magnitude())
    centers = [
        np.einsum("vji,vj->vi", turn, shift)
        for turn, shift in ((rotation, translation), (found_rotation, found_translation))
    ]
    return angle, np.linalg.norm(centers[0] - centers[1], axis=1)


def findings(result: Calibration, code: str) -> list[Finding]:
    return [each for each in result.findings if each.code == code]


def fails(filmed: Filmed, points: np.ndarray, intrinsics: CameraGroup | None = None) -> tuple[Finding, ...]:
    with pytest.raises(CalibrationError) as raised:
        calibrate(detections(filmed, points), intrinsics=intrinsics)
    return raised.value.findings


def calibrate_from_near(filmed: Filmed, given: Detections, options: Options | None = None) -> Calibration:
    """Calibrate lenses and rig from the true lenses on, which finds the same in a third of the time."""
    return calibrate(given, options or Options(), intrinsics=filmed.cameras)


@pytest.fixture(scope="module")
def filmed() -> Filmed:
    return film(arc_of_cameras(3), 15, noise=0.2, spread=0.5)


@pytest.mark.parametrize(
    ("lens", "distortion"),
    [
        (Lens(), (-0.2, 0.05, 0.001, -0.0005, 0.01)),
        (Lens(num_coefficients=0), ()),
        (Lens(num_coefficients=1), (-0.1, 0, 0, 0)),
        (Lens(num_coefficients=4, fisheye=True), FISHEYE),
    ],
    ids=["five", "none", "one", "fisheye"],
)
def test_rig_is_recovered_exactly_without_noise(lens: Lens, distortion: tuple[float, ...]) -> None:
    truth = arc_of_cameras(3, distortion=distortion, fisheye=lens.fisheye)
    result = calibrate(detections(film(truth, 15, spread=0.5)), Options(lens=lens))
    angle, distance = pose_errors(result.cameras, truth)
    assert angle.max() < 1e-5
    assert distance.max() < 1e-6
    np.testing.assert_allclose(result.cameras.matrix, truth.matrix, atol=1e-3)
    np.testing.assert_allclose(result.cameras.distortion, truth.distortion, atol=1e-4)
    assert result.rms < 1e-6
    assert (result.used == result.detections.seen).all()


@pytest.mark.slow
def test_errors_are_as_large_as_stated() -> None:
    truth = arc_of_cameras(3)
    squares, noises = [], []
    for seed in range(4):
        filmed = film(truth, 15, noise=0.4, seed=seed, spread=0.5)
        options = Options(loss="linear", lens=Lens(num_coefficients=5))
        result = calibrate_from_near(filmed, detections(filmed), options)
        spread = result.deviations
        rotation, _ = relative_to_first(truth)
        turn = Rotation.from_matrix(result.cameras.rotation @ np.swapaxes(rotation, 1, 2)).as_rotvec(degrees=True)
        parts = [
            (result.cameras.matrix - truth.matrix)[:, [0, 1], [0, 1]] / spread.focal,
            (result.cameras.matrix - truth.matrix)[:, :2, 2] / spread.center,
            (result.cameras.distortion - truth.distortion) / spread.distortion,
            turn[1:] / spread.rotation_deg[1:],
        ]
        centers = truth.rotation[0] @ (truth.centers - truth.centers[0])[..., None]
        parts.append((result.cameras.centers - centers[..., 0])[1:] / spread.position[1:])
        squares.append([float((part**2).mean()) for part in parts])
        noises.append(result.noise)
        assert (spread.rotation_deg[0] == 0).all()
        assert (spread.position[0] == 0).all()
    assert np.mean(noises) == pytest.approx(0.4, rel=0.03)
    # Each is the mean of squares of some dozens of correlated standard normal variables; over 14 seeds, the largest,
    # that of rotations, is 1.5.
    mean = np.mean(squares, axis=0)
    assert (mean > 0.4).all(), mean
    assert (mean < 2.5).all(), mean


def test_chain_of_cameras_where_no_board_is_seen_by_all() -> None:
    filmed = film(arc_of_cameras(4), 24, spread=0.5, noise=0.1)
    points = filmed.points.copy()
    frame = np.arange(24)
    for camera in range(4):  # a third of the frames each for the pairs 1-2, 2-3, 3-4
        points[camera, (frame % 3 != camera) & (frame % 3 != camera - 1)] = np.nan
    result = calibrate_from_near(filmed, detections(filmed, points))
    assert set(result.relations) == {(0, 1), (1, 2), (2, 3)}
    angle, distance = pose_errors(result.cameras, filmed.cameras)
    assert angle.max() < 0.3
    assert distance.max() < 0.01
    assert not [each for each in result.findings if each.severity == "error"]


@pytest.mark.parametrize(("boards", "unseen", "reported"), [(1, 0, True), (2, 0, True), (3, 0, False), (3, 1, False)])
def test_cameras_that_one_or_two_boards_link_to_the_others_are_reported(
    boards: int, unseen: int, reported: bool
) -> None:
    filmed = film(arc_of_cameras(3, step_deg=8), 6 + boards, noise=0.2, spread=0.1, tilt_deg=25)
    points = filmed.points.copy()
    assert np.isfinite(points).all()
    points[2, :3], points[:2, 3:6] = np.nan, np.nan
    # All that links the third camera counts, with whichever camera it shares a board.
    points[0, 6 : 6 + unseen] = points[1, 7 : 7 + unseen] = np.nan
    result = calibrate(detections(filmed, points), Options(lens=KNOWN), intrinsics=filmed.cameras)
    found = [(each.cameras, each.evidence["boards"]) for each in result.findings if each.code == "weak_link"]
    assert found == ([(("cam3",), boards)] if reported else [])


def test_missing_corners_and_outliers(filmed: Filmed) -> None:
    rng = np.random.default_rng(0)
    points = filmed.points.copy()
    points[rng.random(points.shape[:3]) < 0.3] = np.nan
    points[0, 5] += 30 * rng.normal(size=(54, 2))  # corners of something else
    points[1, 7] += 40.0  # a board that moved between the images
    result = calibrate(detections(filmed, points))
    angle, distance = pose_errors(result.cameras, filmed.cameras)
    assert angle.max() < 0.2
    assert distance.max() < 0.01
    assert not result.used[0, result.detections.frames.index("5")]
    assert not result.used[1, result.detections.frames.index("7")]
    assert [each.cameras for each in findings(result, "boards_left_out")] == [("cam1",)]
    assert [each.cameras for each in findings(result, "contradicting_boards")] == [("cam2",)]
    assert result.rms < 0.4


def test_a_blurred_camera_is_placed_by_all_its_boards_and_blames_no_time() -> None:
    truth = arc_of_cameras(3, distortion=())
    filmed = film(truth, 24, noise=0.08, seed=3)
    points = filmed.points.copy()
    points[2] += 1.5 * np.random.default_rng(4).normal(size=points[2].shape)
    result = calibrate(detections(filmed, points), Options(lens=Lens(num_coefficients=0)))
    angle, distance = pose_errors(result.cameras, truth)
    assert not {each.code for each in result.findings} & {"not_synchronized", "contradicting_boards"}
    assert result.used[2].sum() == result.detections.seen[2].sum()
    assert (angle[1:] < 3 * np.linalg.norm(result.deviations.rotation_deg[1:], axis=1)).all()
    assert (distance[1:] < 3 * np.linalg.norm(result.deviations.position[1:], axis=1)).all()
    assert np.linalg.norm(result.deviations.position[2]) > 2 * np.linalg.norm(result.deviations.position[1])


def test_false_corners_on_most_boards() -> None:
    truth = arc_of_cameras(2, distortion=(-0.1, 0.0, 0.001, -0.001, 0.0))
    filmed = film(truth, 24, noise=0.2, seed=5)
    points = filmed.points.copy()
    rng = np.random.default_rng(6)
    false = rng.random(points.shape[:3]) < 0.02
    points[false] += 30 * rng.normal(size=(int(false.sum()), 2))
    result = calibrate(detections(filmed, points))
    focal = result.cameras.matrix[:, [0, 1], [0, 1]] / truth.matrix[:, [0, 1], [0, 1]] - 1
    angle, _ = pose_errors(result.cameras, truth)
    assert np.abs(focal).max() < 0.004
    assert angle[1] < 4 * np.linalg.norm(result.deviations.rotation_deg[1])


def test_no_distortion_chosen_is_no_distortion_known() -> None:
    truth = arc_of_cameras(2, distortion=())
    filmed = film(truth, 12, noise=0.2, spread=0.25, seed=1)
    given = {name: Lens(num_coefficients=0) for name in truth.names}
    chosen, assigned = (calibrate(detections(filmed), Options(lens=lens)) for lens in (Lens(), given))
    assert not chosen.cameras.distortion.any()
    assert not assigned.deviations.distortion.any()
    assert (chosen.deviations.distortion[:, :4] > 0).all()
    assert (chosen.deviations.focal >= assigned.deviations.focal).all()
    assert (chosen.deviations.center > 1.2 * assigned.deviations.center).all()


@pytest.mark.parametrize("board", [BOARD, Chessboard(columns=5, rows=5, square_size=0.03)])
def test_orders_are_motions_of_the_board(board: Chessboard) -> None:
    corners, orders = object_points(board), corner_orders(board)
    assert len(orders) == (8 if board.rows == board.columns else 4)
    assert len({tuple(order) for order in orders}) == len(orders)
    motions = order_motions(corners, orders)
    for order, motion in zip(orders, motions, strict=True):
        np.testing.assert_allclose(corners @ motion[:3, :3].T + motion[:3, 3], corners[order], atol=1e-12)
        assert np.linalg.det(motion[:3, :3]) == pytest.approx(1)
    charuco = CharucoBoard(columns=6, rows=5, square_size=0.03, marker_size=0.02)
    assert corner_orders(charuco).shape == (1, 20)
    with pytest.raises(ValueError, match="corner order 1 does not carry the board onto itself"):
        order_motions(corners, np.stack([orders[0], np.roll(orders[0], 1)]))


@pytest.mark.parametrize("order", [1, 2, 3], ids=["turned", "mirrored left to right", "mirrored top to bottom"])
def test_inverted_and_mirrored_boards_are_put_right(filmed: Filmed, order: int) -> None:
    expected = calibrate_from_near(filmed, detections(filmed))
    points = filmed.points.copy()
    points[1, ::3] = points[1, ::3][:, corner_orders(BOARD)[order]]
    result = calibrate_from_near(filmed, detections(filmed, points))
    np.testing.assert_allclose(result.cameras.translation, expected.cameras.translation, atol=1e-6)
    np.testing.assert_allclose(result.detections.points, expected.detections.points)
    (finding,) = findings(result, "turned_board")
    assert finding.cameras == ("cam2",)
    assert finding.severity == "note"
    assert finding.evidence["boards"] == 5
    assert "(0, 3, 6, 9, 12)" in finding.text


def test_square_board_in_any_turn() -> None:
    board = Chessboard(columns=5, rows=5, square_size=0.04)
    filmed = film(arc_of_cameras(3), 12, board=board, spread=0.4)
    rng = np.random.default_rng(0)
    points = filmed.points.reshape(3, 12, 5, 5, 2).copy()
    for camera in range(3):
        for frame in range(12):
            points[camera, frame] = np.rot90(points[camera, frame], rng.integers(4))
    result = calibrate(detections(filmed, points.reshape(3, 12, 25, 2), board))
    assert pose_errors(result.cameras, filmed.cameras)[0].max() < 1e-4


@pytest.mark.parametrize("right_handed", [False, True])
def test_mirrored_images_are_found_out(filmed: Filmed, right_handed: bool) -> None:
    points = filmed.points.copy()
    points[1, ..., 0] = 1279 - points[1, ..., 0]
    if right_handed:  # a chessboard detector lists the corners of the mirror image clockwise, too
        points[1] = points[1][:, corner_orders(BOARD)[2]]
    (finding,) = fails(filmed, points)
    assert finding.code == "mirrored_images"
    assert finding.cameras == ("cam2",)
    assert finding.evidence["agreeing_mirrored"] > 0.9 * finding.evidence["common"]
    assert finding.evidence["agreeing"] < 0.5 * finding.evidence["common"]


def test_mirrored_images_of_one_of_two_cameras(filmed: Filmed) -> None:
    points = filmed.points[:2].copy()
    points[1, ..., 0] = 1279 - points[1, ..., 0]
    pair = filmed.cameras.select(["cam1", "cam2"])
    with raises_input("no-calibration"):
        calibrate(from_points(pair.names, pair.sizes, BOARD, points))


def test_disconnected_cameras() -> None:
    filmed = film(arc_of_cameras(4), 16, spread=0.5)
    points = filmed.points.copy()
    points[:2, 8:] = np.nan
    points[2:, :8] = np.nan
    (finding,) = fails(filmed, points, filmed.cameras)
    assert finding.code == "disconnected_cameras"
    assert "cam1, cam2 | cam3, cam4" in finding.text


def test_images_of_other_frames(filmed: Filmed) -> None:
    points = filmed.points.copy()
    points[2] = np.roll(points[2], 1, axis=0)
    contradicting, late = fails(filmed, points, filmed.cameras)
    assert contradicting.code == "contradicting_boards"
    assert "cam1, cam2 | cam3" in contradicting.text
    assert "synchronized" in contradicting.text
    assert (late.code, late.cameras, late.evidence["frames"]) == ("late_camera", ("cam3",), 1)


def test_too_few_boards(filmed: Filmed) -> None:
    points = filmed.points.copy()
    points[0] = np.nan
    points[2, 2:] = np.nan
    found = {each.cameras: each for each in fails(filmed, points) if each.severity == "error"}
    assert set(found) == {("cam1",), ("cam3",)}
    assert found["cam1",].code == "too_few_boards"
    assert found["cam1",].evidence["boards"] == 0
    few = calibrate(detections(film(filmed.cameras, 5, spread=0.5)))
    assert [each.evidence["boards"] for each in findings(few, "too_few_boards")] == [5, 5, 5]


def test_known_intrinsics_need_no_more_than_one_board(filmed: Filmed) -> None:
    options = Options(lens=KNOWN)
    result = calibrate(detections(filmed, filmed.points[:, [2]]), options, intrinsics=filmed.cameras)
    np.testing.assert_array_equal(result.cameras.matrix, filmed.cameras.matrix)
    np.testing.assert_array_equal(result.cameras.distortion, filmed.cameras.distortion)
    assert pose_errors(result.cameras, filmed.cameras)[0].max() < 0.6
    assert (result.deviations.focal == 0).all()
    assert (result.deviations.rotation_deg[1:] > 0).all()


def test_fixing_only_the_distortion(filmed: Filmed) -> None:
    start = filmed.cameras.replace(matrix=filmed.cameras.matrix * np.array([[1.02, 1, 1], [1, 1.02, 1], [1, 1, 1]]))
    result = calibrate(detections(filmed), Options(lens=Lens(fix_distortion=True)), intrinsics=start)
    np.testing.assert_array_equal(result.cameras.distortion, filmed.cameras.distortion)
    np.testing.assert_allclose(result.cameras.matrix[:, 0, 0], filmed.cameras.matrix[:, 0, 0], rtol=2e-3)


def test_scene_points_in_space() -> None:
    truth = arc_of_cameras(3)
    world = np.random.default_rng(0).uniform(-0.4, 0.4, (10, 3))
    points = project(world, truth)[:, None]
    options = Options(lens=KNOWN, origin_frame="0")
    result = calibrate(from_points(truth.names, truth.sizes, world, points), options, intrinsics=truth)
    np.testing.assert_allclose(result.cameras.rotation, truth.rotation, atol=1e-6)
    np.testing.assert_allclose(result.cameras.translation, truth.translation, atol=1e-6)


def test_world_is_the_reference_camera_or_a_board(filmed: Filmed) -> None:
    by_camera = calibrate_from_near(filmed, detections(filmed), Options(lens=KNOWN, reference="cam3"))
    np.testing.assert_allclose(by_camera.cameras.rotation[2], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(by_camera.cameras.translation[2], 0, atol=1e-12)
    by_board = calibrate_from_near(filmed, detections(filmed), Options(lens=KNOWN, origin_frame="4"))
    frame = by_board.detections.frames.index("4")
    np.testing.assert_allclose(by_board.boards[frame], np.eye(4), atol=1e-9)
    assert pose_errors(by_camera.cameras, by_board.cameras)[0].max() < 1e-3
    # The unit is that of the squares: a board said to be twice as large makes a rig twice as large.
    twice = Chessboard(columns=9, rows=6, square_size=0.06)
    larger = calibrate_from_near(filmed, detections(filmed, board=twice), Options(lens=KNOWN))
    found = np.linalg.norm(larger.cameras.centers[1:] - larger.cameras.centers[0], axis=1)
    expected = np.linalg.norm(by_camera.cameras.centers[1:] - by_camera.cameras.centers[0], axis=1)
    np.testing.assert_allclose(found, 2 * expected, rtol=1e-6)


def test_selection_keeps_what_is_needed() -> None:
    filmed = film(arc_of_cameras(3), 60, noise=0.2, spread=0.5)
    result = calibrate_from_near(filmed, detections(filmed), Options(max_frames=15, origin_frame="33"))
    assert len(result.detections.frames) == 15
    assert "33" in result.detections.frames
    assert (result.used.sum(axis=1) >= 12).all()
    assert pose_errors(result.cameras, filmed.cameras)[0].max() < 0.3


def test_single_camera() -> None:
    truth = arc_of_cameras(1)
    result = calibrate(detections(film(truth, 20, noise=0.2, spread=0.5)))
    assert result.cameras.matrix[0, 0, 0] == pytest.approx(truth.matrix[0, 0, 0], rel=0.02)
    assert result.relations == {}


def test_lenses_from_images_of_different_frames(filmed: Filmed) -> None:
    points = filmed.points.copy()
    points[1] = points[1, ::-1]
    found = calibrate_lenses(detections(filmed, points), Lens(num_coefficients=2))
    np.testing.assert_allclose(found.cameras.matrix[:, 0, 0], filmed.cameras.matrix[:, 0, 0], rtol=0.03)
    assert (found.rms < 0.4).all()
    assert found.used.sum() == detections(filmed, points).seen.sum()


@pytest.mark.slow
def test_weak_calibrations_are_reported() -> None:
    truth = arc_of_cameras(2)
    flat = calibrate(detections(film(truth, 12, noise=0.2, spread=0.05, tilt_deg=12)))
    assert {each.cameras for each in findings(flat, "uncertain_focal_length")} == {("cam1",), ("cam2",)}
    assert findings(flat, "low_coverage")
    filmed = film(truth, 15, noise=0.1, spread=0.5)
    stretched = filmed.points * [1, 1.1]
    result = calibrate(detections(filmed, stretched))
    assert len(findings(result, "unequal_focal_lengths")) == 2
    noisy = calibrate(detections(film(truth, 15, noise=2.0, spread=0.5)))
    assert len(findings(noisy, "high_error")) == 2


def test_mistakes(filmed: Filmed) -> None:
    given = detections(filmed)
    with raises_input("missing-view", argument="reference", view="cam9"):
        calibrate(given, Options(reference="cam9"))
    with raises_input("missing-frame", argument="origin_frame", frame="99"):
        calibrate(given, Options(origin_frame="99"))
    with raises_input("missing-argument", argument="intrinsics"):
        calibrate(given, Options(lens=Lens(fix_intrinsics=True)))
    with raises_input("out-of-range", argument="max_frames", found=0):
        calibrate(given, Options(max_frames=0))
    with raises_input("missing-view", view="cam3", found=("cam1", "cam2")):
        calibrate(given, intrinsics=filmed.cameras.select(["cam1", "cam2"]))
    half = filmed.cameras.resize(filmed.cameras.sizes / 2)
    with raises_input("size-mismatch", view="cam1"):
        calibrate(given, intrinsics=half)
    with raises_input("cameras-differ", view="cam1"):
        calibrate(given, Options(lens=Lens(num_coefficients=4, fisheye=True)), intrinsics=filmed.cameras)
    with raises_input("unknown-choice", argument="num_coefficients", found=3):
        Lens(num_coefficients=3)
    with raises_input("unknown-choice", argument="num_coefficients", found=5):
        Lens(num_coefficients=5, fisheye=True)
    with raises_input("wrong-shape", argument="points", found=(3, 15, 5, 2)):
        from_points(filmed.cameras.names, filmed.cameras.sizes, BOARD, filmed.points[:, :, :5])
