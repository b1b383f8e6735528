"""Factors of the standard deviations of smoothed trajectories, from views that are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from helpers.geometry import random_rig
from helpers.smoothing import make_noise
from mvgeom import CameraGroup, project, reconstruct
from mvgeom.left_out import factor_of_squares
from mvgeom.smoothing import Noise, smooth
from mvgeom.smoothing.interval_factor import interval_factor
from mvgeom.smoothing.learning import _with_views
from mvgeom.smoothing.passes import first_estimate, improve, reconstruct_frames
from mvgeom.smoothing.trajectories import Observations

NUM_FRAMES, NUM_KEYPOINTS = 120, 6
ASSUMED = make_noise(4, NUM_KEYPOINTS, motion=np.full(NUM_KEYPOINTS, 1e-8))
"""Independent errors of 2 px, of a subject that hardly moves: averages over time should be precise."""


def correlated(shape: tuple[int, ...], lasting: float, rng: np.random.Generator) -> np.ndarray:
    """Errors of variance 1 that are correlated by `lasting` from frame to frame, the first axis."""
    values = rng.normal(size=shape)
    for frame in range(1, len(values)):
        values[frame] = lasting * values[frame - 1] + np.sqrt(1 - lasting**2) * values[frame]
    return values


def observe(seed: int, lasting: float, num_views: int = 4) -> tuple[np.ndarray, Observations]:
    """Positions at rest, and keypoints with errors of 2 px that last: correlated by `lasting` from frame to frame."""
    rng = np.random.default_rng(seed)
    rig: CameraGroup = random_rig(rng, num_views, distance=(1.0, 1.3))
    truth = np.broadcast_to(rng.uniform(-0.1, 0.1, (NUM_KEYPOINTS, 3)), (NUM_FRAMES, NUM_KEYPOINTS, 3))
    points = project(truth, rig) + 2 * correlated((NUM_FRAMES, num_views, NUM_KEYPOINTS, 2), lasting, rng)
    nothing, usual = np.zeros((*points.shape, 2)), np.ones(points.shape[:-1])
    times = np.arange(float(NUM_FRAMES))
    return truth, Observations(points=points, covariance=nothing, excess=usual, times=times, cameras=rig)


def factor_of(observations: Observations, noise: Noise) -> float:
    estimate = first_estimate(observations, reconstruct_frames(observations))
    for _ in range(3):
        _, estimate = improve(observations, noise, estimate)
    return interval_factor([observations], noise, [estimate])


def coverage(truth: np.ndarray, observations: Observations, noise: Noise) -> float:
    """Share of coordinates within their 90 % interval."""
    found = smooth(observations.points, observations.cameras, noise=noise)
    deviation = np.sqrt(np.diagonal(found.covariance, axis1=-2, axis2=-1))
    return float((np.abs(found.points - truth) < 1.645 * deviation).mean())


@pytest.mark.parametrize("num_views", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_errors_that_time_does_not_average_widen_the_intervals(seed: int, num_views: int) -> None:
    truth, observations = observe(seed, lasting=0.9, num_views=num_views)
    assumed = ASSUMED.of_views(list(range(num_views)))
    factor = factor_of(observations, assumed)
    assert coverage(truth, observations, assumed) < 0.75
    assert 0.84 < coverage(truth, observations, replace(assumed, factor=factor)) < 0.99


@pytest.mark.parametrize("num_views", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_where_errors_are_as_assumed_nothing_is_widened(seed: int, num_views: int) -> None:
    _, observations = observe(seed, lasting=0.0, num_views=num_views)
    assert 1.0 <= factor_of(observations, ASSUMED.of_views(list(range(num_views)))) < 1.15


@pytest.mark.parametrize("num_views", [2, 4])
@pytest.mark.parametrize("seed", range(2))
def test_tails_beyond_the_noise_widen_the_intervals(seed: int, num_views: int) -> None:
    """Independent errors, which time averages, so that the gain tells nothing."""
    truth, observations = observe(seed, lasting=0.0, num_views=num_views)
    assumed = ASSUMED.of_views(list(range(num_views)))
    half = replace(assumed, floor=assumed.floor / 2)
    assert coverage(truth, observations, half) < 0.75
    factor = factor_of(observations, half)
    assert 1.5 < factor < 2.4
    assert coverage(truth, observations, replace(half, factor=factor)) > 0.84


def test_the_factor_scales_deviations_and_moves_nothing() -> None:
    _, observations = observe(5, lasting=0.0)
    plain, wide = (
        smooth(observations.points, observations.cameras, noise=replace(ASSUMED, factor=factor))
        for factor in (1.0, 2.0)
    )
    np.testing.assert_array_equal(wide.points, plain.points)
    np.testing.assert_array_equal(wide.velocity, plain.velocity)
    np.testing.assert_allclose(wide.covariance, 4 * plain.covariance, rtol=1e-12)
    np.testing.assert_allclose(wide.velocity_covariance, 4 * plain.velocity_covariance, rtol=1e-12)


@pytest.mark.parametrize("degrees", [1, 2])
def test_tails_of_either_number_of_coordinates(degrees: int) -> None:
    squares = np.square(np.random.default_rng(0).normal(size=(20_000, degrees))).sum(-1)
    assert factor_of_squares(4 * squares, degrees=degrees) == pytest.approx(2.0, rel=0.05)
    assert factor_of_squares(squares / 4, degrees=degrees) == 1.0


def test_the_order_of_two_views_changes_nothing() -> None:
    _, observations = observe(0, lasting=0.9, num_views=2)
    cameras = observations.cameras
    assert cameras is not None
    turned = replace(
        observations, points=observations.points[:, ::-1].copy(), cameras=cameras.select(cameras.names[::-1])
    )
    assumed = ASSUMED.of_views([0, 1])
    assert factor_of(turned, assumed) == pytest.approx(factor_of(observations, assumed), rel=1e-6)


@pytest.mark.filterwarnings("error")
def test_two_cameras_on_one_line_of_sight_determine_nothing() -> None:
    """The subject is on the line through both cameras: no direction is across the epipolar lines."""
    _, observations = observe(0, lasting=0.0, num_views=2)
    cameras = observations.cameras
    assert cameras is not None
    same = cameras.replace(rotation=cameras.rotation[[0, 0]], translation=cameras.translation[[0, 0]])
    points = observations.points[:, [0, 0]]
    assert factor_of(replace(observations, points=points, cameras=same), ASSUMED.of_views([0, 1])) == 1.0


@pytest.mark.filterwarnings("error")
def test_frames_with_two_of_three_views_determine_nothing() -> None:
    _, observations = observe(0, lasting=0.9, num_views=3)
    points = observations.points.copy()
    points[np.arange(NUM_FRAMES), np.arange(NUM_FRAMES) % 3] = np.nan
    assert factor_of(replace(observations, points=points), ASSUMED.of_views([0, 1, 2])) == 1.0


def test_keypoints_that_no_frame_shows_do_not_matter() -> None:
    _, observations = observe(1, lasting=0.9)
    points = observations.points.copy()
    points[:, :, 0] = np.nan
    assert factor_of(replace(observations, points=points), ASSUMED) > 1.2


@pytest.mark.slow
def test_two_views_learn_their_noise_from_what_they_see_of_each_other() -> None:
    """A view that is alone knows no depth: what the prior of motion makes of it must not pass for noise."""
    rng = np.random.default_rng(0)
    rig = random_rig(rng, 2, distance=(4.0, 5.0))
    phase = 1.0 + np.arange(2)[:, None] + 2.1 * np.arange(3)
    truth = 0.6 * np.sin(np.arange(240)[:, None, None] / 60 * (0.7 + 0.31 * phase) + phase)
    points = project(truth, rig)
    points = points + rng.normal(0, 1.5, points.shape)
    wrong = rng.random(points.shape[:3]) < 0.02
    points = np.where(wrong[..., None], points + rng.normal(0, 60, points.shape), points)
    points[rng.random(points.shape[:3]) < 0.1] = np.nan
    found = smooth(points, rig)
    np.testing.assert_allclose(found.noise.floor, 1.5, rtol=0.25)
    single = 4.5 * 1.5 / 1000  # of one view's noise at the subject's distance, in the rig's unit
    assert np.sqrt(np.square(found.points - truth).mean()) < single


@pytest.mark.slow
@pytest.mark.parametrize("num_views", [2, 3])
def test_two_views_learn_motion_that_only_depth_shows(num_views: int) -> None:
    """Cameras of one height tell the height of a keypoint twice, and its way along the ground once each.

    A third view that does not see the keypoint changes nothing.
    """
    rng = np.random.default_rng(4)
    turns = Rotation.from_euler("y", [[-35], [35], [80]], degrees=True).as_matrix()[:num_views]
    rig = random_rig(rng, num_views).replace(
        rotation=turns, translation=np.tile([0.0, 0.0, 1.2], (num_views, 1)), distortion=np.zeros((num_views, 5))
    )
    truth = np.cumsum(np.cumsum(rng.normal(0, [0.0015, 0.00002, 0.0015], (300, 3, 3)), axis=0), axis=0)
    truth = 0.1 * truth / np.abs(truth).max((0, 2), keepdims=True)
    error = np.sqrt(0.5) * (rng.normal(size=(300, num_views, 3, 2)) + correlated((300, num_views, 3, 2), 0.85, rng))
    points = project(truth, rig) + error
    points[:, 2:, :2] = np.nan
    found = smooth(points, rig)
    difference = (found.points - truth)[:, :2]
    single = reconstruct(points, rig, method="refined").points[:, :2] - truth[:, :2]
    assert np.linalg.norm(difference, axis=-1).mean() < 0.9 * np.linalg.norm(single, axis=-1).mean()
    distance = np.einsum("tki,tkij,tkj->tk", difference, np.linalg.inv(found.covariance[:, :2]), difference)
    assert 0.7 < (distance < chi2.ppf(0.9, 3)).mean() < 0.98


def test_no_view_is_taken_to_be_exact() -> None:
    """Views that contradict each other are most likely if one of them is exact."""
    _, observations = observe(0, lasting=0.0)
    stretch = observations.frames(slice(0, 40))
    shape = stretch.points.shape
    residual = np.random.default_rng(0).normal(0, 20, shape)
    residual[:, 2] = 0.0
    validated = residual, np.zeros((*shape, 2)), np.ones(shape[:3], dtype=bool)
    found = _with_views(ASSUMED, [stretch], validated)
    deviation = np.sqrt(found.covariance(stretch.covariance)[0, :, :, 0, 0]).mean(1)
    assert deviation[2] > 0.04 * np.median(deviation)
    np.testing.assert_allclose(np.delete(deviation, 2), 20, rtol=0.2)
