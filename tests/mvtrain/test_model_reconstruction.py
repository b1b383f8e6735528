"""Predictions in 3D: weights by confidence, outlier views, and the noise of a whole recording."""

import numpy as np
import pytest

from helpers.runs import cameras
from mvgeom import project
from mvtrain.model.reconstruction import Observations, estimate_noise, sample_rows, to_3d

SIZE = (640, 480)
SIGMA = 1.5


def recording(num_frames: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World points (N, K, 3), keypoints (N, V, K, 2) whose variance is inverse to the confidence (N, V, K)."""
    random = np.random.default_rng(seed)
    world = random.uniform(-1, 1, (num_frames, 4, 3))
    exact = project(world, cameras(SIZE))
    confidence = random.choice([0.1, 0.6], exact.shape[:-1])
    noise = SIGMA * np.sqrt(0.6 / confidence)
    return world, exact + noise[..., None] * random.normal(size=exact.shape), confidence


def observe(points: np.ndarray, weights: np.ndarray) -> Observations:
    return Observations(points=points, weights=weights)


def error(found: np.ndarray, world: np.ndarray) -> float:
    return float(np.nanmedian(np.linalg.norm(found - world, axis=-1)))


def test_noise_and_standard_deviation_hold() -> None:
    world, points, confidence = recording()
    confidence[:, :, 0] = 0.6  # most are typical
    points[:, :, 0] = project(world[:, :1], cameras(SIZE))[..., 0, :]
    observed = observe(points[:, :, 1:], confidence[:, :, 1:])
    noise = estimate_noise(observed, cameras(SIZE))
    sigma = noise.sigma * np.sqrt(noise.typical_weight / 0.6)
    assert sigma == pytest.approx(SIGMA, rel=0.15)
    found = to_3d(observed, cameras(SIZE), noise)
    standardized = np.abs((found.points - world[:, 1:]) / found.std)
    # The median of |z| of a normal variable is 0.6745.
    assert np.nanmedian(standardized) == pytest.approx(0.6745, rel=0.15)


def test_confidence_helps() -> None:
    world, points, confidence = recording()
    rig = cameras(SIZE)
    equal = np.full(confidence.shape, 0.5)
    weighted, plain = (
        to_3d(observed, rig, estimate_noise(observed, rig))
        for observed in (observe(points, confidence), observe(points, equal))
    )
    assert error(weighted.points, world) < 0.9 * error(plain.points, world)


def test_parts_of_a_recording_give_what_the_whole_gives() -> None:
    _, points, confidence = recording()
    points[5:9, 1] = np.nan
    confidence[5:9, 1] = np.nan
    rig = cameras(SIZE)
    observed = observe(points, confidence)
    noise = estimate_noise(observed, rig)
    whole = to_3d(observed, rig, noise)
    parts = [to_3d(observed[part], rig, noise) for part in (slice(0, 7), slice(7, None))]
    for name in ("points", "std", "error", "num_views"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=1e-7, atol=1e-9)
    assert (whole.num_views[5:9] <= 2).all()


def test_keypoints_in_one_view_give_no_3d() -> None:
    _, points, confidence = recording(num_frames=3)
    points[:, 1:], confidence[:, 1:] = np.nan, np.nan
    rig = cameras(SIZE)
    observed = observe(points, confidence)
    found = to_3d(observed, rig, estimate_noise(observed, rig))
    assert np.isnan(found.points).all()
    assert (found.num_views == 0).all()


@pytest.mark.parametrize(("num_rows", "num_keypoints"), [(0, 4), (1, 4), (100, 4), (10**6, 20)])
def test_a_sample_is_even_and_small(num_rows: int, num_keypoints: int) -> None:
    rows = sample_rows(num_rows, num_keypoints)
    assert len(rows) <= num_rows
    assert len(rows) * num_keypoints <= 41_000
    assert num_rows * num_keypoints > 20_000 or len(rows) == num_rows


def test_how_far_a_view_may_be_off_shows_in_what_it_shows_by_itself() -> None:
    """Evidence is looked for near the place where all views agree, and never far from it."""
    _, points, confidence = recording()
    rig = cameras(SIZE)
    wild = np.random.default_rng(1).standard_t(2.5, points.shape)  # heavy tails, which deviations do not hold
    own = points + 3 * wild
    alone, with_own, of_own = (
        estimate_noise(observe(points, confidence), rig),
        estimate_noise(observe(points, confidence), rig, observe(own, confidence)),
        estimate_noise(observe(own, confidence), rig),
    )
    assert with_own.factor == of_own.factor > 1.2 * alone.factor
    assert (with_own.sigma, with_own.typical_weight) == (alone.sigma, alone.typical_weight)


def test_stated_covariances_help_and_their_deviations_hold() -> None:
    random = np.random.default_rng(3)
    world = random.uniform(-1, 1, (300, 4, 3))
    exact = project(world, cameras(SIZE))
    factor = random.normal(size=(*exact.shape, 2)) * random.uniform(0.3, 3.0, (*exact.shape[:-1], 1, 1))
    covariances = factor @ factor.swapaxes(-1, -2) + 0.05 * np.eye(2)
    noise = np.linalg.cholesky(covariances) @ random.normal(size=(*exact.shape, 1))
    points, rig = exact + SIGMA * noise[..., 0], cameras(SIZE)
    stated = Observations.from_stated(points, np.ones(exact.shape[:-1]), covariances)
    found, alike = (
        to_3d(observed, rig, estimate_noise(observed, rig))
        for observed in (stated, observe(points, np.ones(exact.shape[:-1])))
    )
    assert error(found.points, world) < 0.7 * error(alike.points, world)
    standardized = np.abs((found.points - world) / found.std)
    assert np.nanmean(standardized < 1.645) == pytest.approx(0.9, abs=0.05)


def test_the_scale_of_stated_covariances_is_that_of_what_views_show_by_themselves() -> None:
    _, points, confidence = recording()
    rig, covariances = cameras(SIZE), np.broadcast_to(np.eye(2), (*points.shape, 2))
    own = points + 3 * np.random.default_rng(0).normal(size=points.shape)
    evidence = Observations.from_stated(points, confidence, covariances)
    alone = Observations.from_stated(own, confidence, covariances)
    noise = estimate_noise(evidence, rig, alone)
    assert noise.sigma == estimate_noise(alone, rig).sigma > 1.2 * estimate_noise(evidence, rig).sigma


def test_a_keypoint_without_weight_has_no_covariance_either() -> None:
    _, points, confidence = recording(5)
    confidence[:, 1] = 0
    rig, covariances = cameras(SIZE), np.broadcast_to(np.eye(2), (*points.shape, 2))
    observed = Observations.from_stated(points, confidence, covariances)
    assert not observed.weights[:, 1].any()
    found = to_3d(observed, rig, estimate_noise(observed, rig))
    assert found.num_views.max() == 2
