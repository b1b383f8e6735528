"""Two views: nothing tells the depth but both together, and nothing tells which of them is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.boards import arc_of_cameras
from helpers.geometry import random_rig
from mvgeom import CameraGroup, project
from mvgeom.smoothing import smooth
from mvgeom.smoothing.cross_validation import ALONG
from mvgeom.smoothing.learning import _fit_factor
from mvgeom.tables import read_keypoints, stack_views

PAIR = random_rig(np.random.default_rng(3), 2, distance=(1.0, 1.3))
FLY = Path(__file__).parents[2].parent / "shared" / "data" / "fly3"


def swing(num_frames: int, num_keypoints: int, seed: int) -> np.ndarray:
    """Positions (T, K, 3) in m on smooth paths near the origin."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6, (num_keypoints, 3))
    return 0.1 * np.sin(np.arange(num_frames)[:, None, None] / 15 * rng.uniform(0.5, 1.5, (num_keypoints, 3)) + phase)


@pytest.mark.filterwarnings("error")
def test_exact_keypoints() -> None:
    truth = swing(30, 2, 0)
    found = smooth(project(truth, PAIR), PAIR)
    np.testing.assert_allclose(found.points, truth, atol=1e-4)
    assert np.isfinite(found.covariance).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("pause", [1e3, 1e6])
def test_a_long_pause(pause: float) -> None:
    truth, times = swing(30, 2, 1), np.arange(30.0)
    times[15:] += pause
    noise = np.random.default_rng(2).normal(0, 0.5, (30, 2, 2, 2))
    found = smooth(project(truth, PAIR) + noise, PAIR, times=times)
    assert np.linalg.norm(found.points - truth, axis=-1).max() < 0.01
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()


@pytest.mark.parametrize("offset", [3.0, 10.0, 30.0, 80.0])
def test_views_that_contradict_each_other_get_no_small_deviations(offset: float) -> None:
    """As with a pose that is off: the noise that both show together is shared, and never taken from both at once."""
    truth = swing(40, 2, 0)
    rng = np.random.default_rng(0)
    points = project(truth, PAIR) + rng.normal(0, 0.5, (40, 2, 2, 2))
    shift = points[:, 1] + offset * np.array([0.6, 0.8])
    found = smooth(np.stack([points[:, 0], shift], axis=1), PAIR)
    error = np.linalg.norm(found.points - truth, axis=-1)
    stated = np.sqrt(np.trace(found.covariance, axis1=-2, axis2=-1))
    assert 0.1 < np.median(error / stated) < 3
    assert found.noise.floor.min() > 0.1 * offset


def test_the_noise_of_a_large_image_is_not_taken_for_motion() -> None:
    """1 px of the small image are 6 of the large one, whose own noise residuals between the two hardly show."""
    cameras = arc_of_cameras(2, distortion=(), step_deg=70).resize([[320.0, 256.0], [1920.0, 1536.0]])
    truth = swing(100, 6, 0)
    pixels = project(truth, cameras)
    found = smooth(pixels + np.random.default_rng(0).normal(size=pixels.shape), cameras)
    np.testing.assert_allclose(found.noise.floor, 1, atol=0.25)
    stated = np.sqrt(np.diagonal(found.covariance, axis1=-2, axis2=-1))
    assert (np.abs(found.points - truth) < 2 * stated).mean() > 0.9


@pytest.mark.skipif(not FLY.is_dir(), reason=f"{FLY} is absent")
@pytest.mark.parametrize("views", [("Cam-A", "Cam-B"), ("Cam-A", "Cam-C"), ("Cam-B", "Cam-C")])
def test_two_cameras_of_a_fly(views: tuple[str, str]) -> None:
    cameras = CameraGroup.load(FLY / "calibration.toml").select(views)
    stack = stack_views({name: read_keypoints(FLY / f"fly_{name}.seed0.csv") for name in views})
    assert stack.likelihood is not None
    chosen = slice(0, 60), slice(None), slice(0, 4, 3)
    found = smooth(stack.points[chosen], cameras, likelihood=stack.likelihood[chosen])
    assert np.isfinite(found.points).all()
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()


def test_a_keypoints_factor_counts_what_is_predicted_alone() -> None:
    """Of two views, nothing is predicted along the epipolar line, and residuals are 0 there."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, np.pi, 2000)
    across, along = np.stack([np.cos(angle), np.sin(angle)], -1), np.stack([-np.sin(angle), np.cos(angle)], -1)
    predicted = 0.5 * across[:, :, None] * across[:, None] + ALONG**2 * along[:, :, None] * along[:, None]
    own = np.broadcast_to(np.eye(2), predicted.shape)
    residual = 1.5 * np.sqrt(1 + 0.5) * rng.normal(size=(2000, 1)) * across
    assert _fit_factor(residual, predicted, own, 1.0, 0.005) == pytest.approx(1.5, abs=0.06)
    assert _fit_factor(residual, predicted, own, 3.0, 0.005) == pytest.approx(4.5, abs=0.2)
