"""Errors that all views share: covariances of smoothed positions have them, and hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.errors import Expectation, raises_input
from helpers.geometry import random_rig
from helpers.smoothing import make_noise
from mvgeom import CameraGroup, Noise, SharedError, covariance, project, smooth

NUM_FRAMES, NUM_VIEWS, NUM_KEYPOINTS = 90, 3, 6
SHARED = 0.004
NOISE = make_noise(NUM_VIEWS, NUM_KEYPOINTS, motion=np.full(NUM_KEYPOINTS, 1e-7))


def lasting(rng: np.random.Generator, shape: tuple[int, ...], decay: float) -> np.ndarray:
    values = rng.normal(size=shape)
    for row in range(1, len(values)):
        values[row] = decay * values[row - 1] + np.sqrt(1 - decay**2) * values[row]
    return values


def record(seed: int) -> tuple[np.ndarray, np.ndarray, CameraGroup]:
    """Positions and keypoints of a detector that is off by the same 3D error in all views, and by 2 px in each."""
    rng = np.random.default_rng(seed)
    rig = random_rig(rng, NUM_VIEWS, distance=(1.0, 1.3))
    angle = np.arange(NUM_FRAMES)[:, None] / 30 + rng.uniform(0, 6, NUM_KEYPOINTS)
    truth = 0.1 * np.stack([np.sin(angle), np.cos(angle), 0.3 * np.sin(2 * angle)], axis=-1)
    seen = truth + SHARED * lasting(rng, truth.shape, 0.9)
    return truth, project(seen, rig) + rng.normal(0, 2, (NUM_FRAMES, NUM_VIEWS, NUM_KEYPOINTS, 2)), rig


def shared_error(scale: float = 1.0, std: float = 0.0) -> SharedError:
    return SharedError(scale=scale, std=np.full(NUM_KEYPOINTS, std))


def test_intervals_hold_the_truth_with_what_the_views_share() -> None:
    truth, points, rig = record(0)

    def coverage(shared: SharedError | None) -> float:
        found = smooth(points, rig, noise=NOISE, shared=shared)
        deviation = np.sqrt(np.diagonal(found.covariance, axis1=-2, axis2=-1))
        return float((np.abs(found.points - truth) < 1.645 * deviation).mean())

    assert coverage(None) < 0.7
    assert 0.85 < coverage(shared_error(std=SHARED)) < 0.95


def test_it_is_added_to_what_the_views_of_a_frame_state() -> None:
    _, points, rig = record(0)
    points[40:44, :, 1] = np.nan  # a gap
    points[50:54, 1:, 2] = np.nan  # one view alone
    plain = smooth(points, rig, noise=NOISE)
    found = smooth(points, rig, noise=NOISE, shared=shared_error(2.0, SHARED))
    for name in ("points", "velocity", "velocity_covariance", "inlier"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    added = found.covariance - plain.covariance - SHARED**2 * np.eye(3)
    used = np.moveaxis(np.nan_to_num(plain.inlier) > 0.5, 1, 0)
    alone = covariance(plain.points, rig, 2.0, np.moveaxis(used, 0, -2))
    ratio = np.trace(added, axis1=-2, axis2=-1) / (3 * np.trace(alone, axis1=-2, axis2=-1))
    whole = used.all(0)
    assert (np.abs(ratio[whole] - 1) < 0.15).all()  # but for the least information
    typical = np.median(np.trace(added[whole], axis1=-2, axis2=-1))
    seldom = np.trace(np.concatenate([added[40:44, 1], added[50:54, 2]]), axis1=-2, axis2=-1) / typical
    assert ((seldom > 2) & (seldom < 5**2)).all()
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()


def test_units_change_nothing() -> None:
    _, points, rig = record(1)
    points = points[:20]
    first = smooth(points, rig, noise=NOISE, shared=shared_error(1.5, SHARED))
    in_mm = Noise(**vars(NOISE) | {"motion": NOISE.motion * 1e6})
    other = rig.replace(translation=rig.translation * 1000)
    second = smooth(points, other, noise=in_mm, shared=shared_error(1.5, 1000 * SHARED))
    np.testing.assert_allclose(second.covariance, 1e6 * first.covariance, rtol=1e-5, atol=1e-6)


def test_a_recording_that_determines_nothing_has_no_share_of_it() -> None:
    _, points, rig = record(0)
    points[:] = np.nan
    found = smooth(points, rig, noise=NOISE, shared=shared_error(2.0, SHARED), max_gap=0)
    assert np.isnan(found.points).all()


@pytest.mark.parametrize(
    ("scale", "std", "expected"),
    [
        (0.9, [0.0] * NUM_KEYPOINTS, raises_input("out-of-range", argument="shared")),
        (1.0, [-1.0] * NUM_KEYPOINTS, raises_input("out-of-range", argument="shared")),
        (np.nan, [0.0] * NUM_KEYPOINTS, raises_input("not-finite", argument="shared")),
        (1.0, [np.inf] * NUM_KEYPOINTS, raises_input("not-finite", argument="shared")),
        (1.0, [0.0] * (NUM_KEYPOINTS - 1), raises_input("wrong-shape", argument="shared")),
    ],
)
def test_wrong_values(scale: float, std: list[float], expected: Expectation) -> None:
    _, points, rig = record(0)
    with expected:
        smooth(points[:3], rig, noise=NOISE, shared=SharedError(scale=scale, std=np.array(std)))


def test_a_single_view_shares_nothing() -> None:
    _, points, _ = record(0)
    with raises_input("missing-argument", argument="cameras"):
        smooth(points[:3, :1], shared=shared_error())
