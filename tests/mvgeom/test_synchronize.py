"""Offsets in time of cameras from keypoints: what must be found, and what must be refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from helpers.boards import arc_of_cameras
from helpers.errors import raises_input
from helpers.unsynchronized import irregular, periodic, record
from mvgeom import CameraGroup, undistort
from mvgeom.calibration import Synchronization, synchronize
from mvgeom.calibration.clock_fit import fit_clocks
from mvgeom.calibration.smooth_tracks import resample
from mvgeom.calibration.synchronize import LONGEST_OFFSET

CAMERAS = arc_of_cameras(3)
LATE = (0.0, 4.3, -7.6)


def find(points: np.ndarray, cameras: CameraGroup = CAMERAS, *, longest: int = 15, **options: str) -> Synchronization:
    return synchronize(cameras, points, frame_rate=50, longest=longest, **options)  # type: ignore[arg-type]


def codes(found: Synchronization) -> set[str]:
    return {each.code for each in found.findings if each.severity == "error"}


@pytest.mark.parametrize("seed", range(3))
def test_offsets_are_found_in_parts_of_a_frame(seed: int) -> None:
    late = np.array([0, *np.random.default_rng(seed).uniform(-12, 12, 2)])
    found = find(record(CAMERAS, irregular(seed), late=late, seed=seed))
    assert found.passed
    assert found.offset == pytest.approx(late, abs=0.1)
    assert (found.offset_std < 0.1).all()
    assert (found.drift == 0).all()
    assert found.clocks is not None
    assert found.clocks.offset == pytest.approx(late / 50, abs=0.1 / 50)
    assert (found.distance < found.distance_before)[np.abs(late) > 1].all()


def test_the_order_of_the_cameras_does_not_matter() -> None:
    points = record(CAMERAS, irregular(5), late=LATE)
    found, order = find(points, reference="cam1"), [2, 0, 1]
    turned = find(points[:, order], CAMERAS.select([CAMERAS.names[view] for view in order]), reference="cam1")
    assert turned.names == tuple(CAMERAS.names[view] for view in order)
    assert turned.offset == pytest.approx(found.offset[order], abs=0.01)


def test_the_reference_is_at_zero_and_the_sign_turns_with_it() -> None:
    points = record(CAMERAS.select(["cam1", "cam2"]), irregular(6), late=(0, 3.4))
    pair = CAMERAS.select(["cam1", "cam2"])
    assert find(points, pair, reference="cam1").offset == pytest.approx([0, 3.4], abs=0.1)
    assert find(points, pair, reference="cam2").offset == pytest.approx([-3.4, 0], abs=0.1)


def test_synchronized_cameras_have_no_offset() -> None:
    found = find(record(CAMERAS, irregular(7), late=(0, 0, 0)))
    assert found.passed
    assert found.offset == pytest.approx([0, 0, 0], abs=0.1)


def test_offsets_on_both_sides_of_the_reference_are_farther_apart_than_the_longest() -> None:
    found = find(record(CAMERAS, irregular(4), late=(0, 13.2, -12.7)))
    assert found.offset == pytest.approx([0, 13.2, -12.7], abs=0.1)


def test_a_drift_is_found_where_there_is_one() -> None:
    late, drift = (0.0, 2.0, -3.0), (0.0, 4e-3, 0.0)
    found = find(record(CAMERAS, irregular(8, 500), 500, late=late, drift=drift))
    assert found.passed
    ends = np.array([[0], [499]])
    truth = np.array(late) + np.array(drift) * ends
    assert found.offset + found.drift * ends == pytest.approx(truth, abs=0.1)


@pytest.mark.parametrize("lost", [3, 8])
def test_frames_that_were_lost_half_way_are_no_offset(lost: int) -> None:
    points = record(CAMERAS, irregular(3, 400), 400, late=[0.0] * len(CAMERAS))
    points[200 : 400 - lost, 1] = points[200 + lost :, 1].copy()
    points[400 - lost :, 1] = np.nan
    found = find(points)
    assert {each.code for each in found.findings if each.cameras == (CAMERAS.names[1],)} == {"offset_undetermined"}
    assert found.clocks is None


@pytest.mark.parametrize("seed", [0, 2, 5, 6, 7])
def test_a_subject_that_rests_and_moves_once_shows_the_offset_and_no_drift(seed: int) -> None:
    """A line of drift may turn about the short motion without losing any agreement."""
    walk = irregular(seed, 600)
    late = np.array([0.0, *np.random.default_rng(seed).uniform(-15, 15, 2)])
    points = record(CAMERAS, lambda times: walk(np.clip(times, 350, 470)), 600, late=late, noise=1.0, seed=seed)
    found = synchronize(CAMERAS, points, frame_rate=60)
    assert found.findings == ()
    assert found.offset == pytest.approx(late, abs=0.1)
    assert (found.drift == 0).all()


@pytest.mark.parametrize("seed", [1, pytest.param(9, marks=pytest.mark.slow)])
def test_the_adjustment_starts_without_a_drift_that_chance_explains(seed: int) -> None:
    """A detector that wanders while the subject rests turns the line about the one motion by several frames."""
    walk = irregular(seed, 1000)
    late = np.array([0.0, *np.random.default_rng(seed).uniform(-15, 15, 2)])
    points = record(CAMERAS, lambda times: 0.3 * walk(np.clip(times, 650, 850)), 1000, late=late, noise=1.0, seed=seed)
    wander = gaussian_filter1d(np.random.default_rng(seed + 50).normal(size=points.shape), 20, axis=0)
    found = synchronize(CAMERAS, points + 2 * wander / wander.std(), frame_rate=60)
    assert found.offset == pytest.approx(late, abs=0.1)
    assert (found.drift == 0).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_few_stretches_make_no_deviation_smaller_than_that_of_independent_errors(seed: int) -> None:
    cameras = arc_of_cameras(6, step_deg=15)
    points = record(cameras, irregular(seed, 60), 60, late=[0.0] * 6, noise=1.0)
    tracks, zero = np.asarray(undistort(points, cameras)), np.zeros(6)
    found = fit_clocks(cameras, tracks, zero, zero, lag=12, drifts=False)
    assert (np.sqrt(found.covariance[1:, 0, 0]) > 0.003).all()


def test_noise_of_slopes_makes_no_deviation_smaller() -> None:
    """Of slow motion, most of a track's slope is noise: it tells nothing, but fills the normal equations."""
    standardized = []
    for seed in range(4):
        tracks = np.asarray(undistort(record(CAMERAS, irregular(seed, 300, speed=0.1), 300, late=LATE), CAMERAS))
        start = np.round(LATE)
        found = fit_clocks(CAMERAS, tracks, start, start, lag=3, drifts=False)
        standardized += ((found.offset - LATE)[1:] / np.sqrt(found.covariance[1:, 0, 0])).tolist()
    assert 0.2 < np.sqrt(np.square(standardized).mean()) < 2


@pytest.mark.slow
def test_slow_motion_is_compared_over_longer_lags() -> None:
    errors = []
    for seed in range(3):
        found = find(record(CAMERAS, irregular(seed, 600, speed=0.1), 600, late=LATE, noise=2.0, seed=seed))
        errors += (found.offset - LATE)[1:].tolist()
    assert np.sqrt(np.square(errors).mean()) < 0.15


def test_many_frames_lost_at_once_are_a_jump_of_the_offset() -> None:
    """No line of drift covers both parts, and the adjustment stays with one of them."""
    lost = 20
    points = record(CAMERAS, irregular(4, 600), 600, late=[0.0] * len(CAMERAS))
    points[360 : 600 - lost, 1] = points[360 + lost :, 1].copy()
    points[600 - lost :, 1] = np.nan
    found = synchronize(CAMERAS, points, frame_rate=50)
    assert codes(found) == {"offset_undetermined"}
    (finding,) = (each for each in found.findings if each.severity == "error")
    assert finding.cameras == (CAMERAS.names[1],)
    assert abs(finding.evidence["rival"]) == pytest.approx(lost, abs=1)
    assert found.offset[2:] == pytest.approx(0, abs=0.1)


@pytest.mark.slow
def test_parts_of_a_recording_agree_where_chance_turns_their_lines() -> None:
    """Of a long recording with one short motion, lines of drift about it differ by many frames at the ends."""
    walk = irregular(1, 2000)
    late = np.array([0.0, *np.random.default_rng(1).uniform(-15, 15, 2)])
    points = record(CAMERAS, lambda times: 0.3 * walk(np.clip(times, 400, 700)), 2000, late=late, noise=1.0, seed=1)
    wander = gaussian_filter1d(np.random.default_rng(51).normal(size=points.shape), 20, axis=0)
    found = synchronize(CAMERAS, points + 3 * wander / wander.std(), frame_rate=60)
    assert found.offset == pytest.approx(late, abs=0.15)


@pytest.mark.parametrize("seed", [1, 8, 9])
def test_slow_motion_is_not_taken_for_lost_frames(seed: int) -> None:
    """Its offsets by whole frames at the start and at the end differ by chance; the adjustment shows no drift."""
    rng, rates = np.random.default_rng(seed), np.array([0.3, 0.8, 1.7])[:, None]
    size, phase = 0.14 * rng.normal(size=(3, 3)) / (1 + rates), rng.uniform(0, 6, (3, 3))
    rest = 0.1 * rng.normal(size=(2, 3))

    def subject(times: np.ndarray) -> np.ndarray:
        swings = size * np.sin(2 * np.pi * rates * times[:, None, None] / 60 + phase)
        return swings.sum(axis=1)[:, None] + rest

    late = [0.0, *rng.uniform(-8, 8, 2)]
    found = synchronize(CAMERAS, record(CAMERAS, subject, 300, late=late, noise=1.0, seed=seed), frame_rate=60)
    assert found.findings == ()
    assert found.offset == pytest.approx(late, abs=0.15)


@pytest.mark.slow
def test_errors_are_as_large_as_stated() -> None:
    """Of a slow subject, whose offsets depend most on over how many frames motion is compared."""
    standardized = []
    for seed in range(8):
        found = find(record(CAMERAS, irregular(seed, 300, speed=0.15), 300, late=LATE, seed=seed))
        standardized += ((found.offset - LATE)[1:] / found.offset_std[1:]).tolist()
    assert 0.5 < np.sqrt(np.square(standardized).mean()) < 1.7


def test_a_drift_that_no_clock_has_is_reported() -> None:
    drift = [0.0, 0.004, *[0.0] * (len(CAMERAS) - 2)]
    found = find(record(CAMERAS, irregular(2, 400), 400, late=[0.0] * len(CAMERAS), drift=drift))
    assert [(each.code, each.severity, each.cameras) for each in found.findings] == [
        ("large_drift", "warning", (CAMERAS.names[1],))
    ]
    assert found.drift[1] == pytest.approx(0.004, rel=0.1)


def test_missing_keypoints_and_outliers_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    points = record(CAMERAS, irregular(9), late=LATE)
    points[rng.random(points.shape[:3]) < 0.2] = np.nan
    points[rng.random(points.shape[:3]) < 0.03] = 100
    found = find(points)
    assert found.passed
    assert found.offset == pytest.approx(LATE, abs=0.1)


def wander(points: np.ndarray) -> np.ndarray:
    """Errors of a detector that last for about ten frames."""
    kernel = np.exp(-0.5 * (np.arange(-15, 16) / 6) ** 2)
    noise = np.random.default_rng(1).normal(size=points.shape)
    slow = np.apply_along_axis(np.convolve, 0, noise, kernel / np.linalg.norm(kernel), mode="same")
    return points + 3 * slow


UNDETERMINED = {
    "still": lambda seed: record(CAMERAS, irregular(seed, speed=0), late=LATE, seed=seed),
    "still, and a detector that wanders": lambda seed: wander(record(CAMERAS, irregular(seed, speed=0), late=LATE)),
    "periodic": lambda seed: record(CAMERAS, periodic(9), late=LATE, seed=seed),
    "one camera sees nothing": lambda seed: record(CAMERAS, irregular(seed), late=LATE) * [[[1]], [[1]], [[np.nan]]],
    "nobody sees anything": lambda seed: np.full((100, 3, 4, 2), np.nan),
    "few frames": lambda seed: record(CAMERAS, irregular(seed), 6, late=(0, 0, 0)),
    "no frames": lambda seed: np.zeros((0, 3, 4, 2)),
    "no keypoints": lambda seed: np.zeros((50, 3, 0, 2)),
    "beyond what is tried": lambda seed: record(CAMERAS, irregular(seed), late=(0, 0, 40)),
}


@pytest.mark.parametrize("case", UNDETERMINED)
def test_what_cannot_be_determined_is_a_finding(case: str) -> None:
    found = find(UNDETERMINED[case](3))
    assert codes(found) == {"offset_undetermined"}
    assert found.clocks is None
    assert not found.passed


def test_the_other_cameras_are_reported_where_one_is_undetermined() -> None:
    found = find(UNDETERMINED["one camera sees nothing"](3))
    assert [each.cameras for each in found.findings] == [("cam3",)]
    assert found.offset[:2] == pytest.approx(LATE[:2], abs=0.1)
    assert np.isnan(found.offset[2])


@pytest.mark.parametrize("seed", range(4))
def test_noise_alone_never_makes_an_offset(seed: int) -> None:
    points = np.random.default_rng(seed).normal(500, 3, (200, 2, 8, 2))
    assert codes(find(points, CAMERAS.select(["cam1", "cam2"]))) == {"offset_undetermined"}


def test_wrong_arguments() -> None:
    points = record(CAMERAS, irregular(0), 50, late=LATE)
    with raises_input("out-of-range"):
        synchronize(CAMERAS, points, frame_rate=0)
    with raises_input("missing-view", view="cam9"):
        synchronize(CAMERAS, points, frame_rate=50, reference="cam9")
    with raises_input("wrong-shape"):
        synchronize(CAMERAS, points[:, :2], frame_rate=50)
    assert LONGEST_OFFSET == 60


def test_resampling_averages_as_much_noise_between_frames_as_at_them() -> None:
    noise = np.random.default_rng(0).normal(size=(20_000, 1, 2))
    frames = np.arange(10, 19_900)
    deviations = [resample(noise, frames + part)[0].std() for part in (0, 0.25, 0.5, 0.75)]
    assert deviations == pytest.approx([deviations[0]] * 4, rel=0.01)


@pytest.mark.parametrize("width", [1.0, 2.0, 4.0])
def test_wider_kernels_average_more_noise(width: float) -> None:
    noise = np.random.default_rng(0).normal(size=(100_000, 1, 2))
    values, slopes = resample(noise, np.arange(20, 99_900) + 0.3, width=width)
    # Of a Gaussian kernel: 1 / (2 sqrt(pi) width), and half of it by width^2 for the slope.
    assert values.var() == pytest.approx(1 / (2 * np.sqrt(np.pi) * width), rel=0.03)
    assert slopes.var() == pytest.approx(1 / (4 * np.sqrt(np.pi) * width**3), rel=0.05)


def test_resampling_is_exact_for_straight_tracks_and_bridges_no_gap() -> None:
    track = (np.arange(30.0)[:, None, None] * [[2.0, -3.0]]) + 1
    values, slopes = resample(track, np.array([4.3, 0.0, 28.9, 29.0, 29.2, -0.1]))
    assert values[:4, 0, 0] == pytest.approx([9.6, 1, 58.8, 59])
    assert slopes[:4, 0] == pytest.approx(np.tile([2, -3], (4, 1)))
    assert np.isnan(values[4:]).all()
    track[10] = np.nan
    values, _ = resample(track, np.array([9.0, 9.5, 10.0, 10.5, 11.0]))
    assert np.isfinite(values[:, 0, 0]).tolist() == [True, False, False, False, True]
