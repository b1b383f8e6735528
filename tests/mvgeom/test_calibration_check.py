"""Checking calibrations by keypoints: who disagrees, and what explains it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.boards import arc_of_cameras
from helpers.errors import raises_input
from helpers.human4 import human4
from mvgeom import CameraGroup, project
from mvgeom.calibration import Check, check, refine
from mvgeom.calibration.findings import Finding


@pytest.fixture(scope="module")
def rig() -> CameraGroup:
    return arc_of_cameras(4)


def keypoints(cameras: CameraGroup, *, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = project(rng.uniform(-0.4, 0.4, (60, 10, 3)), cameras)
    pixels = pixels + noise * rng.normal(size=pixels.shape)
    pixels[rng.random(pixels.shape[:3]) < 0.2] = np.nan
    return pixels


def turned(cameras: CameraGroup, view: int, degrees: float) -> CameraGroup:
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array([0.6, 0.8, 0])).as_matrix()
    rotation, translation = cameras.rotation.copy(), cameras.translation.copy()
    rotation[view], translation[view] = turn @ rotation[view], turn @ translation[view]
    return cameras.replace(rotation=rotation, translation=translation)


def only(result: Check) -> Finding:
    """The one finding that is more than a note."""
    (finding,) = (each for each in result.findings if each.severity != "note")
    return finding


@pytest.mark.parametrize("num_views", [2, 3, 4, 6])
@pytest.mark.parametrize("seed", range(3))
def test_good_rigs_pass(num_views: int, seed: int) -> None:
    cameras = arc_of_cameras(num_views)
    result = check(cameras, keypoints(cameras, seed=seed))
    assert [each.code for each in result.findings] == (["cannot_tell"] if num_views == 2 else [])
    assert result.undecided == (cameras.names if num_views == 2 else ())
    assert result.passed
    assert result.noise == pytest.approx(1.0, rel=0.1)
    if num_views > 2:
        np.testing.assert_allclose(result.noise_without, 1.0, rtol=0.15)
        assert (result.own_error > result.error_of_others).all()
    else:
        assert np.isnan(result.noise_without).all()


@pytest.mark.parametrize("num_views", [3, 4, 6])
@pytest.mark.parametrize("degrees", [0.5, 3.0])
def test_turned_camera_is_named_with_its_angle(num_views: int, degrees: float) -> None:
    cameras = arc_of_cameras(num_views)
    result = check(turned(cameras, 1, degrees), keypoints(cameras))
    finding = only(result)
    assert finding.code == "camera_disagrees"
    assert finding.severity == "error"
    assert finding.cameras == ("cam2",)
    assert not result.passed
    assert finding.evidence["rotation_deg"] == pytest.approx(degrees, abs=0.15)
    assert finding.evidence["noise_without"] == pytest.approx(1.0, rel=0.15)
    assert finding.evidence["noise"] > 2 * finding.evidence["noise_without"]
    assert finding.evidence["own_error_with_new_pose"] < 3
    assert "its pose is wrong" in finding.text


def test_two_of_six(rig: CameraGroup) -> None:
    cameras = arc_of_cameras(6)
    result = check(turned(turned(cameras, 1, 1.0), 4, -1.5), keypoints(cameras))
    assert [each.cameras for each in result.findings] == [("cam5",), ("cam2",)]


@pytest.mark.parametrize("frames", [-2, 7])
def test_keypoints_of_other_frames_are_no_pose(rig: CameraGroup, frames: int) -> None:
    points = keypoints(rig)
    points[:, 2] = np.roll(points[:, 2], frames, axis=0)
    finding = only(check(rig, points))
    assert (finding.code, finding.severity, finding.cameras) == ("late_camera", "error", ("cam3",))
    assert finding.evidence["frames"] == frames
    assert finding.evidence["own_error_shifted"] < 3
    assert "its pose is wrong" not in finding.text


def test_neither_pose_nor_shift_is_blamed_for_mixed_frames(rig: CameraGroup) -> None:
    points = keypoints(rig)
    points[:, 2] = np.random.default_rng(0).permutation(points[:, 2])
    finding = only(check(rig, points))
    assert (finding.code, finding.severity, finding.cameras) == ("camera_disagrees", "error", ("cam3",))
    assert "Neither another pose nor a shift" in finding.text
    assert finding.evidence["own_error_with_new_pose"] > 1.5 * finding.evidence["expected_error"]


def test_a_view_without_keypoints_is_undetermined(rig: CameraGroup) -> None:
    points = keypoints(rig)
    points[:, 3] = np.nan
    result = check(rig, points)
    assert result.undecided == ("cam4",)
    assert [(each.code, each.cameras) for each in result.findings] == [("cannot_tell", ("cam4",))]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_images_are_named(rig: CameraGroup, quarters: int) -> None:
    points = keypoints(rig)
    x, y = points[:, 1, :, 0].copy(), points[:, 1, :, 1].copy()
    width, height = rig.sizes[1] - 1
    turned = {1: (height - y, x), 2: (width - x, height - y), 3: (y, width - x)}[quarters]
    points[:, 1] = np.stack(turned, axis=-1)
    found = next(each for each in check(rig, points).findings if each.code == "turned_keypoints")
    assert found.cameras == ("cam2",)
    assert found.evidence["parameter"] == 90 * quarters


def test_a_noisier_view_is_a_warning(rig: CameraGroup) -> None:
    points = keypoints(rig)
    points[:, 2] += 2.0 * np.random.default_rng(0).normal(size=points[:, 2].shape)
    result = check(rig, points)
    assert result.passed
    assert all(each.severity == "warning" for each in result.findings)


@pytest.mark.parametrize("num_views", [2, 3, 4])
def test_exchanged_views(num_views: int) -> None:
    cameras = arc_of_cameras(num_views)
    points = keypoints(cameras)
    points[:, [0, 1]] = points[:, [1, 0]]
    finding = only(check(cameras, points))
    assert finding.code == "swapped_views"
    assert finding.cameras == ("cam1", "cam2")
    assert finding.evidence["noise_undone"] == pytest.approx(1.0, rel=0.15)
    assert finding.evidence["noise"] > 10


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_keypoints_of_resized_images(rig: CameraGroup, scale: float) -> None:
    points = keypoints(rig)
    finding = (
        only(check(rig, (points + 0.5) * scale - 0.5))
        if scale < 1
        else check(rig, (points + 0.5) * scale - 0.5).findings[0]
    )
    assert finding.code == "image_size"
    assert finding.cameras == rig.names
    assert finding.evidence["parameter"] == pytest.approx(scale)
    one = points.copy()
    one[:, 3] = (one[:, 3] + 0.5) * scale - 0.5
    finding = check(rig, one).findings[0]
    assert finding.code == "image_size"
    assert finding.cameras == ("cam4",)
    assert f"px of images resized by {scale:g}" in finding.text


def test_mirrored_images(rig: CameraGroup) -> None:
    points = keypoints(rig)
    points[:, 1, :, 0] = 1279 - points[:, 1, :, 0]
    finding = only(check(rig, points))
    assert finding.code == "mirrored_images"
    assert finding.cameras == ("cam2",)


def test_two_mistakes_at_once(rig: CameraGroup) -> None:
    points = keypoints(rig)
    points[:, [0, 1]] = points[:, [1, 0]]
    points[:, 3] = (points[:, 3] + 0.5) * 0.5 - 0.5
    found = {each.code: each.cameras for each in check(rig, points).findings}
    assert found == {"swapped_views": ("cam1", "cam2"), "image_size": ("cam4",)}


def test_identical_cameras(rig: CameraGroup) -> None:
    points = keypoints(rig)
    rotation, translation = rig.rotation.copy(), rig.translation.copy()
    rotation[2], translation[2] = rotation[0], translation[0]
    found = {
        each.code: each for each in check(rig.replace(rotation=rotation, translation=translation), points).findings
    }
    assert found["identical_cameras"].cameras == ("cam1", "cam3")
    assert found["identical_cameras"].evidence["distance"] == 0
    # Which of the two is wrong is told as well.
    assert found["camera_disagrees"].cameras == ("cam3",)


def test_identical_keypoints(rig: CameraGroup) -> None:
    points = keypoints(rig)
    points[:, 1] = points[:, 0]
    found = {each.code: each for each in check(rig, points).findings}
    assert found["identical_keypoints"].cameras == ("cam1", "cam2")
    assert found["identical_keypoints"].evidence["share"] == 1


def test_given_image_sizes(rig: CameraGroup) -> None:
    sizes = rig.sizes.copy()
    sizes[1] = [640, 512]
    sizes[2] = [1272, 1024]
    resized, cropped = check(rig, keypoints(rig), image_sizes=sizes).findings
    assert (resized.severity, resized.cameras) == ("error", ("cam2",))
    assert "they are resized by 0.5: resize the calibration, too" in resized.text
    assert (cropped.severity, cropped.cameras) == ("warning", ("cam3",))
    assert "1280x1024 px, they are 1272x1024 px" in cropped.text
    with raises_input("wrong-shape", argument="image_sizes", found=(2,)):
        check(rig, keypoints(rig), image_sizes=[1280, 1024])  # type: ignore[list-item]


def test_keypoints_that_have_nothing_to_do_with_the_rig(rig: CameraGroup) -> None:
    points = np.random.default_rng(0).uniform(100, 900, (50, 4, 5, 2))
    finding = only(check(rig, points))
    assert finding.code == "no_agreement"
    assert "crops that were not mapped back" in finding.text


def test_of_two_cameras_the_wrong_one_is_undetermined() -> None:
    cameras = arc_of_cameras(2)
    result = check(turned(cameras, 0, 4.0), keypoints(cameras))
    assert only(result).code == "poor_agreement"
    assert result.passed


def test_a_camera_that_looks_the_other_way(rig: CameraGroup) -> None:
    rotation, translation = rig.rotation.copy(), rig.translation.copy()
    rotation[1], translation[1] = np.diag([-1, 1, -1]) @ rotation[1], translation[1] * [-1, 1, -1]
    finding = only(check(rig.replace(rotation=rotation, translation=translation), keypoints(rig)))
    assert finding.cameras == ("cam2",)
    assert finding.severity == "error"
    assert "lie where it cannot see them" in finding.text
    assert finding.evidence["rotation_deg"] == pytest.approx(180, abs=0.5)
    assert "too far for `mvgeom refine`" in finding.text


def test_mistakes(rig: CameraGroup) -> None:
    points = keypoints(rig)
    with raises_input("wrong-shape", argument="points", found=(60, 3, 10, 2)):
        check(rig, points[:, :3])
    with raises_input("too-few-views", found=1, expected=2):
        check(rig.select(["cam1"]), points[:, :1])
    points[1:] = np.nan
    with raises_input("too-few-points", found=8, expected=20):
        check(rig, points)


def test_human4_names_cam3() -> None:
    cameras, points = human4()
    result = check(cameras, points)
    finding = only(result)
    assert finding.code == "camera_disagrees"
    assert finding.cameras == ("cam3",)
    assert finding.evidence["error_of_others"] == pytest.approx(7.2, abs=0.3)
    assert finding.evidence["own_error"] > 30
    assert 0.7 < finding.evidence["rotation_deg"] < 1.7
    assert finding.evidence["own_error_with_new_pose"] < 0.5 * finding.evidence["own_error"]
    assert check(refine(cameras, points).cameras, points).passed


def test_human4_with_views_exchanged_or_in_pixels_of_crops() -> None:
    cameras, points = human4()
    swapped = points.copy()
    swapped[:, [1, 3]] = points[:, [3, 1]]
    finding = check(cameras, swapped).findings[0]
    assert (finding.code, finding.cameras) == ("swapped_views", ("cam2", "cam4"))
    half = check(cameras, (points + 0.5) / 2 - 0.5).findings[0]
    assert (half.code, half.evidence["parameter"]) == ("image_size", 0.5)
