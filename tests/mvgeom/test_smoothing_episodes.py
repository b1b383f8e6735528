"""Episodes in which a view is worse than it states: found by the other views, and weighed less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from helpers.geometry import random_rig
from helpers.smoothing import make_noise
from mvgeom import CameraGroup, Noise, project, smooth
from mvgeom.smoothing.arguments import make_observations
from mvgeom.smoothing.episodes import LARGEST_EXCESS, LARGEST_SQUARE, PRIOR, find_excess
from mvgeom.smoothing.passes import first_estimate, improve, reconstruct_frames
from mvgeom.smoothing.smoother import EPISODE_PASSES
from mvgeom.smoothing.trajectories import linearize

NUM_FRAMES, NUM_VIEWS, NUM_KEYPOINTS = 150, 4, 4
NOISE = make_noise(
    NUM_VIEWS, NUM_KEYPOINTS, scale=np.zeros(NUM_VIEWS), share=0.5, decay=0.9, motion=np.full(NUM_KEYPOINTS, 1e-7)
)
EPISODE = slice(50, 100), 0, 1
"""Frames, view and keypoint whose errors are four times as large as stated."""


def record(seed: int, times_larger: float = 4.0) -> tuple[np.ndarray, np.ndarray, CameraGroup]:
    """Positions and keypoints with errors of 2 px, half of their variance lasting, and with the episode's."""
    rng = np.random.default_rng(seed)
    rig = random_rig(rng, NUM_VIEWS, distance=(1.0, 1.3))
    angle = np.arange(NUM_FRAMES)[:, None] / 30 + rng.uniform(0, 6, NUM_KEYPOINTS)
    truth = 0.1 * np.stack([np.sin(angle), np.cos(angle), 0.3 * np.sin(2 * angle)], axis=-1)
    errors = rng.normal(size=(2, NUM_FRAMES, NUM_VIEWS, NUM_KEYPOINTS, 2))
    for frame in range(1, NUM_FRAMES):
        errors[0, frame] = 0.9 * errors[0, frame - 1] + np.sqrt(1 - 0.9**2) * errors[0, frame]
    noise = 2 * np.sqrt(0.5) * errors.sum(0)
    noise[EPISODE] *= times_larger
    return truth, project(truth, rig) + noise, rig


def excess(points: np.ndarray, rig: CameraGroup, noise: Noise = NOISE) -> np.ndarray:
    observations, _ = make_observations(points, rig, None, None, None)
    return find_excess(observations, noise, first_estimate(observations, reconstruct_frames(observations, noise)))


def found_excess(seed: int, times_larger: float) -> tuple[float, float, float]:
    """Median factors of the episode, and of its frames and keypoint in other views; mean of the other keypoints."""
    _, points, rig = record(seed, times_larger)
    found = excess(points, rig)
    frames, view, keypoint = EPISODE
    others = np.delete(found, view, axis=1)[frames, :, keypoint]
    return float(np.median(found[EPISODE])), float(np.median(others)), float(np.delete(found, keypoint, axis=2).mean())


def test_it_is_found_in_its_view_and_keypoint_and_grows_with_the_error() -> None:
    means = [np.mean([found_excess(seed, size) for seed in range(4)], axis=0) for size in (1.0, 2.0, 4.0, 8.0, 16.0)]
    inside, others, usual = np.transpose(means)
    assert (np.diff(inside) > 0.2).all()
    assert inside[0] < 1.1
    assert inside[2] > 2.0
    assert inside[-1] <= LARGEST_EXCESS
    # The other views of the keypoint are predicted with the bad one, and are not blamed.
    assert others.max() < 1.2
    assert usual.max() < 1.2


def test_positions_are_nearer_and_intervals_hold_more(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, _, keypoint = EPISODE
    results = []
    for passes in (0, EPISODE_PASSES):
        monkeypatch.setattr("mvgeom.smoothing.smoother.EPISODE_PASSES", passes)
        errors, inside = [], []
        for seed in range(4):
            truth, points, rig = record(seed)
            found = smooth(points, rig, noise=NOISE)
            off = found.points[frames, keypoint] - truth[frames, keypoint]
            distance = np.einsum("ti,tij,tj->t", off, np.linalg.inv(found.covariance[frames, keypoint]), off)
            errors.append(np.linalg.norm(off, axis=-1).mean())
            inside.append((distance < chi2.ppf(0.9, 3)).mean())
        results.append((np.mean(errors), np.mean(inside)))
    without, with_episodes = results
    assert with_episodes[0] < 0.97 * without[0]
    assert with_episodes[1] > without[1] + 0.12


def test_a_slow_reference() -> None:
    """A single frame, which no other shares its window with."""
    _, points, rig = record(4)
    points[np.arange(NUM_FRAMES) != 60] = np.nan
    found = excess(points, rig)[60]
    observations, _ = make_observations(points, rig, None, None, None)
    estimate = first_estimate(observations, reconstruct_frames(observations, NOISE))
    pixels, jacobian = (values[60] for values in linearize(estimate.points, rig))
    for view in range(NUM_VIEWS):
        for keypoint in range(NUM_KEYPOINTS):
            chosen = [other for other in range(NUM_VIEWS) if other != view and estimate.weights[60, other, keypoint]]
            rows = np.concatenate([jacobian[other, keypoint] for other in chosen])
            apart = np.concatenate([points[60, other, keypoint] - pixels[other, keypoint] for other in chosen])
            moved = np.linalg.lstsq(rows, apart)[0]
            residual = points[60, view, keypoint] - pixels[view, keypoint] - jacobian[view, keypoint] @ moved
            own = jacobian[view, keypoint]
            variance, axes = np.linalg.eigh(own @ np.linalg.inv(rows.T @ rows) @ own.T)
            square = np.minimum((axes.T @ residual / 2) ** 2, LARGEST_SQUARE * (1 + variance))
            weight = 1 / (1 + variance) ** 2
            expected = (PRIOR + (weight * (square - variance)).mean()) / (PRIOR + weight.mean())
            assert found[view, keypoint] == pytest.approx(np.clip(expected, 1, LARGEST_EXCESS), rel=1e-6)
    assert found.max() > 1.0


def test_what_is_worse_than_usual_is_no_outlier() -> None:
    _, points, rig = record(5, times_larger=6.0)
    usual, _ = make_observations(points, rig, None, None, None)
    estimate = first_estimate(usual, reconstruct_frames(usual, NOISE))
    widened = np.ones(points.shape[:-1])
    widened[EPISODE] = LARGEST_EXCESS
    weights = [
        improve(replace(usual, excess=excess), NOISE, estimate)[1].weights[EPISODE].mean()
        for excess in (usual.excess, widened)
    ]
    assert weights[1] > weights[0] + 0.2


def test_frames_and_views_reversed_give_the_same() -> None:
    _, points, rig = record(1)
    found = excess(points, rig)
    np.testing.assert_allclose(excess(points[::-1], rig)[::-1], found, rtol=1e-9)
    backwards = rig.select(rig.names[::-1])
    np.testing.assert_allclose(excess(points[:, ::-1], backwards)[:, ::-1], found, rtol=1e-6)


def test_two_views_alone_are_blamed_alike_and_a_single_one_is_not() -> None:
    _, points, rig = record(2, times_larger=8.0)
    points[:, 2:, 1] = np.nan
    points[:, 1:, 2] = np.nan
    found = excess(points, rig)
    np.testing.assert_array_equal(found[..., 2], 1.0)
    frames, _, keypoint = EPISODE
    first, second = found[frames, 0, keypoint], found[frames, 1, keypoint]
    assert np.median(first) > 1.5
    np.testing.assert_allclose(first / second, 1.0, atol=0.5)
    assert np.median(found[:40, :2, 1]) < 1.2
