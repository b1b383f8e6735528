"""Refining calibrations by keypoints: synthetic rigs with a camera that was moved, and the real project human4."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from helpers.boards import arc_of_cameras
from helpers.errors import raises_input
from helpers.geometry import moved_world, random_rotation
from helpers.human4 import human4
from mvgeom import CameraGroup, project, reprojection_error, triangulate, triangulate_robust
from mvgeom.calibration import Lens, refine
from mvgeom.calibration.world_frame import keep_world, similarity


def turned(cameras: CameraGroup, view: int, degrees: float, shift: float = 0.0) -> CameraGroup:
    """The rig with one camera turned about its center, and shifted in its own frame."""
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array([0.6, 0.8, 0])).as_matrix()
    rotation, translation = cameras.rotation.copy(), cameras.translation.copy()
    rotation[view], translation[view] = turn @ rotation[view], turn @ translation[view] + shift
    return cameras.replace(rotation=rotation, translation=translation)


def angles(found: CameraGroup, truth: CameraGroup) -> np.ndarray:
    return np.rad2deg(Rotation.from_matrix(found.rotation @ np.swapaxes(truth.rotation, 1, 2)).magnitude())


def keypoints(cameras: CameraGroup, *, noise: float = 0.0, frames: int = 40, seed: int = 0) -> np.ndarray:
    """(frames, V, 8, 2) of points around the origin."""
    rng = np.random.default_rng(seed)
    pixels = project(rng.uniform(-0.4, 0.4, (frames, 8, 3)), cameras)
    return pixels + noise * rng.normal(size=pixels.shape)


def test_moved_camera_comes_back_and_the_world_stays() -> None:
    truth = arc_of_cameras(4)
    points = keypoints(truth)
    points[::3, 1, 2:5] = np.nan
    result = refine(turned(truth, 2, 2.0, 0.02), points)
    assert angles(result.cameras, truth).max() < 0.03
    assert np.linalg.norm(result.cameras.centers - truth.centers, axis=1).max() < 5e-3
    assert result.errors.overall_before > 5
    assert result.errors.overall_after < 1e-3
    np.testing.assert_allclose(result.rotation_deg[2], 2.0, atol=0.1)
    assert result.converged
    # Points and residuals are those of the refined cameras.
    np.testing.assert_allclose(np.nanmax(np.abs(result.residuals)), 0, atol=1e-2)
    assert result.points_3d.shape == (40, 8, 3)
    assert np.isnan(result.residuals[::3, 1, 2:5]).all()
    np.testing.assert_array_equal(result.cameras.matrix, truth.matrix)


def test_holding_a_camera_keeps_it_exactly() -> None:
    truth = arc_of_cameras(4)
    start = turned(truth, 2, 2.0)
    result = refine(start, keypoints(truth), hold="cam1")
    np.testing.assert_allclose(result.cameras.rotation[0], truth.rotation[0], atol=1e-9)
    np.testing.assert_allclose(result.cameras.translation[0], truth.translation[0], atol=1e-9)
    # Turned about its center, the bad camera did not change the distances between centers, which give the size.
    assert angles(result.cameras, truth).max() < 1e-3
    np.testing.assert_allclose(result.cameras.centers, truth.centers, atol=1e-4)
    assert (result.deviations.rotation_deg[0] == 0).all()


def test_outliers_and_noise_within_stated_uncertainty() -> None:
    truth = arc_of_cameras(4)
    rng = np.random.default_rng(1)
    points = keypoints(truth, noise=1.0, frames=150)
    wrong = rng.random(points.shape[:3]) < 0.05
    points[wrong] += rng.normal(size=(int(wrong.sum()), 2)) * 100
    result = refine(turned(truth, 1, 1.5), points, hold="cam4")
    assert result.noise == pytest.approx(1.0, rel=0.1)
    error, stated = angles(result.cameras, truth), np.linalg.norm(result.deviations.rotation_deg, axis=1)
    assert (error[:3] < 4 * stated[:3]).all()
    assert error.max() < 0.15


def test_robust_loss_bears_outliers_that_are_not_far_off() -> None:
    truth = arc_of_cameras(4)
    points = keypoints(truth, noise=1.0, frames=100)
    points[::5, 0, :, 0] += 12.0  # a detector that is fooled in the same way now and then
    robust, linear = (refine(truth, points, hold="cam4", loss=loss) for loss in ("cauchy", "linear"))
    assert angles(robust.cameras, truth).max() < 0.5 * angles(linear.cameras, truth).max()


def test_weights_and_intrinsics() -> None:
    truth = arc_of_cameras(4)
    points = keypoints(truth, frames=60)
    weights = np.ones(points.shape[:3])
    spoiled = points.copy()
    spoiled[:20, 0] += 30.0
    weights[:20, 0] = 0
    weights[20:30, 1] = np.nan
    result = refine(turned(truth, 2, 1.0), spoiled, weights=weights, hold="cam1")
    assert angles(result.cameras, truth).max() < 1e-3
    assert np.isnan(result.residuals[:20, 0]).all()
    assert np.isnan(result.residuals[20:30, 1]).all()
    wrong = truth.replace(matrix=truth.matrix * np.array([[1.03, 1, 1], [1, 1.03, 1], [1, 1, 1]]))
    lens = Lens(num_coefficients=0, fix_distortion=True)
    focal = refine(wrong, points, lens=lens, hold="cam1").cameras.matrix[:, 0, 0]
    # One focal length cannot be told from the size of the scene that is held; ratios between cameras can.
    np.testing.assert_allclose(focal / focal[0], truth.matrix[:, 0, 0] / truth.matrix[0, 0, 0], rtol=2e-3)


def test_many_points_are_thinned_out_but_all_triangulated() -> None:
    truth = arc_of_cameras(3)
    points = keypoints(truth, frames=100)
    result = refine(turned(truth, 1, 1.0), points, hold="cam1", max_points=100)
    assert angles(result.cameras, truth).max() < 1e-3
    assert np.isfinite(result.points_3d).all()


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.3, 3.0))
def test_keep_world_undoes_a_change_of_the_world(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    truth = arc_of_cameras(4)
    elsewhere = moved_world(truth, random_rotation(rng), rng.normal(size=3), scale)
    for hold in (None, "cam2"):
        back, growth = keep_world(elsewhere, truth, 1.5, hold=hold)
        np.testing.assert_allclose(back.rotation, truth.rotation, atol=1e-9)
        np.testing.assert_allclose(back.translation, truth.translation, atol=1e-9)
        assert growth == pytest.approx(1 / scale)


def test_similarity_is_the_least_squares_optimum() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(20, 3))
    weights = rng.uniform(0.5, 2, 20)
    target = 1.7 * source @ random_rotation(rng).T + rng.normal(size=3) + 0.1 * rng.normal(size=(20, 3))
    scale, rotation, shift = similarity(source, target, weights)

    def cost(scale: float, rotation: np.ndarray, shift: np.ndarray) -> float:
        return float((weights * ((scale * source @ rotation.T + shift - target) ** 2).sum(1)).sum())

    best = cost(scale, rotation, shift)
    assert np.linalg.det(rotation) == pytest.approx(1)
    for _ in range(20):
        turn = Rotation.from_rotvec(1e-2 * rng.normal(size=3)).as_matrix()
        assert cost(scale + 1e-2 * rng.normal(), turn @ rotation, shift + 1e-2 * rng.normal(size=3)) > best


def test_mistakes() -> None:
    truth = arc_of_cameras(3)
    points = keypoints(truth, frames=5)
    with raises_input("wrong-shape", argument="points", found=(5, 2, 8, 2)):
        refine(truth, points[:, :2])
    with raises_input("wrong-shape", argument="weights", found=(5, 3)):
        refine(truth, points, weights=np.ones((5, 3)))
    with raises_input("missing-view", view="cam9", found=("cam1", "cam2", "cam3")):
        refine(truth, points, hold="cam9")
    with raises_input("too-few-views", found=1, expected=2):
        refine(truth.select(["cam1"]), points[:, :1])
    few = points.copy()
    few[2:, 1] = np.nan
    with raises_input("too-few-points", view="cam2", found=16, expected=20):
        refine(truth, few)
    rotation, translation = truth.rotation.copy(), truth.translation.copy()
    rotation[1], translation[1] = np.diag([-1, 1, -1]) @ rotation[1], translation[1] * [-1, 1, -1]
    with raises_input("too-few-points", view="cam2", found=0):
        refine(truth.replace(rotation=rotation, translation=translation), points)


def test_human4() -> None:
    cameras, points = human4()
    result = refine(cameras, points)
    linear = reprojection_error(triangulate(points, cameras, refine_steps=0), points, cameras)
    assert result.errors.overall_before == pytest.approx(np.nanmedian(linear))
    assert result.errors.overall_before == pytest.approx(12, abs=0.5)
    assert result.errors.overall_after < 7.2
    # Robust triangulation finds the views that agree, before and after.
    for rig, at_most in ((cameras, 5.0), (result.cameras, 4.0)):
        robust = triangulate_robust(points, rig, threshold=10.0)
        assert np.nanmedian(robust.error) < at_most
        assert np.nanmedian(robust.error) < 0.6 * np.nanmedian(
            reprojection_error(triangulate(points, rig, refine_steps=0), points, rig)
        )
    # The world stays: no camera is moved by more than the correction itself.
    assert result.rotation_deg.max() < 1.2
    assert result.shift.max() < 0.08


def test_human4_frames_that_took_no_part() -> None:
    cameras, points = human4()
    refined = refine(cameras, points[:50]).cameras
    before, after = (
        np.nanmedian(reprojection_error(triangulate(points[50:], rig, refine_steps=0), points[50:], rig))
        for rig in (cameras, refined)
    )
    assert before == pytest.approx(12, abs=0.5)
    assert after < 8.2
