"""Predictions in 3D: weights by confidence, outlier views, and the noise of a whole recording."""

import numpy as np
import pytest

from helpers.runs import cameras
from mvgeom import project
from mvtrain.model.reconstruction import estimate_noise, sample_rows, to_3d

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


def error(found: np.ndarray, world: np.ndarray) -> float:
    return float(np.nanmedian(np.linalg.norm(found - world, axis=-1)))


def test_noise_and_standard_deviation_hold() -> None:
    world, points, confidence = recording()
    confidence[:, :, 0] = 0.6  # most are typical
    points[:, :, 0] = project(world[:, :1], cameras(SIZE))[..., 0, :]
    noise = estimate_noise(points[:, :, 1:], confidence[:, :, 1:], cameras(SIZE))
    sigma = noise.sigma * np.sqrt(noise.typical_weight / 0.6)
    assert sigma == pytest.approx(SIGMA, rel=0.15)
    found = to_3d(points[:, :, 1:], confidence[:, :, 1:], cameras(SIZE), noise)
    standardized = np.abs((found.points - world[:, 1:]) / found.std)
    # The median of |z| of a normal variable is 0.6745.
    assert np.nanmedian(standardized) == pytest.approx(0.6745, rel=0.15)


def test_confidence_helps() -> None:
    world, points, confidence = recording()
    rig = cameras(SIZE)
    equal = np.full(confidence.shape, 0.5)
    weighted = to_3d(points, confidence, rig, estimate_noise(points, confidence, rig))
    plain = to_3d(points, equal, rig, estimate_noise(points, equal, rig))
    assert error(weighted.points, world) < 0.9 * error(plain.points, world)


def test_parts_of_a_recording_give_what_the_whole_gives() -> None:
    _, points, confidence = recording()
    points[5:9, 1] = np.nan
    confidence[5:9, 1] = np.nan
    rig = cameras(SIZE)
    noise = estimate_noise(points, confidence, rig)
    whole = to_3d(points, confidence, rig, noise)
    parts = [to_3d(points[part], confidence[part], rig, noise) for part in (slice(0, 7), slice(7, None))]
    for name in ("points", "std", "error", "num_views"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=1e-7, atol=1e-9)
    assert (whole.num_views[5:9] <= 2).all()


def test_keypoints_in_one_view_give_no_3d() -> None:
    _, points, confidence = recording(num_frames=3)
    points[:, 1:], confidence[:, 1:] = np.nan, np.nan
    rig = cameras(SIZE)
    found = to_3d(points, confidence, rig, estimate_noise(points, confidence, rig))
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
        estimate_noise(points, confidence, rig),
        estimate_noise(points, confidence, rig, (own, confidence)),
        estimate_noise(own, confidence, rig),
    )
    assert with_own.factor == of_own.factor > 1.2 * alone.factor
    assert (with_own.sigma, with_own.typical_weight) == (alone.sigma, alone.typical_weight)
