"""Noise of recordings that show a subject in a part of their frames only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.geometry import random_rig
from helpers.smoothing import make_noise
from mvgeom import CameraGroup, learn_noise, project, smooth
from mvgeom.smoothing import learning_rows, smoother, stretches
from mvgeom.smoothing.arguments import make_observations
from mvgeom.smoothing.learning import _fit_factor, _with_motion
from mvgeom.smoothing.noise import averaged_covariance
from mvgeom.smoothing.passes import first_estimate, reconstruct_frames
from mvgeom.smoothing.stretches import learning_stride, spread_rows

RIG = random_rig(np.random.default_rng(3), 3, distance=(1.0, 1.3))


def test_noise_is_learned_where_there_is_a_subject() -> None:
    """And a keypoint that nothing was learned of moves as the others do, not as one at rest."""
    rng, steps = np.random.default_rng(0), np.arange(60)[:, None, None]
    path = 0.1 * np.sin(steps / 9 + np.array([0.0, 1.0, 2.0]) + np.array([[0.0], [2.0]]))
    seen = project(path, RIG) + rng.normal(0, 1.0, (60, 3, 2, 2))
    seen[:, :, 1] = np.nan
    points = np.full((1000, *seen.shape[1:]), np.nan)
    points[600:660] = seen
    found, expected = learn_noise(points, RIG), learn_noise(seen, RIG)
    np.testing.assert_allclose(found.motion, expected.motion, rtol=1e-6)
    np.testing.assert_allclose(found.floor, expected.floor, rtol=1e-6)
    assert found.motion[1] == pytest.approx(found.motion[0])


@pytest.mark.parametrize(
    ("determined", "expected"),
    [
        (np.ones(300, bool), np.arange(300)),
        (np.zeros(900, bool), np.arange(400)),
        (np.arange(900) % 3 == 0, np.arange(0, 900, 3)),
        (np.ones(1000, bool), np.arange(1000)),
        (np.arange(9000) >= 8000, np.arange(8000, 9000)),
        (np.ones(4000, bool), np.concatenate([np.arange(start, start + 400) for start in (0, 1200, 2400, 3600)])),
    ],
)
def test_rows_are_spread_over_the_frames_with_a_subject(determined: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(learning_rows(determined), expected)


@given(st.integers(1, 5000), st.floats(0, 1), st.floats(0, 1))
def test_frames_that_are_learned_from_are_some_of_those_there_are(number: int, share: float, decay: float) -> None:
    stride = learning_stride(share, decay, number)
    rows = spread_rows(number, 400, stride)
    assert len(rows) == min(number, 400)
    assert 1 <= stride <= 4
    assert rows[0] == 0
    assert (np.diff(rows) >= 1).all()
    assert rows[-1] == number - 1
    if stride > 1:
        assert np.median(np.diff(rows)) == stride
        assert decay**stride >= 0.8


def test_frames_are_as_far_apart_as_errors_last() -> None:
    """Of errors that last 0.2 s."""
    rates = {15: 1, 30: 1, 60: 2, 120: 4, 240: 4}
    assert {rate: learning_stride(0.5, np.exp(-1 / (0.2 * rate)), 10**5) for rate in rates} == rates
    assert learning_stride(0.5, 0.99, 1000) == 2
    assert learning_stride(0.0, 0.99, 10**5) == 1


@pytest.mark.slow
def test_noise_of_a_long_recording_is_that_of_its_errors_at_a_high_rate() -> None:
    """One keypoint; half of its variance lasts 24 frames, so that few errors are in 400 neighboring frames."""
    rng, length, decay = np.random.default_rng(0), 2400, np.exp(-1 / 24)
    lasting = rng.normal(size=(length, 3, 1, 2))
    for row in range(1, length):
        lasting[row] = decay * lasting[row - 1] + np.sqrt(1 - decay**2) * lasting[row]
    time = np.arange(length)[:, None, None] / 120
    path = 0.1 * np.sin(time * np.array([2.0, 3.0, 5.0]) + np.array([0.0, 1.0, 2.0]))
    seen = project(path, RIG) + np.sqrt(2) * (lasting + rng.normal(size=lasting.shape))
    noise = learn_noise(seen, RIG, times=time.ravel())
    assert noise.share == pytest.approx(0.5, abs=0.1)
    assert noise.decay == pytest.approx(decay, abs=0.02)
    np.testing.assert_allclose(noise.floor * noise.keypoint, 2.0, rtol=0.2)


def test_frames_that_are_apart_give_the_noise_and_neighbors_the_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (smoother, stretches):
        monkeypatch.setattr(module, "LEARNING_FRAMES", 80)
    rng, length, decay = np.random.default_rng(1), 320, np.exp(-1 / 30)
    lasting = rng.normal(size=(length, 3, 2, 2))
    for row in range(1, length):
        lasting[row] = decay * lasting[row - 1] + np.sqrt(1 - decay**2) * lasting[row]
    time = np.arange(length)[:, None, None] / 100
    path = 0.1 * np.sin(time * np.array([2.0, 3.0, 5.0]) + np.array([[0.0, 1.0, 2.0], [2.0, 0.0, 1.0]]))
    seen = project(path, RIG) + 2 * lasting + rng.standard_t(3, lasting.shape)
    found, apart = learn_noise(seen, RIG), spread_rows(length, 80, 4)
    # Of those frames alone, in units of four: a velocity disturbed for four times as long varies 64 times as much.
    alone = learn_noise(seen[apart], RIG, times=apart.astype(float))
    np.testing.assert_allclose(found.floor, alone.floor, rtol=0.02)
    np.testing.assert_allclose(found.keypoint, alone.keypoint, rtol=0.02)
    np.testing.assert_allclose(found.motion, alone.motion / 4**3, rtol=0.05)
    assert found.decay**4 == pytest.approx(alone.decay, rel=0.02)
    assert found.factor != pytest.approx(alone.factor, abs=0.01)


def test_a_subject_at_rest_may_still_jump() -> None:
    rng = np.random.default_rng(0)
    truth = np.full((90, 1, 3), 0.01)
    truth[60:] += 0.05
    points = project(truth, RIG) + rng.normal(0, 1.5, (90, 3, 1, 2))
    observations, _ = make_observations(points[:50], RIG, None, None, None)
    estimate = first_estimate(observations, reconstruct_frames(observations))
    stiff = make_noise(3, 1, floor=np.full(3, 1.5), motion=np.array([1e-15]))
    rest = _with_motion(stiff, [observations], [estimate])
    error = np.linalg.norm(smooth(points, RIG, noise=rest).points - truth, axis=-1)
    assert error[np.abs(np.arange(90) - 60) > 8].max() < 0.004


@pytest.mark.slow
def test_each_keypoint_has_its_noise_where_two_views_are_near_and_errors_last() -> None:
    """The third view is then predicted far worse than it sees, and must not make the factors swing."""
    rng = np.random.default_rng(2)
    cameras = _ring(0.0, 0.15, 1.6)
    length, sizes = 150, np.array([0.5, 1.0, 2.0, 3.0])
    path = 0.02 * rng.normal(size=(length, 4, 3)).cumsum(0).cumsum(0) + 100 * rng.normal(size=(4, 3))
    lasting = rng.normal(size=(length, 3, 4, 2))
    decay = np.exp(-1 / 30)
    for row in range(1, length):
        lasting[row] = decay * lasting[row - 1] + np.sqrt(1 - decay**2) * lasting[row]
    seen = project(path, cameras) + sizes[:, None] * lasting + rng.normal(0, 0.05, (length, 3, 4, 2))
    noise = learn_noise(seen, cameras)
    expected = sizes / np.exp(np.log(sizes).mean())
    np.testing.assert_array_less(np.abs(np.log(noise.keypoint / expected)), np.log(2.0))
    assert noise.factor < 1.5


@pytest.mark.parametrize("start", [0.1, 1.0, 5.0])
def test_the_factor_of_a_keypoint_settles_where_the_other_views_show_little(start: float) -> None:
    """Predictions have it, too, here thrice its variance. Held, they would make it too small and too large in turns."""
    residual = 2.0 * np.random.default_rng(0).normal(size=(2000, 2))
    factor = start
    for _ in range(3):
        own = np.broadcast_to(factor**2 * np.eye(2), (2000, 2, 2))
        factor = _fit_factor(residual, 3 * own, own, factor, 0.005)
    assert factor == pytest.approx(1.0, abs=0.03)


def test_stated_covariances_are_averaged_where_their_mean_shows_more() -> None:
    """Spreads of a few networks scatter, while errors stay large or small; those of a frame may as well be exact."""
    rng = np.random.default_rng(0)
    shape, cameras = (120, 3, 2), _ring(0.0, 1.0, 2.0)
    exact = project(0.2 * rng.normal(size=(shape[0], 2, 3)).cumsum(0).cumsum(0), cameras)
    in_turn = np.where(np.arange(shape[0]) // 30 % 2 == 0, 1.0, 4.0)[:, None, None] * np.ones(shape)
    at_random = np.where(rng.random(shape) < 0.3, 4.0, 1.0)
    scattered = in_turn**2 * rng.chisquare(2, shape) / 2
    for size, variance, averaged in ((in_turn, scattered, True), (at_random, at_random**2, False)):
        seen = exact + size[..., None] * rng.normal(size=exact.shape)
        noise = learn_noise(seen, cameras, covariance=variance[..., None, None] * np.eye(2))
        assert (noise.window > 0) == averaged


def test_averages_end_at_gaps_and_skip_what_is_missing() -> None:
    stated = np.arange(1.0, 7.0)[:, None, None, None, None] * np.eye(2)
    present = np.ones((6, 1, 1), bool)
    present[4] = False
    times = np.array([0.0, 1.0, 2.0, 9.0, 10.0, 11.0])
    found = averaged_covariance(stated, present, times, 1)[:, 0, 0, 0, 0]
    np.testing.assert_allclose(found, [1.5, 2.0, 2.5, 4.0, 5.0, 6.0])


def _ring(*angles: float) -> CameraGroup:
    """Return cameras at 1.5 m around the origin that look at it, in mm."""
    rotations = []
    for angle in angles:
        forward = -np.array([np.cos(angle), np.sin(angle), 0.3])
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotations.append(np.stack([right, np.cross(forward, right), forward]))
    number = len(angles)
    return CameraGroup(
        names=tuple("abcdef"[:number]),
        sizes=np.full((number, 2), 800.0),
        matrix=np.stack([np.array([[960.0, 0, 400], [0, 960, 400], [0, 0, 1]])] * number),
        distortion=np.zeros((number, 5)),
        rotation=np.stack(rotations),
        translation=np.tile([0.0, 0.0, 1500.0], (number, 1)),
    )
