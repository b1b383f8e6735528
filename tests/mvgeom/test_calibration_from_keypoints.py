"""Calibration without a board: generated rigs up to a similarity, known lengths, motions that determine nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from helpers.boards import arc_of_cameras
from helpers.errors import raises_input
from helpers.human4 import human4
from helpers.keypoint_files import frame_table
from helpers.mvgeom_command import fails, run, run_next
from mvgeom import CameraGroup, project, reprojection_error
from mvgeom.calibration import CalibrationError, KeypointCalibration, KnownLength, calibrate_from_keypoints, refine
from mvgeom.calibration.keypoint_checks import check_geometry
from mvgeom.calibration.keypoint_lenses import FittedLenses, KeypointLenses
from mvgeom.calibration.known_lengths import find_scale

NAMES = ("nose", "tail", "left", "right", "top")
BODY = np.array([[0.06, 0, 0], [-0.06, 0, 0], [0, 0.05, 0.01], [0, -0.05, 0.02], [0, 0, 0.07]])
LENGTH = KnownLength(first="nose", second="tail", length=0.12)


def walk(frames: int = 70, seed: int = 0, *, reach: tuple[float, float, float] = (0.3, 0.25, 0.3)) -> np.ndarray:
    """(frames, 5, 3) points of a rigid body that is somewhere else in every frame."""
    rng = np.random.default_rng(seed)
    turns = Rotation.random(frames, random_state=seed).as_matrix()
    return np.einsum("nij,kj->nki", turns, BODY) + rng.uniform(-1, 1, (frames, 1, 3)) * reach


def keypoints(cameras: CameraGroup, *, noise: float = 0.0, frames: int = 70, seed: int = 0) -> np.ndarray:
    """(frames, V, 5, 2) keypoints of a walk, a tenth of them missing."""
    rng = np.random.default_rng(seed + 1)
    pixels = project(walk(frames, seed), cameras)
    pixels += noise * rng.normal(size=pixels.shape)
    pixels[rng.random(pixels.shape[:3]) < 0.1] = np.nan
    return pixels


def solve(cameras: CameraGroup, points: np.ndarray, **options: Any) -> KeypointCalibration:
    """Calibrate with the names and sizes of the cameras; their intrinsics are given unless `options` say otherwise."""
    given_options = {"intrinsics": cameras, "keypoint_names": NAMES, **options}
    return calibrate_from_keypoints(points, cameras.names, cameras.sizes, **given_options)


def differences(found: CameraGroup, truth: CameraGroup) -> tuple[float, float]:
    """Largest difference of rotations (degrees) and positions (mean distances), both relative to the first camera."""
    turns = [each.rotation @ each.rotation[0].T for each in (found, truth)]
    angle = Rotation.from_matrix(turns[0] @ np.swapaxes(turns[1], 1, 2)).magnitude().max()
    places = [(each.centers - each.centers[0]) @ each.rotation[0].T / gap(each) for each in (found, truth)]
    return float(np.rad2deg(angle)), float(np.abs(places[0] - places[1]).max())


def gap(cameras: CameraGroup) -> float:
    gaps = np.linalg.norm(cameras.centers[:, None] - cameras.centers, axis=-1)
    return float(gaps.sum() / (len(cameras) * (len(cameras) - 1)))


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000), order=st.permutations(range(3)), unit=st.floats(0.01, 100.0))
def test_the_rig_comes_back_in_any_order_of_views_and_unit(seed: int, order: list[int], unit: float) -> None:
    truth = arc_of_cameras(3).select([f"cam{view + 1}" for view in order])
    length = KnownLength(first="nose", second="tail", length=0.12 * unit)
    found = solve(truth, keypoints(truth, seed=seed), lengths=[length])
    angle, shift = differences(found.cameras, truth)
    assert angle < 0.01
    assert shift < 1e-4
    np.testing.assert_allclose(gap(found.cameras) / gap(truth), unit, rtol=1e-3)
    np.testing.assert_allclose(found.cameras.rotation[0], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(found.cameras.rotation), 1)
    np.testing.assert_array_equal(found.cameras.matrix, truth.matrix)
    assert not [each for each in found.findings if each.severity == "error"]


def test_focal_lengths_are_found_and_the_deviations_hold() -> None:
    truth = arc_of_cameras(4, distortion=(0.0, 0, 0, 0), step_deg=40)
    found = solve(truth, keypoints(truth, noise=0.5, frames=120), intrinsics=None, lengths=[LENGTH], reference="cam2")
    np.testing.assert_allclose(found.cameras.matrix[:, 0, 0], truth.matrix[:, 0, 0], rtol=0.03)
    spread = found.deviations
    assert (np.abs(found.cameras.matrix - truth.matrix)[:, 0, 0] < 3 * spread.focal[:, 0]).all()
    relative = [each.rotation @ each.rotation[1].T for each in (found.cameras, truth)]
    turns = np.rad2deg(Rotation.from_matrix(relative[0] @ np.swapaxes(relative[1], 1, 2)).as_rotvec())
    assert (np.abs(turns) <= 3 * spread.rotation_deg + 1e-9).all()
    assert np.abs(turns).max() < 1.5  # principal points are off by 10 to 20 px, which turns look like
    assert (spread.rotation_deg[1] == 0).all()
    np.testing.assert_allclose(found.cameras.translation[1], 0, atol=1e-9)
    np.testing.assert_allclose(gap(found.cameras), gap(truth), rtol=0.01)
    assert found.noise == pytest.approx(0.5, rel=0.15)
    used = found.used & np.isfinite(found.residuals).all(-1)
    assert used.sum() > 0.85 * 120 * 4 * 5
    np.testing.assert_allclose(found.camera_error, 0.5, rtol=0.3)


@pytest.mark.slow
def test_a_lens_is_no_richer_than_the_keypoints() -> None:
    straight = arc_of_cameras(3, distortion=(0.0, 0, 0, 0), step_deg=40)
    few = solve(straight, keypoints(straight, noise=3.0, frames=40), intrinsics=None)
    assert set(few.lenses.groups) == {0}
    assert {"similar_lenses", "unknown_scale"} <= {each.code for each in few.findings}
    np.testing.assert_allclose(few.cameras.matrix[:, 0, 0], np.median(few.cameras.matrix[:, 0, 0]), rtol=0.06)
    np.testing.assert_allclose(gap(few.cameras), 1)
    barrel = arc_of_cameras(3, distortion=(-0.2, 0, 0, 0), step_deg=40)
    bent = solve(barrel, keypoints(barrel, noise=0.3, frames=80), intrinsics=None)
    assert any(bent.lenses.k1)
    np.testing.assert_allclose(bent.cameras.distortion[np.array(bent.lenses.k1), 0], -0.2, atol=0.06)
    assert not bent.cameras.distortion[:, 1:].any()
    assert not any(solve(barrel, keypoints(barrel, frames=40), intrinsics=None, focal=920, coefficients=0).lenses.k1)


def test_wrong_keypoints_are_left_out() -> None:
    truth = arc_of_cameras(4, step_deg=35)
    points = keypoints(truth, noise=0.5, frames=100)
    rng = np.random.default_rng(3)
    swapped = rng.random(points.shape[:2]) < 0.15
    points[swapped] = points[swapped][:, [0, 1, 3, 2, 4]]
    wrong = rng.random(points.shape[:3]) < 0.08
    points[wrong] = rng.uniform(100, 900, (int(wrong.sum()), 2))
    found = solve(truth, points)
    angle, shift = differences(found.cameras, truth)
    assert angle < 0.3
    assert shift < 0.01
    assert not found.used[wrong].mean() > 0.05


@pytest.mark.parametrize(("code", "late"), [("late_camera", 2), ("late_camera", -3), ("mirrored_images", 0)])
def test_a_view_that_contradicts_the_others_is_named_with_the_reason(code: str, late: int) -> None:
    truth = arc_of_cameras(4, step_deg=30, distortion=(0.0, 0, 0, 0))
    rng = np.random.default_rng(0)
    path = np.cumsum(rng.normal(size=(90, 1, 3)), axis=0) * 0.02  # so slow that frames apart look alike
    points = project(np.clip(path - path.mean(axis=0), -0.4, 0.4) + 2 * BODY, truth)
    points += 0.3 * rng.normal(size=points.shape)
    points[:, 2] = np.roll(points[:, 2], late, axis=0)
    if code == "mirrored_images":
        points[:, 2, :, 0] = 1279 - points[:, 2, :, 0]
    found = solve(truth, points)
    errors = [each for each in found.findings if each.severity == "error"]
    assert [(each.code, each.cameras) for each in errors] == [(code, ("cam3",))]
    if late:
        assert errors[0].evidence["frames"] == late


def test_a_camera_that_moved_half_way_is_an_error() -> None:
    truth = arc_of_cameras(4, step_deg=30)
    points = keypoints(truth, noise=0.5, frames=60)
    turn = Rotation.from_rotvec([0, np.deg2rad(4), 0]).as_matrix()
    moved = truth.replace(rotation=turn @ truth.rotation, translation=truth.translation @ turn.T)
    points[35:, 2] = keypoints(moved, noise=0.5, frames=60)[35:, 2]
    found = solve(truth, points)
    errors = [each for each in found.findings if each.severity == "error"]
    assert [(each.code, each.cameras) for each in errors] == [("moved_camera", ("cam3",))]
    assert abs(errors[0].evidence["row"] - 35) <= 1


def test_a_focal_length_that_no_lens_has_is_refused() -> None:
    truth = arc_of_cameras(3, step_deg=40)
    flat = np.moveaxis(keypoints(truth), 1, 0).reshape(3, -1, 2)
    matrix = truth.matrix.copy()
    matrix[1, [0, 1], [0, 1]] *= 1000
    size = 10 + truth.distortion.shape[1]
    fitted = FittedLenses(
        cameras=truth.replace(matrix=matrix),
        covariance=np.zeros((3, size, 3, size)),
        noise=0.5,
        threshold=2.0,
        lenses=KeypointLenses(free_focal=True, groups=(0, 1, 2), k1=(False, False, False)),
    )
    check_geometry(fitted.cameras, flat, fitted, known_focal=True, threshold=2.0)
    with pytest.raises(CalibrationError) as raised:
        check_geometry(fitted.cameras, flat, fitted, known_focal=False, threshold=2.0)
    assert [(each.code, each.cameras) for each in raised.value.findings] == [("uncertain_focal_length", ("cam2",))]


def test_one_moving_point_and_two_cameras() -> None:
    truth = arc_of_cameras(2, step_deg=50)
    points = keypoints(truth, noise=0.3, frames=250)[:, :, :1]
    found = solve(truth, points, keypoint_names=("led",))
    angle, shift = differences(found.cameras, truth)
    assert angle < 0.3
    assert shift < 0.01
    assert len(found.pairs) == 1


@pytest.mark.parametrize("num_keypoints", [1, 2, 3])
def test_deviations_hold_for_few_keypoints_whose_errors_last(num_keypoints: int) -> None:
    """The errors of one point have no groups by keypoint, only stretches of time."""
    truth = arc_of_cameras(2, step_deg=50)
    ratios = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        points = keypoints(truth, noise=0.3, frames=200, seed=seed)[:, :, :num_keypoints]
        points += np.repeat(rng.normal(size=(20, *points.shape[1:])), 10, axis=0)
        found = solve(truth, points, keypoint_names=NAMES[:num_keypoints])
        angle, _ = differences(found.cameras, truth)
        ratios.append(angle / np.linalg.norm(found.deviations.rotation_deg[1]))
    assert 0.2 < np.sqrt(np.square(ratios).mean()) < 2


def on_a_plane(cameras: CameraGroup) -> np.ndarray:
    rng = np.random.default_rng(0)
    world = rng.uniform(-0.4, 0.4, (60, 5, 3)) * [1, 0, 1] + [0, 0.1, 0]
    return project(world, cameras) + 0.5 * rng.normal(size=(60, len(cameras), 5, 2))


def from_one_spot(cameras: CameraGroup) -> np.ndarray:
    turned = cameras.replace(
        rotation=Rotation.from_rotvec([[0, 0.1 * view, 0.05 * view] for view in range(len(cameras))]).as_matrix(),
        translation=np.zeros((len(cameras), 3)),
    )
    return keypoints(turned.replace(translation=turned.rotation @ [0, 0, 1.5]), noise=0.5)


def at_rest(cameras: CameraGroup) -> np.ndarray:
    return np.repeat(keypoints(cameras)[:1], 80, axis=0)


def of_few_frames(cameras: CameraGroup) -> np.ndarray:
    points = keypoints(cameras)
    points[3:, 2] = np.nan
    return points


def in_two_halves(cameras: CameraGroup) -> np.ndarray:
    points = keypoints(cameras)
    points[:35, 2:] = np.nan
    points[35:, :2] = np.nan
    return points


def of_other_frames(cameras: CameraGroup) -> np.ndarray:
    points = keypoints(cameras)
    rng = np.random.default_rng(0)
    return np.stack([points[rng.permutation(len(points)), view] for view in range(len(cameras))], axis=1)


REFUSED: dict[str, Callable[[CameraGroup], np.ndarray]] = {
    "flat_points": on_a_plane,
    "no_baseline": from_one_spot,
    "too_few_places": at_rest,
    "too_few_points": of_few_frames,
    "disconnected_cameras": in_two_halves,
    "no_agreement": of_other_frames,
}
"""Keypoints that determine no rig, by the code of the finding."""


@pytest.mark.parametrize("known", [True, False], ids=["intrinsics", "unknown"])
@pytest.mark.parametrize("code", REFUSED)
def test_motions_that_determine_no_rig_are_refused(code: str, known: bool) -> None:
    truth = arc_of_cameras(4, distortion=(0.0, 0, 0, 0), step_deg=35)
    with raises_input("no-calibration") as refused:
        solve(truth, REFUSED[code](truth), intrinsics=truth if known else None)
    assert isinstance(refused.value, CalibrationError)
    assert code in {each.code for each in refused.value.findings}


def test_focal_lengths_that_nothing_determines_are_refused() -> None:
    truth = arc_of_cameras(2, distortion=(0.0, 0, 0, 0), step_deg=8)
    points = project(walk(60, reach=(0.15, 0.15, 0.1)), truth)
    points += 1.5 * np.random.default_rng(0).normal(size=points.shape)
    with raises_input("no-calibration") as refused:
        solve(truth, points, intrinsics=None)
    assert {each.code for each in refused.value.findings} <= {"uncertain_focal_length", "uncertain_pose", "flat_points"}


@pytest.mark.parametrize(
    ("options", "code", "facts"),
    [
        ({"focal": 900.0}, "excluded-options", {"argument": "focal"}),
        ({"coefficients": 5}, "out-of-range", {"argument": "coefficients"}),
        ({"reference": "cam9"}, "missing-view", {"view": "cam9"}),
        ({"lengths": [KnownLength(first="nose", second="ear", length=1)]}, "keypoints-differ", {"found": "ear"}),
        ({"lengths": [KnownLength(first="nose", second="nose", length=1)]}, "keypoints-differ", {}),
        ({"lengths": [KnownLength(first="nose", second="tail", length=-1)]}, "out-of-range", {"argument": "length"}),
    ],
)
def test_wrong_arguments(options: dict[str, Any], code: str, facts: dict[str, Any]) -> None:
    truth = arc_of_cameras(2, step_deg=50)
    with raises_input(code, **facts):
        solve(truth, keypoints(truth, frames=40), **options)


def test_wrong_shapes() -> None:
    truth = arc_of_cameras(2)
    with raises_input("wrong-shape", argument="points"):
        calibrate_from_keypoints(np.zeros((5, 3, 2, 2)), truth.names, truth.sizes)
    with raises_input("wrong-shape", argument="sizes"):
        calibrate_from_keypoints(np.zeros((5, 2, 2, 2)), truth.names, truth.sizes[:1])
    with raises_input("too-few-views", found=1):
        calibrate_from_keypoints(np.zeros((5, 1, 2, 2)), ("a",), truth.sizes[:1])
    with raises_input("size-mismatch", argument="intrinsics"):
        calibrate_from_keypoints(np.zeros((5, 2, 2, 2)), truth.names, truth.sizes * 2, intrinsics=truth)


def test_lengths_are_measured_without_the_bias_of_noise() -> None:
    truth = arc_of_cameras(3, step_deg=35)
    points = keypoints(truth, noise=6.0, frames=600)
    scale = find_scale(points, truth, NAMES, [LENGTH], threshold=40.0, noise=6.0)
    assert abs(scale.factor - 1) < max(3 * scale.spread, 0.01)
    assert 0 < scale.spread < 0.01
    wrong = KnownLength(first="left", second="right", length=0.3)
    both = find_scale(points, truth, NAMES, [LENGTH, wrong], threshold=40.0, noise=6.0)
    assert both.spread > 0.2  # they contradict each other
    assert len(both.lengths) == 2
    with raises_input("too-few-points", found=3):
        find_scale(points[:3], truth, NAMES, [LENGTH], threshold=40.0, noise=6.0)


def test_human4_is_the_rig_of_its_board_corrected_by_its_keypoints() -> None:
    board, points = human4()
    points = points[::3]
    found = calibrate_from_keypoints(points, board.names, board.sizes, intrinsics=board)
    angle, shift = differences(found.cameras, refine(board, points).cameras)
    assert angle < 0.3
    assert shift < 0.02


def test_the_command(tmp_path: Path) -> None:
    truth = arc_of_cameras(3, distortion=(0.0, 0, 0, 0), step_deg=40)
    points = keypoints(truth, noise=0.5)
    views = []
    for view, name in enumerate(truth.names):
        table = frame_table(points[:, view], np.ones(points[:, view].shape[:2]), names=NAMES)
        table.to_csv(tmp_path / f"{name}.csv")
        views.append(f"{name}={tmp_path / name}.csv")
    output, report = tmp_path / "my rig.mat", tmp_path / "report"
    common = ("calibrate", "--keypoints", *views, "-o", output)
    arguments = (*common, "--size", "1280x1024", "--length", "nose", "tail", "0.12", "--length=left", "right", "0.1005")
    result = run(*arguments, "--focal", "920", "--coefficients", "0", "--report", report)
    assert result.exit_code == 0, result.output
    assert "a pose" in result.stdout
    assert "nose - tail" in result.stdout
    assert run_next(result).exit_code == 0
    found = CameraGroup.load(output, sizes=(1280, 1024))
    assert differences(found, truth)[0] < 1.5
    np.testing.assert_allclose(gap(found), gap(truth), rtol=0.02)
    numbers = json.loads((report / "report.json").read_text())
    assert [each["keypoints"] for each in numbers["lengths"]] == [["nose", "tail"], ["left", "right"]]
    assert {file.name for file in report.iterdir()} >= {"residuals.csv", "cam1.png"}

    output.unlink()
    wrong = {
        ("--length", "nose", "tail"): ("bad-option", {"option": "--length"}),
        ("--length", "nose", "tail", "far"): ("bad-option", {"option": "--length"}),
        ("--focal", "-3"): ("bad-option", {"option": "--focal"}),
        ("--focal", "cam1=900"): ("missing-view", {"view": "cam2"}),
        ("--chessboard", "9x6"): ("excluded-options", {"option": "--chessboard"}),
        ("--size", "cam1=9x9"): ("missing-view", {"view": "cam2"}),
    }
    for more, (code, facts) in wrong.items():
        size = () if "--size" in more else ("--size", "1280x1024")
        fails(code, *common, *size, *more, **facts)
    fails("missing-size", *common, option="--size")
    fails("excluded-options", "calibrate", *views, "-o", output, "--focal", "900", option="--focal")
    assert not output.exists()


def test_the_points_of_the_result_are_those_of_its_cameras() -> None:
    truth = arc_of_cameras(2, step_deg=50)
    points = keypoints(truth, noise=0.3)
    found = solve(truth, points)
    flat = np.moveaxis(points, 1, 0).reshape(2, -1, 2)
    errors = reprojection_error(found.points_3d.reshape(-1, 3), flat, found.cameras)
    lengths = np.linalg.norm(np.moveaxis(found.residuals, 1, 0).reshape(2, -1, 2), axis=-1)
    np.testing.assert_allclose(lengths, errors, atol=1e-6)


def test_the_advice_for_a_lens_that_turns_back_is_about_keypoints() -> None:
    """One coefficient that fits the middle of the image can turn back near its borders, where no keypoint lies."""
    truth = arc_of_cameras(2, distortion=(-0.22, 0.05, 0, 0, -0.005))
    truth = truth.replace(matrix=truth.matrix * [[0.62, 1, 1], [1, 0.62, 1], [1, 1, 1]])
    rng = np.random.default_rng(0)
    points = project(rng.uniform(-0.5, 0.5, (60, 6, 3)), truth)
    points += 0.3 * rng.normal(size=points.shape)
    focal = truth.matrix[:, 0, 0].tolist()
    found = calibrate_from_keypoints(points, truth.names, truth.sizes, focal=focal).findings
    ends = [each for each in found if each.code == "no_ray"]
    assert [each.cameras for each in ends] == [("cam1",), ("cam2",)]
    assert all("--coefficients 0" in each.text for each in ends)
    followed = calibrate_from_keypoints(points, truth.names, truth.sizes, focal=focal, coefficients=0).findings
    assert not [each for each in followed if each.code == "no_ray"]
