"""More views than are left out one by one: groups of them are predicted from the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.boards import ring_of_cameras
from helpers.smoothing import make_noise
from mvgeom import learn_noise, project, smooth
from mvgeom.smoothing.arguments import make_observations
from mvgeom.smoothing.cross_validation import ALONG, MOST_VIEWS, VARIANTS, cross_validate, cross_validate_frames
from mvgeom.smoothing.passes import first_estimate, reconstruct_frames


def swing(num_frames: int, num_keypoints: int) -> np.ndarray:
    """Positions (T, K, 3) in m on smooth paths near the origin."""
    rng = np.random.default_rng(1)
    rate, phase = rng.uniform(0.5, 1.5, (2, num_keypoints, 3))
    return 0.1 * np.sin(np.arange(num_frames)[:, None, None] / 15 * rate + 6 * phase)


@pytest.mark.parametrize("by_frames", [False, True])
@pytest.mark.parametrize("num_views", [MOST_VIEWS, MOST_VIEWS + 1, 2 * VARIANTS])
def test_a_view_is_predicted_from_the_views_of_other_groups(num_views: int, by_frames: bool) -> None:
    rig = ring_of_cameras(num_views)
    points = np.asarray(project(swing(12, 1), rig))
    observations, _ = make_observations(points, rig, None, None, None)
    noise = make_noise(num_views, 1)
    estimate = first_estimate(observations, reconstruct_frames(observations, noise))

    def predict(points: np.ndarray) -> np.ndarray:
        changed = replace(observations, points=points)
        residual = (
            cross_validate_frames(changed, noise, estimate, by_groups=True)[0]
            if by_frames
            else cross_validate(changed, noise, estimate)[0]
        )
        return points - residual

    moved = points.copy()
    moved[:, 1] += 3.0
    same = np.isclose(predict(moved), predict(points), rtol=0, atol=1e-9).all((0, 2, 3))
    period = num_views if num_views <= MOST_VIEWS else VARIANTS
    assert same.tolist() == [view % period == 1 for view in range(num_views)]


def test_a_view_of_the_same_group_shows_no_depth() -> None:
    """Of three views that see the keypoint, two are left out together, and judged across the third's lines alone."""
    rig = ring_of_cameras(2 * VARIANTS)
    points = np.asarray(project(swing(40, 1), rig))
    points[:, [view for view in range(len(rig)) if view not in (0, 1, VARIANTS)]] = np.nan
    observations, _ = make_observations(points, rig, None, None, None)
    noise = make_noise(len(rig), 1)
    estimate = first_estimate(observations, reconstruct_frames(observations, noise))
    predicted = cross_validate(observations, noise, estimate)[1]
    largest = np.linalg.eigvalsh(predicted[:, [0, 1, VARIANTS], 0])[..., -1]
    np.testing.assert_allclose(largest[:, [0, 2]], ALONG**2)
    assert (largest[:, 1] < 0.9 * ALONG**2).all()


def test_noise_and_regions_hold() -> None:
    rig = ring_of_cameras(MOST_VIEWS + 2)
    truth, rng = swing(100, 2), np.random.default_rng(2)
    stated = np.linspace(0.7, 1.6, len(rig))
    points = np.asarray(project(truth, rig)) + stated[:, None, None] * rng.normal(size=(100, len(rig), 2, 2))
    noise = learn_noise(points, rig)
    np.testing.assert_allclose(noise.floor, stated, rtol=0.2)
    found = smooth(points, rig, noise=noise)
    error = found.points - truth
    distance = (error[..., None, :] @ np.linalg.inv(found.covariance) @ error[..., None])[..., 0, 0]
    assert 0.8 < (distance < 6.25).mean() < 0.98
