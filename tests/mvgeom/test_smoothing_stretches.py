"""Noise of recordings that show a subject in a part of their frames only."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.geometry import random_rig
from helpers.smoothing import make_noise
from mvgeom import learn_noise, project, smooth
from mvgeom.smoothing import learning_rows
from mvgeom.smoothing.arguments import make_observations
from mvgeom.smoothing.learning import _with_motion
from mvgeom.smoothing.passes import first_estimate, reconstruct_frames

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
        (np.ones(1000, bool), np.concatenate([np.arange(start, start + 100) for start in (0, 300, 600, 900)])),
        (
            np.arange(9000) >= 8000,
            np.concatenate([np.arange(start, start + 100) for start in (8000, 8300, 8600, 8900)]),
        ),
    ],
)
def test_rows_are_spread_over_the_frames_with_a_subject(determined: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(learning_rows(determined), expected)


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
