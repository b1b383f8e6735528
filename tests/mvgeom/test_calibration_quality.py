"""Bad data: lenses no richer than the boards, late or moved cameras, degenerate boards, refused refinements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.boards import BOARD, arc_of_cameras, film
from helpers.errors import raises_input
from helpers.mvgeom_command import fails, run
from mvgeom import CameraGroup, project, triangulate, triangulate_pairs
from mvgeom.calibration import (
    CalibrationError,
    Detections,
    Lens,
    Options,
    TagGrid,
    calibrate,
    calibrate_lenses,
    from_points,
    refine,
)
from mvgeom.calibration.boards import object_points
from mvgeom.calibration.bundle import Scene
from mvgeom.calibration.findings import describe_shift
from mvgeom.calibration.lens_findings import find_lens_ends
from mvgeom.calibration.lens_shape import lens_shape
from mvgeom.calibration.rig_adjustment import join_fitting_views
from mvgeom.calibration.rig_suspects import TIME_CODES
from mvgeom.calibration.time_shifts import best_shift, epipolar_over_shifts
from mvgeom.lens_reach import folds_at, image_without_ray, keypoints_without_ray

FOLDING = (-0.9, 0.0, 0.0, 0.0)


def detections(cameras: CameraGroup, points: np.ndarray) -> Detections:
    return from_points(cameras.names, cameras.sizes, BOARD, points)


def turned(cameras: CameraGroup, view: int, degrees: float) -> CameraGroup:
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array([0.6, 0.8, 0])).as_matrix()
    rotation, translation = cameras.rotation.copy(), cameras.translation.copy()
    rotation[view], translation[view] = turn @ rotation[view], turn @ translation[view]
    return cameras.replace(rotation=rotation, translation=translation)


def trajectories(cameras: CameraGroup, *, frames: int = 80, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    """Keypoints (frames, V, 6, 2) of a subject that walks about."""
    rng = np.random.default_rng(seed)
    places = np.linspace(0, 1, frames)[:, None, None]
    path = sum(
        rng.uniform(-0.15, 0.15, 3) * np.sin(2 * np.pi * (rate * places + rng.random())) for rate in (1, 2.3, 4.1)
    )
    pixels = project(path + rng.uniform(-0.1, 0.1, (1, 6, 3)), cameras)
    return pixels + noise * rng.normal(size=pixels.shape)


@pytest.mark.parametrize(
    ("distortion", "expected"), [((), 0), ((-0.1, 0, 0, 0), 4), ((-0.25, 0.08, 0.01, -0.01, 0), 4)], ids=["0", "1", "4"]
)
def test_lens_is_no_richer_than_the_boards(distortion: tuple[float, ...], expected: int) -> None:
    truth = arc_of_cameras(1, distortion=distortion)
    found = calibrate_lenses(detections(truth, film(truth, 20, noise=0.2, spread=0.5).points))
    assert found.lenses[0].num_coefficients == expected
    assert not found.cameras.distortion[0, expected:].any()
    assert found.rms[0] < 0.3


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("coefficients", [None, 5])
def test_lens_is_one_to_one_over_the_image(coefficients: int | None, seed: int) -> None:
    truth = arc_of_cameras(1, distortion=())
    filmed = film(truth, 10, noise=0.4, spread=0.15, seed=seed)
    found = calibrate_lenses(detections(truth, filmed.points), Lens(num_coefficients=coefficients))
    assert image_without_ray(found.cameras)[0] == 0


def print_of(spacing: float) -> TagGrid:
    return TagGrid(columns=5, rows=4, marker_size=0.05, spacing=spacing, dictionary="DICT_APRILTAG_36h11")


@pytest.mark.parametrize(
    ("noise", "claimed"), [(0.2, 0.3), (2.0, 0.3), (0.2, 0.5)], ids=["good", "unsharp", "wrong spacing"]
)
def test_lenses_alone_are_assessed_as_in_a_rig(noise: float, claimed: float) -> None:
    truth = arc_of_cameras(2)
    points = film(truth, 12, board=print_of(0.3), noise=noise).points
    seen = from_points(truth.names, truth.sizes, print_of(claimed), points)
    lenses, rig = calibrate_lenses(seen), calibrate(seen)
    alone, together = ([each for each in found.findings if each.code == "high_error"] for found in (lenses, rig))
    assert [(each.cameras, each.severity) for each in alone] == [(each.cameras, each.severity) for each in together]
    assert len(alone) == (0 if (noise, claimed) == (0.2, 0.3) else 2)
    assert [each.evidence["rms"] for each in alone] == [rms for rms in lenses.rms if rms > 1]


@pytest.mark.parametrize("seed", [0, 1])
def test_chosen_lens_turns_no_camera_by_more_than_stated(seed: int) -> None:
    truth = arc_of_cameras(2)
    points = film(truth, 12, noise=0.2, spread=0.5, seed=seed).points
    points[np.random.default_rng(seed).random(points.shape[:3]) < 0.3] = np.nan
    found = calibrate(detections(truth, points))
    turn = truth.rotation[1] @ truth.rotation[0].T @ found.cameras.rotation[1].T
    off = np.rad2deg(Rotation.from_matrix(turn).magnitude())
    assert off < 3 * np.linalg.norm(found.deviations.rotation_deg[1])


def few_corners_of_each(points: np.ndarray, seed: int) -> np.ndarray:
    """Keep 8 to 19 neighboring corners of each board, as of a grid of tags that is partly covered."""
    rng = np.random.default_rng(seed)
    corners = object_points(BOARD)
    for board in points.reshape(-1, len(corners), 2):
        distance = np.linalg.norm(corners - corners[rng.integers(len(corners))], axis=1)
        board[np.argsort(distance)[rng.integers(8, 20) :]] = np.nan
    return points


@pytest.mark.parametrize(("num_boards", "seed"), [(6, 1), (6, 9), (6, 14), (8, 15), (12, 10)])
def test_few_corners_do_not_lead_the_lens_astray(num_boards: int, seed: int) -> None:
    """Such lenses turn back a thousandfold outside of the corners: the penalty must not throw away what these say."""
    truth = arc_of_cameras(2, distortion=(-0.22, 0.06, 0.0005, -0.0005, -0.006))
    points = film(truth, num_boards, noise=0.1, spread=0.3, seed=seed).points
    found = calibrate(detections(truth, few_corners_of_each(points, seed)))
    off = np.abs(found.cameras.matrix - truth.matrix)[:, [0, 1], [0, 1]]
    assert (off < 4 * found.deviations.focal).all()
    assert not any(each.code in TIME_CODES for each in found.findings)


@pytest.mark.parametrize(
    ("num_boards", "seed"), [(2, 0), (2, 24), (2, 28), (3, 7), (3, 14), (4, 1), (4, 7), (4, 15), (4, 17)]
)
def test_deviations_hold_where_boards_hardly_determine_a_lens(num_boards: int, seed: int) -> None:
    """So few corners leave lenses open, and what is open has a large deviation, also where the lenses are held."""
    truth = arc_of_cameras(2, distortion=(-0.22, 0.06, 0.0005, -0.0005, -0.006))
    points = few_corners_of_each(film(truth, num_boards, noise=0.1, spread=0.3, seed=seed).points, seed)
    # A lens from two boards needs a start, and is adjusted all the same.
    found = calibrate(detections(truth, points), intrinsics=truth if num_boards < 3 else None)
    spread = found.deviations
    for values in (spread.focal, spread.center, spread.distortion, spread.rotation_deg, spread.position):
        assert np.isfinite(values).all()
    focal = truth.matrix[:, [0, 1], [0, 1]]
    off = np.abs(found.cameras.matrix[:, [0, 1], [0, 1]] - focal)
    assert (off < 4 * spread.focal).all()
    turn = found.cameras.rotation[1] @ (truth.rotation[1] @ truth.rotation[0].T).T
    assert np.rad2deg(Rotation.from_matrix(turn).magnitude()) < 4 * np.linalg.norm(spread.rotation_deg[1])
    shift = found.cameras.centers[1] - truth.rotation[0] @ (truth.centers[1] - truth.centers[0])
    assert np.linalg.norm(shift) < 4 * np.linalg.norm(spread.position[1])
    reported = {each.cameras[0]: each.severity for each in found.findings if each.code == "uncertain_focal_length"}
    assert {truth.names[view] for view in np.flatnonzero((off > 0.1 * focal).any(axis=1))} <= set(reported)
    relative = spread.focal.max(axis=1) / found.cameras.matrix[:, [0, 1], [0, 1]].min(axis=1)
    assert {name for name, severity in reported.items() if severity == "error"} == {
        truth.names[view] for view in np.flatnonzero(relative > 0.25)
    }


@pytest.mark.parametrize(("num_boards", "seed"), [(6, 2), (6, 51), (8, 52)])
def test_the_penalty_does_not_end_where_a_lens_would_turn_back_without_it(num_boards: int, seed: int) -> None:
    truth = arc_of_cameras(2, distortion=(-0.22, 0.06, 0.0005, -0.0005, -0.006))
    points = film(truth, num_boards, noise=0.2, spread=0.3, seed=seed).points
    found = calibrate(detections(truth, few_corners_of_each(points, seed)))
    assert image_without_ray(found.cameras).max() == 0


@pytest.mark.parametrize(("num_boards", "seed"), [(5, 61), (5, 73), (6, 51)])
def test_boards_of_few_corners_are_tried_again_in_the_adjusted_rig(num_boards: int, seed: int) -> None:
    truth = arc_of_cameras(2, distortion=(-0.22, 0.06, 0.0005, -0.0005, -0.006))
    points = film(truth, num_boards, noise=0.1, spread=0.3, seed=seed).points
    found = calibrate(detections(truth, few_corners_of_each(points, seed)))
    assert found.used.sum() == 2 * num_boards
    assert not any(each.code in (*TIME_CODES, "contradicting_boards") for each in found.findings)


@pytest.mark.parametrize(("shift", "joins"), [(0.0, True), (30.0, False)])
def test_a_board_that_one_camera_misjudged_joins_again(shift: float, joins: bool) -> None:
    truth = arc_of_cameras(2)
    filmed = film(truth, 6, noise=0.2, seed=1)
    frame = int(np.flatnonzero(np.isfinite(filmed.points).all((0, 2, 3)))[0])
    filmed.points[1, frame] += shift * np.random.default_rng(0).normal(size=filmed.points.shape[2:])
    corners = object_points(BOARD)
    rotation = filmed.rotation.copy()
    rotation[frame] = rotation[frame] @ Rotation.from_euler("xz", [115, 150], degrees=True).as_matrix()
    scene = Scene(cameras=truth, rotation=rotation, position=filmed.position, object_points=corners)
    seen = np.isfinite(filmed.points).all((-1, -2))
    waiting = np.zeros_like(seen)
    waiting[1, frame] = True
    found, joining = join_fitting_views(
        scene, np.arange(6), filmed.points, seen & ~waiting, waiting, np.array([0.9, 0.9])
    )
    np.testing.assert_array_equal(joining, waiting & joins)
    if joins:
        np.testing.assert_allclose(found.rotation[frame], filmed.rotation[frame], atol=0.01)
    others = np.arange(6) != frame
    np.testing.assert_array_equal(found.rotation[others], rotation[others])


def test_lens_is_no_richer_than_the_focal_length_allows() -> None:
    truth = arc_of_cameras(1, distortion=(-0.22, 0.06, 0.0005, -0.0005, -0.006))
    rich, poor = (film(truth, count, noise=0.3, spread=0.3, seed=0).points for count in (20, 4))
    assert calibrate_lenses(detections(truth, rich)).lenses[0].num_coefficients > 0
    few = calibrate_lenses(detections(truth, few_corners_of_each(poor, 0)))
    assert few.lenses[0].num_coefficients == 0


def test_penalty_on_the_shape_has_exact_derivatives() -> None:
    for fisheye in (False, True):
        cameras = arc_of_cameras(1, distortion=(-0.9, 0.05, 0.01, -0.02, 0.01), fisheye=fisheye)
        free = np.ones((1, 15), dtype=bool)
        shape = lens_shape(cameras, free)
        value, slope = shape.residuals(cameras)
        assert value.any()
        for place in range(5):
            step = np.zeros(5)
            step[place] = 1e-6
            moved, _ = shape.residuals(cameras.replace(distortion=cameras.distortion + step))
            np.testing.assert_allclose((moved - value)[0] / 1e-6, slope[0, :, 10 + place], rtol=1e-3, atol=1e-3)
        free[:, 10:] = False
        assert not lens_shape(cameras, free).radii.any()


def test_options_of_the_lens() -> None:
    truth = arc_of_cameras(3, distortion=(-0.1, 0, 0, 0))
    given = detections(truth, film(truth, 12, noise=0.2, spread=0.5).points)
    lenses = {
        "cam1": Lens(num_coefficients=0),
        "cam2": Lens(square_pixels=True, fix_center=True),
        "cam3": Lens(fisheye=True),
    }
    cameras = calibrate(given, Options(lens=lenses)).cameras
    assert cameras.fisheye == (False, False, True)
    assert not cameras.distortion[0].any()
    assert cameras.distortion[1].any()
    assert cameras.matrix[1, 0, 0] == pytest.approx(cameras.matrix[1, 1, 1], abs=1e-9)
    np.testing.assert_allclose(cameras.matrix[1, :2, 2], [639.5, 511.5])
    with raises_input("missing-view", argument="lens", view="cam3"):
        calibrate(given, Options(lens={"cam1": Lens(), "cam2": Lens()}))


def test_share_of_the_image_without_rays() -> None:
    cameras = arc_of_cameras(2, distortion=FOLDING)
    share = image_without_ray(cameras)
    x, y = np.meshgrid(np.arange(0, 1280, 8.0), np.arange(0, 1024, 8.0))
    pixels = np.tile(np.stack([x.ravel(), y.ravel()], -1), (2, 1, 1))
    lost = keypoints_without_ray(pixels, cameras)
    np.testing.assert_allclose(share, lost / pixels.shape[1], atol=0.02)
    # Of as many frames as are counted in several parts, with a last one that is shorter.
    np.testing.assert_array_equal(keypoints_without_ray(np.tile(pixels, (7, 1, 1, 1)), cameras), 7 * lost)
    assert share.min() > 0.2
    assert (folds_at(cameras) < 40).all()
    one, _ = find_lens_ends(cameras, pixels[None])
    assert (one.code, one.severity, one.cameras) == ("no_ray", "error", ("cam1",))
    assert one.evidence["keypoints"] == lost[0]
    good = arc_of_cameras(2)
    assert find_lens_ends(good, pixels) == []
    assert not image_without_ray(good).any()
    wide = arc_of_cameras(1, distortion=(0.1, 0, 0, 0), fisheye=True)
    wide = wide.replace(matrix=wide.matrix * np.array([[0.4, 1, 1], [1, 0.4, 1], [1, 1, 1]]))
    (beyond,) = find_lens_ends(wide)
    assert (beyond.code, beyond.severity) == ("no_ray", "note")


def test_commands_show_where_a_lens_ends(tmp_path: Path) -> None:
    cameras = arc_of_cameras(3, distortion=FOLDING)
    cameras.save(tmp_path / "rig.toml")
    shown = run("show", tmp_path / "rig.toml")
    assert shown.exit_code == 0
    assert "error: camera 'cam1':" in shown.stdout
    assert "has no viewing ray" in shown.stdout
    rng = np.random.default_rng(0)
    arguments = []
    for view, name in enumerate(cameras.names):
        columns = ["scorer,n,n", "bodyparts,nose,nose", "coords,x,y"]
        places = rng.uniform([0, 0], cameras.sizes[view] - 1, (60, 2))
        rows = [f"{row},{x},{y}" for row, (x, y) in enumerate(places)]
        (tmp_path / f"{name}.csv").write_text("\n".join([*columns, *rows]) + "\n")
        arguments.append(f"{name}={tmp_path / name}.csv")
    result = run("triangulate", tmp_path / "rig.toml", *arguments, "-o", tmp_path / "points.csv")
    assert result.exit_code == 1
    assert (tmp_path / "points.csv").exists()
    assert "keypoints that lie there and cannot be used" in result.stdout
    assert "of 60" in run("check", tmp_path / "rig.toml", *arguments).stdout


@pytest.mark.parametrize("tilt_deg", [0.0, 0.5])
def test_boards_parallel_to_the_sensor_are_refused(tilt_deg: float) -> None:
    truth = arc_of_cameras(1).replace(rotation=np.eye(3)[None])
    with pytest.raises(CalibrationError) as raised:
        calibrate(detections(truth, film(truth, 15, noise=0.3, spread=0.4, tilt_deg=tilt_deg).points))
    assert [each.code for each in raised.value.findings if each.severity == "error"] == ["parallel_boards"]


@pytest.mark.parametrize("frames", [1, 12])
def test_boards_that_never_moved_are_refused(frames: int) -> None:
    truth = arc_of_cameras(2)
    filmed = film(truth, 1, spread=0.1)
    points = np.repeat(filmed.points, frames, axis=1)
    points = points + 0.2 * np.random.default_rng(0).normal(size=points.shape)
    with pytest.raises(CalibrationError) as raised:
        calibrate(detections(truth, points))
    found = [each for each in raised.value.findings if each.severity == "error"]
    assert [each.code for each in found] == ["too_few_boards"] * 2
    assert found[0].evidence == {"boards": frames, "places": 1}
    assert ("never moved" in found[0].text) == (frames > 1)


def test_camera_that_moved_half_way_is_found() -> None:
    truth = arc_of_cameras(3)
    before, after = (film(rig, 16, noise=0.2, spread=0.4) for rig in (truth, turned(truth, 1, 0.5)))
    points = np.concatenate([before.points[:, :9], after.points[:, 9:]], axis=1)
    result = calibrate(detections(truth, points), intrinsics=truth)
    found = [each for each in result.findings if each.severity == "error"]
    assert [(each.code, each.cameras) for each in found] == [("moved_camera", ("cam2",))]
    assert found[0].evidence["frame"] == pytest.approx(9, abs=1)
    assert found[0].evidence["rotation_deg"] == pytest.approx(0.5, abs=0.1)
    # The lenses are those of each camera's own images, and no other cause is named.
    alone = calibrate_lenses(detections(truth, points), known=truth).cameras
    np.testing.assert_array_equal(result.cameras.matrix, alone.matrix)
    assert (result.deviations.focal > 0).all()
    assert not {each.code for each in result.findings} & {"high_error", "uncertain_focal_length"}


def test_camera_that_is_out_of_time_by_parts_of_frames() -> None:
    truth = arc_of_cameras(3)
    points = film(truth, 14, noise=0.2, spread=0.4).points
    shift = np.random.default_rng(0).uniform(-4, 4, (14, 1, 2))  # what the board moved by in the meantime
    points[1] += shift
    result = calibrate(detections(truth, points), intrinsics=truth)
    found = {each.code: each for each in result.findings}
    assert found["not_synchronized"].cameras == ("cam2",)
    assert found["not_synchronized"].evidence["joint_px"] > 2 * found["not_synchronized"].evidence["alone_px"]
    assert "tilt" not in found["not_synchronized"].text
    assert "high_error" not in found


def test_a_camera_that_loses_most_of_its_boards_is_an_error() -> None:
    truth = arc_of_cameras(3, distortion=())
    points = film(truth, 20, noise=0.05).points
    turns = np.random.default_rng(0).uniform(0, 2 * np.pi, 11)  # the other 9 boards were at rest
    points[1, 9:] += 60 * np.stack([np.cos(turns), np.sin(turns)], axis=1)[:, None]
    result = calibrate(detections(truth, points), intrinsics=truth)
    (found,) = (each for each in result.findings if each.code == "not_synchronized")
    assert (found.severity, found.cameras) == ("error", ("cam2",))
    assert found.evidence["left_out"] > 0.5
    assert found.evidence["joint_px"] < 3 * found.evidence["alone_px"]


@pytest.mark.parametrize(("num_views", "frames"), [(2, 5), (4, -3)])
def test_shift_in_time_is_found_from_epipolar_distances(num_views: int, frames: int) -> None:
    cameras = arc_of_cameras(num_views)
    points = trajectories(cameras)
    points[:, 1] = np.roll(points[:, 1], frames, axis=0)
    found = best_shift(cameras, points, 1)
    assert found is not None
    assert found.frames == frames
    assert found.distance < 1.5
    assert found.distance_without > 2 * found.distance
    still = np.repeat(points[:1], 80, axis=0)
    curve = epipolar_over_shifts(cameras, still, 1, range(-5, 6))
    np.testing.assert_allclose(curve, curve[0])
    assert np.isnan(epipolar_over_shifts(cameras, points, 1, [100])).all()


@pytest.mark.parametrize(
    ("degrees", "frames", "code"), [(14.0, 0, "large_turn"), (0.0, 6, "late_camera")], ids=["turn", "time"]
)
def test_refine_refuses_what_it_cannot_know(tmp_path: Path, degrees: float, frames: int, code: str) -> None:
    truth = arc_of_cameras(4)
    points = trajectories(truth, frames=40)
    points[:, 2] = np.roll(points[:, 2], frames, axis=0)
    start = turned(truth, 2, degrees)
    start.save(tmp_path / "rig.toml")
    arguments = []
    for view, name in enumerate(truth.names):
        names = [f"k{number}" for number in range(points.shape[2]) for _ in "xy"]
        header = ["scorer," + ",".join(["n"] * len(names)), "bodyparts," + ",".join(names)]
        header.append("coords," + ",".join(["x,y"] * points.shape[2]))
        rows = [f"{row}," + ",".join(map(str, values.ravel())) for row, values in enumerate(points[:, view])]
        (tmp_path / f"{name}.csv").write_text("\n".join([*header, *rows]) + "\n")
        arguments.append(f"{name}={tmp_path / name}.csv")
    output = tmp_path / "refined.toml"
    result = run("refine", tmp_path / "rig.toml", *arguments, "-o", output)
    assert result.exit_code == 1, result.output
    assert {"large_turn": "was turned by", "late_camera": "6 frames late"}[code] in result.stdout
    assert not output.exists()
    if code == "large_turn":
        assert run("refine", tmp_path / "rig.toml", *arguments, "-o", output, "--force").exit_code == 0
        assert output.exists()


def test_standard_deviations_hold_for_errors_that_last() -> None:
    truth = arc_of_cameras(4)
    ratios = []
    for seed in range(2):
        points = trajectories(truth, frames=120, noise=0.5, seed=seed)
        rng = np.random.default_rng(seed)
        slow = np.repeat(rng.normal(size=(6, *points.shape[1:])), 20, axis=0)
        points = points + 2 * slow + 2 * rng.normal(size=(1, *points.shape[1:]))
        found = refine(truth, points, hold="cam1")
        angle = Rotation.from_matrix(found.cameras.rotation @ np.swapaxes(truth.rotation, 1, 2)).magnitude()
        stated = np.linalg.norm(found.deviations.rotation_deg, axis=1)
        ratios.append(np.rad2deg(angle)[1:] / stated[1:])
    assert np.sqrt(np.mean(np.square(ratios))) < 1.8, ratios
    assert (np.array(ratios) < 2).mean() > 0.8


def test_refine_names_poses_that_the_keypoints_do_not_determine() -> None:
    """From few keypoints near each other cameras turn by degrees, and the reprojection error falls all the same."""
    truth = arc_of_cameras(4)
    rng = np.random.default_rng(0)
    pixels = project(rng.uniform(-0.03, 0.03, (10, 4, 3)), truth)
    found = refine(truth, pixels + rng.normal(size=pixels.shape), hold="cam2")
    assert found.errors.overall_after < found.errors.overall_before
    assert [(each.code, each.severity, each.cameras) for each in found.findings] == [
        ("uncertain_pose", "warning", (name,)) for name in ("cam1", "cam3", "cam4")
    ]
    turned_by = [each.evidence["turned"] for each in found.findings]
    np.testing.assert_allclose(turned_by, found.rotation_deg[[0, 2, 3]])
    assert max(turned_by) > 1
    assert refine(truth, trajectories(truth)).findings == ()


def test_points_behind_all_cameras_are_missing() -> None:
    cameras = arc_of_cameras(3)
    behind = project(np.array([[0.1, 0.0, 0.05]]), cameras)
    # Mirrored through the principal points, viewing lines meet behind the cameras.
    lines = cameras.matrix[:, None, :2, 2] * 2 - behind
    plain = cameras.replace(distortion=np.zeros((3, 0)))
    found = triangulate(lines, plain)
    depth = (plain.rotation @ np.nan_to_num(found).T + plain.translation[..., None])[:, 2]
    assert np.isnan(found).all() or (depth > 0).any()
    pair = CameraGroup(
        names=("a", "b"),
        sizes=np.full((2, 2), 100.0),
        matrix=np.tile([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]], (2, 1, 1)),
        distortion=np.zeros((2, 0)),
        rotation=np.tile(np.eye(3), (2, 1, 1)),
        translation=np.array([[0.5, 0, 0], [-0.5, 0, 0]]),
    )
    away = np.array([[[25.0, 50]], [[75.0, 50]]])  # the lines diverge ahead, and meet behind
    assert np.isnan(triangulate(away, pair)).all()
    assert np.isnan(triangulate_pairs(away, pair)).all()
    assert np.isfinite(triangulate(away[::-1], pair)).all()
    assert np.isfinite(triangulate_pairs(away[::-1], pair)).all()
    np.testing.assert_array_equal(triangulate(away[::-1].tolist(), pair), triangulate(away[::-1], pair))


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("sizes", [[0.0, 100.0]], "not-a-camera"),
        ("matrix", np.diag([-900.0, 900.0, 1.0])[None], "not-a-camera"),
        ("matrix", np.diag([900.0, 0.0, 1.0])[None], "not-a-camera"),
        ("matrix", np.array([[900.0, 0.0, 0.0], [0.0, 900.0, 0.0], [50.0, 50.0, 1.0]])[None], "not-a-camera"),
        ("matrix", np.array([[900.0, 0.0, 50.0], [1.0, 900.0, 50.0], [0.0, 0.0, 1.0]])[None], "not-a-camera"),
        ("matrix", 2 * np.array([[900.0, 0.0, 50.0], [0.0, 900.0, 50.0], [0.0, 0.0, 1.0]])[None], "not-a-camera"),
        ("rotation", np.diag([1.0, 1.0, -1.0])[None], "not-a-rotation"),
        ("rotation", 1.1 * np.eye(3)[None], "not-a-rotation"),
    ],
)
def test_what_is_no_camera_is_refused(field: str, value: object, code: str) -> None:
    with raises_input(code, argument=field, view="cam1"):
        arc_of_cameras(1).replace(**{field: value})


def test_what_to_do_about_a_format_with_few_coefficients(tmp_path: Path) -> None:
    arc_of_cameras(2).save(tmp_path / "rig.toml")
    line = fails(
        "unsupported-camera", "convert", tmp_path / "rig.toml", "-o", tmp_path / "other.toml", "--to", "pose2sim"
    )
    assert "mvgeom calibrate --coefficients 4" in line


@pytest.mark.parametrize(
    ("frames", "text"), [(1, "1 frame late"), (-1, "1 frame early"), (3, "3 frames late"), (-2, "2 frames early")]
)
def test_shifts_in_words(frames: int, text: str) -> None:
    assert describe_shift(frames) == text
