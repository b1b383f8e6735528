"""Subsets of many points: of all keypoints and all of the recording, whatever the numbers of frames and keypoints."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.boards import arc_of_cameras
from mvgeom import project
from mvgeom._subset import spread_subset
from mvgeom.calibration import calibrate_from_keypoints, check, refine
from mvgeom.calibration.time_shifts import pairwise_distance
from mvgeom.left_out import deviation_factor
from mvgeom.reconstruction import reconstruct
from mvgeom.smoothing.learning import _thinned


@settings(max_examples=200, deadline=None)
@given(frames=st.integers(1, 3000), keypoints=st.integers(1, 60), each=st.integers(20, 100))
def test_every_keypoint_and_every_stretch_is_represented(frames: int, keypoints: int, each: int) -> None:
    count, most = frames * keypoints, each * keypoints
    chosen = spread_subset(count, most)
    assert len(chosen) == min(count, most)
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] >= 0
    assert chosen[-1] < count
    assert set(chosen % keypoints) == set(range(keypoints))
    np.testing.assert_array_less(np.abs(chosen - np.linspace(0, count, len(chosen))), 2 * count / len(chosen) + 1)
    np.testing.assert_array_equal(chosen, spread_subset(count, most))


NUM_KEYPOINTS = 8
NUM_POINTS = 100
"""Every n-th of 100 frames x 8 keypoints, as many as this, are all of keypoint 0."""


def scene(noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World points (100, 8, 3), their projections (100, V, 8, 2) with noise, and which are of keypoint 0."""
    rng = np.random.default_rng(0)
    world = rng.uniform(-0.4, 0.4, (100, NUM_KEYPOINTS, 3))
    pixels = project(world, RIG)
    return world, pixels + noise * rng.normal(size=pixels.shape), np.arange(NUM_KEYPOINTS) == 0


RIG = arc_of_cameras(4)


def resting() -> np.ndarray:
    """Keypoints (100, V, 8, 2) of which keypoint 0 is at one place."""
    world = scene()[0]
    world[:, 0] = [0.1, 0.05, -0.1]
    return project(world, RIG)


def test_noise_is_that_of_all_keypoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvgeom.reconstruction.CHUNK", NUM_POINTS)
    _, exact, first = scene()
    pixels = exact + np.random.default_rng(1).normal(size=exact.shape) * np.where(first, 0.3, 3.0)[:, None]
    found = reconstruct(pixels, RIG)
    assert 2.0 < found.noise < 3.5
    assert found.num_views.mean() > 3.9
    assert np.isfinite(found.points).all()
    pixels[:, :, 0] = np.nan
    assert 2.5 < reconstruct(pixels, RIG).noise < 3.5


def test_few_labels_in_a_long_table_show_their_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvgeom.reconstruction.CHUNK", NUM_POINTS)
    _, pixels, _ = scene(1.0)
    table = np.full((len(pixels) * 5, *pixels.shape[1:]), np.nan)
    table[2::5] = pixels
    assert reconstruct(table, RIG).noise == pytest.approx(1.0, rel=0.15)


def test_deviations_are_assessed_by_all_keypoints(monkeypatch: pytest.MonkeyPatch) -> None:
    _, exact, first = scene()
    pixels = exact + np.random.default_rng(1).normal(size=exact.shape) * np.where(first, 1.0, 1.4)[:, None]
    flat = np.moveaxis(pixels, 1, 0).reshape(len(RIG), -1, 2)
    stated = np.full(flat.shape[:2], 1.0)
    whole = deviation_factor(flat, RIG, stated)
    monkeypatch.setattr("mvgeom.left_out.CHUNK", NUM_POINTS)
    assert deviation_factor(flat, RIG, stated) == pytest.approx(whole, rel=0.1)


def test_refinement_adjusts_all_keypoints() -> None:
    points = resting()
    wrong = RIG.replace(translation=RIG.translation + np.array([[0, 0, 0], [0.03, 0, 0], [0, 0, 0], [0, 0, 0]]))
    found = refine(wrong, points, hold="cam1", max_points=NUM_POINTS)
    assert found.errors.overall_before > 5
    assert found.errors.overall_after < 1e-2


def test_calibration_adjusts_all_keypoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvgeom.calibration.from_keypoints._MAX_POINTS", NUM_POINTS)
    _, exact, first = scene()
    pixels = exact + np.random.default_rng(1).normal(size=exact.shape) * np.where(first, 20.0, 0.5)[:, None]
    found = calibrate_from_keypoints(pixels, RIG.names, RIG.sizes, intrinsics=RIG)
    assert found.noise < 1
    assert found.used[:, :, ~first].mean() > 0.99


def test_a_check_is_by_all_keypoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvgeom.calibration.diagnosis._SAMPLE", NUM_POINTS)
    _, pixels, first = scene(0.5)
    pixels[:, 1, ~first] += np.random.default_rng(1).normal(size=(100, 7, 2)) * 30
    assert {name for each in check(RIG, pixels).findings for name in each.cameras} == {"cam2"}


def test_distances_are_of_all_keypoints(monkeypatch: pytest.MonkeyPatch) -> None:
    _, pixels, first = scene()
    pixels[:, 1, ~first] += 20
    whole = pairwise_distance(RIG, pixels)
    monkeypatch.setattr("mvgeom.calibration.time_shifts._MAX_DISTANCES", NUM_POINTS)
    assert pairwise_distance(RIG, pixels) == pytest.approx(whole, rel=0.2)


@pytest.mark.parametrize("keypoints", [16, 17, 18])
def test_noise_is_learned_of_all_keypoints(keypoints: int) -> None:
    counted = np.ones((400, keypoints), dtype=bool)
    assert set(_thinned(counted)[1]) == set(range(keypoints))
