"""Frames that a single view sees for long, as where the other cameras stopped earlier."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from helpers.geometry import random_rig
from helpers.smoothing import make_noise
from mvgeom import project, smooth
from mvgeom.smoothing.arguments import make_observations
from mvgeom.smoothing.cross_validation import ALONG, NEAR, cross_validate
from mvgeom.smoothing.passes import first_estimate, improve, reconstruct_frames

RIG = random_rig(np.random.default_rng(3), 3, distance=(1.0, 1.3))
NUM_KEYPOINTS = 6


def record(num_frames: int, seed: int, last: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, K, 3) that swing by a few cm, and keypoints (T, V, K, 2) with 1.5 px of noise until `last`."""
    rng, times = np.random.default_rng(seed), np.arange(num_frames)[:, None, None] / 50
    phase = rng.uniform(0, 6, (3, NUM_KEYPOINTS, 3))
    swing = sum(0.04 / (1 + i) * np.sin(np.pi * (0.8 + i) * times + phase[i]) for i in range(3))
    truth = rng.normal(0, 0.1, (1, NUM_KEYPOINTS, 3)) + swing
    points = project(truth, RIG) + rng.normal(0, 1.5, (num_frames, 3, NUM_KEYPOINTS, 2))
    for view, row in enumerate(last):
        points[row:, view] = np.nan
    return truth, points


@pytest.mark.parametrize("motion", [1e-6, 1e-5, 1e-4])
def test_what_one_view_sees_stays_at_its_depth(motion: float) -> None:
    """Near the camera a trajectory would accelerate less, and no other view contradicts."""
    truth, points = record(110, 0, (110, 60, 60))
    noise = make_noise(3, NUM_KEYPOINTS, floor=np.full(3, 1.5), motion=np.full(NUM_KEYPOINTS, motion))
    found = smooth(points, RIG, noise=noise)
    difference = (found.points - truth)[60:]
    assert np.linalg.norm(difference, axis=-1).mean() < 0.12
    square = np.einsum("tki,tkij,tkj->tk", difference, np.linalg.inv(found.covariance[60:]), difference)
    assert (square < chi2.ppf(0.9, 3)).mean() > 0.85
    apart = (found.project(RIG)[0] - project(truth, RIG))[60:, 0]
    assert np.linalg.norm(apart, axis=-1).mean() < 3


def test_what_one_view_sees_determines_no_motion_in_depth() -> None:
    _, points = record(80, 1, (80, 60, 30))
    observations, _ = make_observations(points, RIG, None, None, None)
    noise = make_noise(3, NUM_KEYPOINTS, floor=np.full(3, 1.5))
    estimate = first_estimate(observations, reconstruct_frames(observations))
    for _ in range(2):
        _, estimate = improve(observations, noise, estimate)
    _, predicted, counted = cross_validate(observations, noise, estimate)
    largest = np.linalg.eigvalsh(np.where(np.isfinite(predicted), predicted, 0.0))[:, 0, :, -1]  # of the first view
    both, one = slice(0, 30 + NEAR), slice(30 + NEAR, 60 + NEAR)
    assert (largest[both] < 0.99 * ALONG**2).all()
    np.testing.assert_allclose(largest[one], ALONG**2, rtol=1e-6)
    assert counted[: 60 + NEAR, 0].all()
    assert not counted[60 + NEAR :, 0].any()
