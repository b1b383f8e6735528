"""Smooth trajectories: against a dense solution, invariances, noise that is learned, outliers, gaps, windows."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from helpers.errors import raises_input
from helpers.geometry import moved_world, random_rig, random_rotation
from helpers.smoothing import make_noise
from mvgeom import CameraGroup, project
from mvgeom.smoothing import Noise, SharedError, covariance_from_likelihood, learn_noise, smooth
from mvgeom.smoothing import smooth as smooth_function
from mvgeom.smoothing.motion import FIRST_POSITION, FIRST_SPEED
from mvgeom.smoothing.trajectories import Observations, linearize, smooth_once

RIG = random_rig(np.random.default_rng(3), 4, distance=(1.0, 1.3))
"""Four cameras around the origin, in meters; 1 px is about 1 mm."""


def wander(num_frames: int, num_keypoints: int, seed: int, step: float = 0.002) -> np.ndarray:
    """Positions (T, K, 3) in m near the origin, whose velocity changes by `step` per frame."""
    rng = np.random.default_rng(seed)
    position, velocity = rng.normal(0, 0.03, (2, num_keypoints, 3)) * [[[1.0]], [[0.1]]]
    path = np.empty((num_frames, num_keypoints, 3))
    for t in range(num_frames):
        path[t] = position
        velocity = 0.9 * velocity - 0.01 * position + rng.normal(0, step, velocity.shape)
        position = position + velocity
    return path


def dense_posterior(start: np.ndarray, observations: Observations, noise: Noise, unit: float) -> tuple:
    """Mean (T, 3) and covariance (T, 3, 3) of one keypoint's positions, by one large Gaussian conditioning."""
    times, length = observations.times, len(start)
    elapsed = times - times[0]
    shared = np.minimum(elapsed[:, None], elapsed[None])
    longer = np.maximum(elapsed[:, None], elapsed[None])
    # Covariance of an integrated Brownian motion that starts at any place with any speed.
    brownian = noise.motion[0] * shared**2 * (longer / 2 - shared / 6)
    first = (FIRST_POSITION * unit) ** 2 + (FIRST_SPEED * unit) ** 2 * elapsed[:, None] * elapsed[None]
    prior = np.kron(brownian + first, np.eye(3))
    origin = start.mean((0, 1)) + (start[0, 0] - start.mean((0, 1)))
    projected, derivative = linearize(start, observations.cameras)
    own = observations.excess[..., None, None] * noise.covariance(observations.covariance)
    rows, targets, places = [], [], []
    for t in range(length):
        for view in range(observations.points.shape[1]):
            if observations.present[t, view, 0]:
                row = np.zeros((2, 3 * length))
                row[:, 3 * t : 3 * t + 3] = derivative[t, view, 0]
                rows.append(row)
                offset = derivative[t, view, 0] @ (start[t, 0] - origin)
                targets.append(observations.points[t, view, 0] - projected[t, view, 0] + offset)
                places.append((t, view))
    design, target = np.concatenate(rows), np.concatenate(targets)
    spread = np.zeros((len(target), len(target)))
    for i, (t, view) in enumerate(places):
        for j, (other_t, other_view) in enumerate(places):
            if view == other_view:
                lasting = noise.share * noise.decay ** abs(times[t] - times[other_t])
                alike = lasting + (1 - noise.share) * (t == other_t)
                left, right = (np.linalg.cholesky(own[time, view, 0]) for time in (t, other_t))
                spread[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = alike * left @ right.T
    gain = np.linalg.solve(design @ prior @ design.T + spread, design @ prior).T
    covariance = prior - gain @ design @ prior
    blocks = covariance.reshape(length, 3, length, 3)[np.arange(length), :, np.arange(length)]
    return (gain @ target).reshape(length, 3) + origin, blocks


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    share=st.sampled_from([0.0, 0.4, 0.9]),
    decay=st.floats(0.1, 0.95),
    motion=st.floats(-9, -4),
)
def test_a_pass_is_one_large_gaussian_conditioning(seed: int, share: float, decay: float, motion: float) -> None:
    rng = np.random.default_rng(seed)
    length = 9
    truth = wander(length, 1, seed)
    points = project(truth, RIG) + rng.normal(0, 2, (length, 4, 1, 2))
    points[rng.random((length, 4, 1)) < 0.3] = np.nan
    points[0, :2] = project(truth[:1], RIG)[0, :2]
    points[4:6] = np.nan
    root = rng.normal(0, 1, (length, 4, 1, 2, 2))
    stated = root @ np.swapaxes(root, -1, -2)
    observations = Observations(
        points=points,
        covariance=stated,
        excess=rng.uniform(1, 9, points.shape[:3]),
        times=np.cumsum(rng.uniform(0.5, 2, length)),
        cameras=RIG,
    )
    noise = make_noise(4, 1, share=share, decay=decay if share else 0.0, motion=np.array([10**motion]))
    start = truth + rng.normal(0, 0.002, truth.shape)
    unit = 1e-4
    found = smooth_once(start, observations, noise, observations.present.astype(float), np.ones((length - 1, 1)), unit)
    mean, covariance = dense_posterior(start, observations, noise, unit)
    scale = np.sqrt(np.trace(covariance, axis1=-2, axis2=-1))
    assert (np.linalg.norm(found.points[:, 0] - mean, axis=-1) < 1e-4 * scale).all()
    assert (np.abs(found.covariance[:, 0] - covariance).max((-2, -1)) < 1e-4 * scale**2).all()


def record(truth: np.ndarray, seed: int, sigma: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return project(truth, RIG) + rng.normal(0, sigma, (len(truth), 4, truth.shape[1], 2))


NOISE = make_noise(4, 3)


def test_time_reversed_gives_the_same() -> None:
    points = record(wander(60, 3, 0), 1)
    noise = replace(NOISE, share=0.4, decay=0.8)
    forward, backward = smooth(points, RIG, noise=noise), smooth(points[::-1], RIG, noise=noise)
    np.testing.assert_allclose(backward.points[::-1], forward.points, rtol=0, atol=1e-6)
    np.testing.assert_allclose(backward.covariance[::-1], forward.covariance, rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(backward.velocity[::-1], -forward.velocity, rtol=0, atol=1e-6)


def test_units_and_the_world_frame_change_nothing() -> None:
    points = record(wander(80, 3, 2), 3)
    turn = random_rotation(np.random.default_rng(0))
    shift = np.array([3.0, -2.0, 50.0])
    moved = moved_world(RIG, turn, shift, 1000.0)
    one, other = smooth(points, RIG), smooth(points, moved)
    expected = 1000 * one.points @ turn.T + shift
    np.testing.assert_allclose(other.points, expected, rtol=0, atol=0.1)  # mm; minima are found to a tolerance
    spread = 1e6 * turn @ one.covariance @ turn.T
    np.testing.assert_allclose(other.covariance, spread, rtol=0.1, atol=0.05 * np.abs(spread).max())
    np.testing.assert_allclose(other.noise.floor, one.noise.floor, rtol=0.01)


def test_the_order_of_views_and_keypoints_changes_nothing() -> None:
    points = record(wander(80, 3, 4), 5)
    views, keypoints = [2, 0, 3, 1], [1, 2, 0]
    one = smooth(points, RIG)
    other = smooth(points[:, views][:, :, keypoints], RIG.select([RIG.names[view] for view in views]))
    np.testing.assert_allclose(other.points, one.points[:, keypoints], rtol=0, atol=2e-5)
    np.testing.assert_allclose(other.noise.floor, one.noise.floor[views], rtol=0.01)
    np.testing.assert_allclose(other.noise.motion, one.noise.motion[keypoints], rtol=0.05)


def test_velocity_is_per_unit_of_time() -> None:
    times = np.arange(50) / 50
    truth = np.array([0.5, -0.2, 0.1]) * times[:, None, None] + np.zeros((50, 3, 3))
    found = smooth(record(truth, 0, 0.5), RIG, times=times, noise=replace(NOISE, motion=np.full(3, 1e-10)))
    np.testing.assert_allclose(found.velocity[25], np.tile([0.5, -0.2, 0.1], (3, 1)), atol=0.02)
    assert (np.diagonal(found.velocity_covariance, axis1=-2, axis2=-1) > 0).all()


def test_a_straight_motion_is_found_at_the_cramer_rao_bound() -> None:
    frames = np.arange(40.0)
    truth = np.array([0.004, 0.002, -0.001]) * (frames - 20)[:, None, None] + np.zeros((40, 1, 3))
    noise = make_noise(4, 1, motion=np.array([1e-14]))
    _, derivative = linearize(truth, RIG)
    # The bound of a line's two ends, of which every position is a combination.
    share = np.stack([1 - frames / 39, frames / 39], axis=-1)
    rows = np.concatenate(
        [share[:, None, None, :1, None] * derivative, share[:, None, None, 1:, None] * derivative], -1
    )
    information = np.einsum("tvkia,tvkib->ab", rows, rows) / 4
    bound = np.linalg.inv(information)
    errors = []
    for seed in range(40):
        found = smooth(record(truth, seed), RIG, noise=noise)
        errors.append(np.concatenate([found.points[0, 0] - truth[0, 0], found.points[-1, 0] - truth[-1, 0]]))
    np.testing.assert_allclose(found.covariance[0, 0], bound[:3, :3], rtol=0.02, atol=0.02 * bound[:3, :3].max())
    distance = np.einsum("ni,ij,nj->n", errors, np.linalg.inv(bound), errors)
    assert chi2.ppf(1e-4, 240) < distance.sum() < chi2.ppf(1 - 1e-4, 240)


def correlated(rng: np.random.Generator, shape: tuple[int, ...], decay: float) -> np.ndarray:
    errors = rng.normal(size=shape)
    for t in range(1, len(errors)):
        errors[t] = decay * errors[t - 1] + np.sqrt(1 - decay**2) * errors[t]
    return errors


@pytest.mark.slow
def test_noise_is_learned_and_intervals_cover() -> None:
    rng = np.random.default_rng(0)
    truth = wander(400, 6, 1, step=0.0015)
    floor, factor = np.array([1.0, 2.0, 3.0, 1.5]), np.array([0.7, 1.0, 1.4, 0.8, 1.25, 1.0])
    shape = (400, 4, 6, 2)
    errors = np.sqrt(0.5) * correlated(rng, shape, 0.6) + np.sqrt(0.5) * rng.normal(size=shape)
    points = project(truth, RIG) + errors * floor[:, None, None] * factor[:, None]
    found = smooth(points, RIG)
    common = np.exp(np.log(factor).mean())
    np.testing.assert_allclose(found.noise.floor, floor * common, rtol=0.2)
    np.testing.assert_allclose(found.noise.keypoint, factor / common, rtol=0.2)
    assert found.noise.share == pytest.approx(0.5, abs=0.12)
    assert found.noise.decay == pytest.approx(0.6, abs=0.1)
    difference = found.points - truth
    distance = np.einsum("tki,tkij,tkj->tk", difference, np.linalg.inv(found.covariance), difference)
    for level in (0.5, 0.8, 0.9, 0.99):
        assert (distance < chi2.ppf(level, 3)).mean() == pytest.approx(level, abs=0.07)  # few independent frames


@pytest.mark.slow
def test_a_stated_covariance_is_scaled() -> None:
    rng = np.random.default_rng(1)
    truth = wander(300, 4, 2)
    doubtful = rng.random((300, 4, 4)) < 0.3
    deviation = np.where(doubtful, 6.0, 1.0)
    points = project(truth, RIG) + rng.normal(size=(300, 4, 4, 2)) * deviation[..., None]
    stated = (np.where(doubtful, 3.0, 0.01) ** 2)[..., None, None] * np.eye(2)
    noise = learn_noise(points, RIG, covariance=stated)
    np.testing.assert_allclose(noise.scale, 2.0, rtol=0.2)
    np.testing.assert_allclose(noise.floor, 1.0, rtol=0.2)
    likelihood = np.where(doubtful, 0.1, 1.0)
    assert (learn_noise(points, RIG, likelihood=likelihood).scale > 1.3).all()


def test_the_variance_that_a_likelihood_states() -> None:
    stated = covariance_from_likelihood(np.array([1.0, 0.5, 0.25, 0.0, np.nan, 2.0]))
    assert stated.shape == (6, 2, 2)
    np.testing.assert_allclose(stated[:, 0, 0], [0.0, 1.0, 3.0, 99.0, 99.0, 0.0])
    np.testing.assert_allclose(stated, stated[:, :1, :1] * np.eye(2))


def test_outliers_are_left_out_and_jumps_are_not() -> None:
    truth = wander(120, 3, 6, step=0.0005)
    truth[60:] += 0.15  # a jump, which every view sees
    points = record(truth, 7, 1.0)
    points[20:30, 1] += 60.0
    points[90, :, 0] += np.random.default_rng(0).uniform(40, 90, (4, 2))  # all views, in different directions
    found = smooth(points, RIG)
    assert (found.inlier[20:30, 1] < 0.5).all()
    assert (found.inlier[90, :, 0] < 0.5).sum() >= 3
    assert (found.inlier[58:63] > 0.5).mean() > 0.95
    error = np.linalg.norm(found.points - truth, axis=-1)
    assert error[20:30].max() < 0.02
    assert error[58:63].max() < 0.02


def test_gaps_are_bridged_with_growing_uncertainty_or_left_empty() -> None:
    points = record(wander(80, 3, 8), 9)
    points[30:50, :, 1] = np.nan
    points[:5, :, 2] = np.nan
    bridged, short = smooth(points, RIG, noise=NOISE), smooth(points, RIG, noise=NOISE, max_gap=10)
    spread = np.sqrt(np.trace(bridged.covariance, axis1=-2, axis2=-1))
    assert np.isfinite(bridged.points).all()
    assert (np.diff(spread[29:40, 1]) > 0).all()
    assert (np.diff(spread[40:51, 1]) < 0).all()
    assert np.isnan(short.points[30:50, 1]).all()
    assert np.isfinite(np.delete(short.points[:, 1], np.s_[30:50], axis=0)).all()
    assert np.isfinite(short.points[:, 2]).all()
    assert np.isnan(short.covariance[30:50, 1]).all()
    assert np.isnan(short.velocity[30:50, 1]).all()
    assert np.isnan(short.inlier[30:50, :, 1]).all()


def test_one_view_for_a_while_holds_the_ray() -> None:
    truth = wander(60, 1, 10, step=0.0005)
    points = record(truth, 11, 0.5)
    points[25:35, 1:] = np.nan
    found = smooth(points, RIG, noise=make_noise(4, 1, floor=np.full(4, 0.5), motion=np.array([1e-6])))
    pixels, covariance = found.project(RIG)
    assert np.abs(pixels - project(truth, RIG))[25:35, 0].max() < 1.5
    across, along = (np.trace(covariance[30, view, 0]) for view in (0, 1))
    assert along > 10 * across


def test_a_keypoint_that_nothing_determines_is_empty() -> None:
    points = record(wander(40, 3, 12), 13)
    points[:, 1:, 2] = np.nan
    found = smooth(points, RIG)
    assert np.isnan(found.points[:, 2]).all()
    assert np.isfinite(found.points[:, :2]).all()
    assert np.isnan(smooth(np.full((5, 4, 2, 2), np.nan), RIG).points).all()


@pytest.mark.filterwarnings("error")  # NumPy's own of empty means would reach the user
@pytest.mark.parametrize("num_frames", [1, 2, 3, 10])
def test_short_recordings(num_frames: int) -> None:
    truth = wander(num_frames, 3, 14)
    found = smooth(record(truth, 15, 0.5), RIG)
    assert np.linalg.norm(found.points - truth, axis=-1).max() < 0.02


def test_two_views() -> None:
    truth = wander(200, 3, 16)
    pair = RIG.select(RIG.names[:2])
    points = record(truth, 17, 1.0)[:, :2]
    found = smooth(points, pair)
    assert found.noise.floor.mean() == pytest.approx(1.0, rel=0.3)
    assert np.median(np.linalg.norm(found.points - truth, axis=-1)) < 0.005


def test_two_views_with_outliers_and_gaps() -> None:
    """A view that is left out leaves rays alone, whose depth is unknown: nothing of it may reach what is learned."""
    rng = np.random.default_rng(0)
    rig = RIG.select(RIG.names[:2])
    truth = wander(300, 4, seed=3)
    points = np.asarray(project(truth, rig)) + rng.normal(0, 1.0, (300, 2, 4, 2))
    wild = rng.random(points.shape[:3]) < 0.02
    points[wild] += rng.normal(0, 60, (int(wild.sum()), 2))
    points[rng.random(points.shape[:3]) < 0.1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = smooth(points, rig)
    assert np.isfinite(found.noise.motion).all()
    assert found.noise.outliers == pytest.approx(0.02, abs=0.015)
    # 7 mm where the motion that is learned is a thousand times too agile.
    assert np.sqrt(np.square(found.points - truth).mean()) < 0.003
    standardized = np.abs(found.points - truth) / np.sqrt(np.diagonal(found.covariance, axis1=-2, axis2=-1))
    assert 0.78 < (standardized < 1.645).mean() < 0.96


def test_one_view_without_cameras() -> None:
    rng = np.random.default_rng(18)
    truth = 400 + 1000 * wander(300, 3, 18, step=0.0003)[..., :2]
    points = (truth + rng.normal(0, 2.0, truth.shape))[:, None]
    points[100:110] = np.nan
    found = smooth(points, likelihood=np.ones((300, 1, 3)))
    assert found.points.shape == (300, 3, 2)
    assert found.noise.floor[0] == pytest.approx(2.0, rel=0.2)
    error = np.linalg.norm(found.points - truth, axis=-1)
    assert error.mean() < 0.8 * np.sqrt(np.pi / 2) * 2.0
    difference = found.points - truth
    distance = np.einsum("tki,tkij,tkj->tk", difference, np.linalg.inv(found.covariance), difference)
    assert (distance < chi2.ppf(0.9, 2)).mean() == pytest.approx(0.9, abs=0.05)


def test_windows_are_as_good_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    points = record(wander(300, 2, 20), 21)
    noise = make_noise(4, 2, share=0.3, decay=0.8)
    whole = smooth(points, RIG, noise=noise)
    monkeypatch.setattr("mvgeom.smoothing.smoother.WINDOW_FLOATS", 1.0)
    monkeypatch.setattr("mvgeom.smoothing.smoother.MARGIN", 20)
    parts = smooth(points, RIG, noise=noise)
    spread = np.sqrt(np.trace(whole.covariance, axis1=-2, axis2=-1))
    assert (np.linalg.norm(parts.points - whole.points, axis=-1) < 0.05 * spread).all()
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=0.02, atol=1e-3 * whole.covariance.max())


def test_windows_bridge_gaps_that_are_longer_as_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 0.02 standard deviations, and those within 2 %."""
    points = record(wander(400, 4, 25), 26)
    points[100:330, :, 0] = np.nan
    points[:190, :, 1] = np.nan
    points[130:175, :, 2] = points[300:, :, 2] = np.nan
    noise = make_noise(4, 4, share=0.3, decay=0.8)
    errors = SharedError(scale=1.2, std=np.full(4, 1e-4))
    whole = smooth(points, RIG, noise=noise, shared=errors)
    monkeypatch.setattr("mvgeom.smoothing.smoother.WINDOW_FLOATS", 1.0)
    monkeypatch.setattr("mvgeom.smoothing.smoother.MARGIN", 20)
    parts = smooth(points, RIG, noise=noise, shared=errors)
    assert np.isfinite(parts.points).all()
    for name in ("points", "velocity"):
        covariance = whole.covariance if name == "points" else whole.velocity_covariance
        spread = np.sqrt(np.trace(covariance, axis1=-2, axis2=-1))
        difference = np.linalg.norm(getattr(parts, name) - getattr(whole, name), axis=-1)
        assert (difference < 0.02 * spread).all()
    for name in ("covariance", "velocity_covariance"):
        spreads = (np.sqrt(np.trace(getattr(each, name), axis1=-2, axis2=-1)) for each in (parts, whole))
        np.testing.assert_allclose(*spreads, rtol=0.02)
    np.testing.assert_array_equal(np.isnan(parts.inlier), np.isnan(whole.inlier))


def test_a_resting_keypoint_that_is_covered_for_long_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvgeom.smoothing.smoother.WINDOW_FLOATS", 1.0)
    monkeypatch.setattr("mvgeom.smoothing.smoother.MARGIN", 20)
    truth = wander(400, 2, 27)
    truth[:, 0] = [0.2, -0.1, 0.15]
    points = record(truth, 28)
    points[50:350, :, 0] = np.nan
    found = smooth(points, RIG, noise=make_noise(4, 2, motion=np.array([1e-12, 1e-6])))
    assert np.linalg.norm(found.points[:, 0] - truth[:, 0], axis=-1).max() < 0.01
    spread = np.sqrt(np.trace(found.covariance[:, 0], axis1=-2, axis2=-1))
    assert spread.max() < 0.02
    assert np.abs(np.diff(np.log(spread)))[20:-20].max() < 0.2


@pytest.mark.parametrize("length", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_covariances_stay_positive_definite(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvgeom.smoothing.smoother.NUM_PASSES", 1)
    monkeypatch.setattr("mvgeom.smoothing.smoother.EPISODE_PASSES", 0)
    monkeypatch.setattr("mvgeom.smoothing.smoother.WINDOW_FLOATS", np.inf)
    truth = 0.05 * np.sin(np.arange(length) / 40)[:, None, None] + np.zeros((length, 1, 3))
    points = record(truth, 22)
    points[length // 2 : length // 2 + 400] = np.nan
    noise = make_noise(4, 1, share=0.5, decay=0.99, motion=np.array([1e-10]))
    assert np.linalg.eigvalsh(smooth(points, RIG, noise=noise).covariance).min() > 0


def test_lists_are_as_good_as_arrays() -> None:
    points = record(wander(30, 1, 23), 24)
    np.testing.assert_array_equal(smooth(points.tolist(), RIG, noise=make_noise(4, 1)).points,
                                  smooth(points, RIG, noise=make_noise(4, 1)).points)  # fmt: skip
    with raises_input("wrong-shape", argument="points", found=(0, 4, 1, 2)):
        smooth(points[:0], RIG)


def test_wrong_arguments() -> None:
    points = record(wander(5, 2, 0), 0)
    with raises_input("wrong-shape", argument="points"):
        smooth(points[0], RIG)
    with raises_input("wrong-shape", argument="points"):
        smooth(points[:, :3], RIG)
    with raises_input("wrong-shape", argument="points"):
        smooth(points[:0], RIG)
    with raises_input("missing-argument", argument="cameras"):
        smooth(points)
    with raises_input("wrong-shape", argument="times"):
        smooth(points, RIG, times=np.arange(4))
    with raises_input("not-finite", argument="times"):
        smooth(points, RIG, times=np.array([0, 1, np.nan, 3, 4]))
    with raises_input("out-of-range", argument="times", row=2):
        smooth(points, RIG, times=np.array([0, 2, 1, 3, 4]))
    with raises_input("wrong-shape", argument="likelihood"):
        smooth(points, RIG, likelihood=np.ones((5, 4, 3)))
    with raises_input("wrong-shape", argument="covariance"):
        smooth(points, RIG, covariance=np.ones((5, 4, 2)))
    with raises_input("not-finite", argument="covariance"):
        smooth(points, RIG, covariance=np.full((5, 4, 2, 2, 2), np.nan))
    for stated in (-np.eye(2), np.array([[1.0, 5.0], [0.0, 1.0]])):
        with raises_input("out-of-range", argument="covariance"):
            smooth(points, RIG, covariance=np.broadcast_to(stated, (*points.shape, 2)))
    with raises_input("excluded-options"):
        smooth(points, RIG, likelihood=np.ones((5, 4, 2)), covariance=np.zeros((5, 4, 2, 2, 2)))
    with raises_input("out-of-range", argument="max_gap"):
        smooth(points, RIG, max_gap=-1)


def test_the_package_is_public() -> None:
    import mvgeom

    assert mvgeom.smooth is smooth_function
    assert isinstance(RIG, CameraGroup)
