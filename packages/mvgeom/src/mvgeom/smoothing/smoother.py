"""Smooth trajectories of keypoints in 3D, or in the image of a single view, with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mvgeom._arrays import check_number
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.reconstruction import Reconstruction
from mvgeom.short_repr import short_repr
from mvgeom.smoothing.arguments import check_shared, make_observations
from mvgeom.smoothing.bones import Bone, check_bones, hold_lengths, measure_bones
from mvgeom.smoothing.episodes import find_excess
from mvgeom.smoothing.learning import estimate_correlation, learn
from mvgeom.smoothing.noise import Noise
from mvgeom.smoothing.passes import ACTIVITY_WINDOW, SingleFrames, first_estimate, improve, reconstruct_frames
from mvgeom.smoothing.shared_error import SharedError, frame_information, shared_covariance
from mvgeom.smoothing.stretches import (
    LEARNING_FRAMES,
    is_determined,
    learning_rows,
    learning_stride,
    spread_rows,
)
from mvgeom.smoothing.trajectories import Observations, Trajectories, linearize, project_covariance

__all__ = ["Smoothed", "learn_noise", "smooth"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

NUM_PASSES = 4
EPISODE_PASSES = 2
"""Further passes, each of which follows a look for episodes."""

WINDOW_FLOATS = 2e7
"""Numbers in the largest array, which limits how many frames are smoothed at a time."""

MARGIN = 250
"""Frames before and after a window that are smoothed with it and dropped.

Of a keypoint that has no position in the nearer half of them, as many of the nearest frames in which it has one are
smoothed with it, and as many that are spread over the gap.
"""

BESIDE = np.arange(ACTIVITY_WINDOW * (NUM_PASSES + EPISODE_PASSES))
"""Distances in a gap from its ends, which the activity of its ends reaches in all passes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Smoothed:
    """Smooth trajectories of N frames. D is 3, or 2 for those in the image of a single view.

    Attributes:
        points: (N, K, D) positions; NaN in gaps that are too long, and for keypoints that no frame determines.
        covariance: (N, K, D, D) their covariances.
        velocity: (N, K, D) velocities per unit of `times`; NaN as the positions.
        velocity_covariance: (N, K, D, D) their covariances.
        inlier: (N, V, K) probability that a keypoint is not an outlier; NaN where there is none.
        noise: Noise that was assumed or learned, per typical step.
        bones: Bones with the lengths and deviations that were held.
    """

    points: Floats
    covariance: Floats
    velocity: Floats
    velocity_covariance: Floats
    inlier: Floats
    noise: Noise
    bones: tuple[Bone, ...] = ()

    __repr__ = short_repr

    def project(self, cameras: CameraGroup) -> tuple[Floats, Floats]:
        """Project positions and covariances into views.

        Returns:
            Points (N, V, K, 2) in full-image px and covariances (N, V, K, 2, 2) in px^2, without the noise of
            keypoints; NaN where there is no position, or no projection of it.
        """
        points, derivative = linearize(self.points, cameras)
        return points, project_covariance(derivative, self.covariance)

    def to_reconstruction(self, points: Floats, cameras: CameraGroup) -> Reconstruction:
        """Return positions with the quality that `reconstruct` gives: of the keypoints that are no outliers.

        Args:
            points: (N, V, K, 2) keypoints that were smoothed.
            cameras: V cameras.
        """
        projected, _ = linearize(self.points, cameras)
        used = (np.nan_to_num(self.inlier) > 0.5) & np.isfinite(projected).all(-1)
        error = np.where(used, np.linalg.norm(np.where(used[..., None], projected - points, 0.0), axis=-1), 0.0)
        count = used.sum(axis=1)
        return Reconstruction(
            points=self.points,
            std=np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1)),
            error=np.where(count > 0, error.sum(axis=1) / np.maximum(count, 1), np.nan),
            num_views=count,
            noise=float(np.median(self.noise.floor)),
            threshold=float("inf"),
        )


def smooth(
    points: Floats,
    cameras: CameraGroup | None = None,
    *,
    likelihood: Floats | None = None,
    covariance: Floats | None = None,
    times: Floats | None = None,
    noise: Noise | None = None,
    max_gap: float | None = None,
    shared: SharedError | None = None,
    bones: Sequence[Bone] = (),
) -> Smoothed:
    """Smooth the keypoints of a recording.

    Position is modeled as the integral of a Brownian velocity, keypoints as its projections with noise of two kinds,
    independent between frames and correlated. The posterior is exact for projections linearized about the trajectory
    (iterated extended Kalman filter and Rauch-Tung-Striebel smoother). Outliers are judged by all views and times. The
    intensity of motion varies with the activity in a few frames around (a Student-t process), so that jumps stay sharp.
    The variance of a keypoint in one view grows for a while where the other views contradict it
    (`mvgeom.smoothing.episodes`).

    Args:
        points: (N, V, K, 2) keypoints in full-image px; NaN is missing.
        cameras: V cameras without batch dimensions, NumPy; None for trajectories in the image of a single view (V = 1).
        likelihood: (N, V, K) likelihoods from 0 to 1, from which variances are stated up to a scale.
        covariance: (N, V, K, 2, 2) stated covariances in px^2, such as those of an ensemble; excludes `likelihood`.
            Without both, all keypoints of a view are equally certain.
        times: (N,) times of the frames, increasing, in any unit; None for 0, 1, 2, ...
        noise: Noise; None learns it from the recording (`learn_noise`).
        max_gap: Longest gap without an inlier, in the unit of `times`, through which a keypoint is interpolated; None
            for any length.
        shared: Errors that all views share, which are added to the covariances of positions, not to those of
            velocities, because they last; None for none. It needs cameras.
        bones: Bones whose lengths the positions of each frame are conditioned on; what is not given of them is measured
            in the frames that know it best. Velocities are those without them.

    Raises:
        InputError: `wrong-shape`, if shapes are inconsistent; `not-finite`, if times or covariances are not finite;
            `out-of-range`, if times do not increase, `max_gap` is negative or a bone is not between two keypoints;
            `duplicate-name`, if a bone is given twice; `missing-argument`, if there are several views, or shared
            errors, without cameras; `excluded-options`, if both likelihood and covariance are given.
    """
    observations, step = make_observations(points, cameras, likelihood, covariance, times)
    check_shared(shared, observations)
    check_bones(bones, observations.points.shape[2])
    if max_gap is not None:
        check_number(max_gap, "max_gap")
    if max_gap is not None and not max_gap >= 0:
        raise InputError(f"max_gap: found {max_gap}, expected 0 or more", code="out-of-range", argument="max_gap")
    noise = noise if noise is not None else _learned(observations)
    observations = observations.averaged(noise.window)
    length, num_views, num_keypoints, _ = observations.points.shape
    # States of a keypoint, or where nothing lasts the covariances between views of frames that are looked at alone.
    observed = 6 if noise.share == 0 else 3 + 2 * num_views
    window = max(4 * MARGIN, int(min(length, WINDOW_FLOATS / (num_views * num_keypoints * observed**2))))
    frames = reconstruct_frames(observations)
    sighted = np.asarray(np.isfinite(frames.points).all(-1))
    sightings = [np.flatnonzero(sighted[:, keypoint]) for keypoint in range(num_keypoints)]
    results: tuple[Floats, ...] = ()
    for first in range(0, length, window):
        last = min(first + window, length)
        for keypoints, rows in _parts(sightings, first, last, length):
            part, own = observations.select(rows, keypoints), noise.of_keypoints(keypoints)
            smoothed, inlier = _smooth_window(part, frames.select(rows, keypoints), own)
            # Without shared errors no memory for it.
            alone = frame_information(smoothed.points, part, own, inlier) if shared is not None else smoothed.points
            values = (smoothed.points, smoothed.covariance, smoothed.velocity, smoothed.velocity_covariance,
                      np.swapaxes(inlier, 1, 2), alone)  # fmt: skip
            results = results or tuple(np.empty((length, num_keypoints, *value.shape[2:])) for value in values)
            begin = int(np.searchsorted(rows, first))
            for result, value in zip(results, values, strict=True):
                result[first:last, keypoints] = value[begin : begin + last - first]
    positions, spread, velocity, velocity_spread, inlier, information = results
    inlier = np.where(observations.present, np.swapaxes(inlier, 1, 2), np.nan)
    spread, velocity_spread = noise.factor**2 * spread, noise.factor**2 * velocity_spread
    if shared is not None:
        spread = spread + shared_covariance(information, shared)
    measured = measure_bones(positions, spread, bones)
    positions, spread = hold_lengths(positions, spread, measured)
    missing = _too_far(inlier, observations.times * step, max_gap)
    return Smoothed(
        points=np.where(missing[..., None], np.nan, positions),
        covariance=np.where(missing[..., None, None], np.nan, spread),
        velocity=np.where(missing[..., None], np.nan, velocity / step),
        velocity_covariance=np.where(missing[..., None, None], np.nan, velocity_spread / step**2),
        inlier=inlier,
        noise=noise,
        bones=measured,
    )


def learn_noise(
    points: Floats,
    cameras: CameraGroup | None = None,
    *,
    likelihood: Floats | None = None,
    covariance: Floats | None = None,
    times: Floats | None = None,
) -> Noise:
    """Learn the noise of keypoints and of their motion from a recording, for `smooth`.

    Every view is predicted from the smoothed trajectories of the others, and the noise is what makes its keypoints
    most likely. The share of errors that are correlated in time is estimated from the residuals of single frames. A
    single view is predicted at frames that are left out, and errors that are correlated in time pass for motion.

    Args:
        points: (N, V, K, 2) keypoints in full-image px; NaN is missing.
        cameras: V cameras, or None for a single view.
        likelihood: As in `smooth`.
        covariance: As in `smooth`.
        times: As in `smooth`.

    Raises:
        InputError: As `smooth`.
    """
    observations, _ = make_observations(points, cameras, likelihood, covariance, times)
    return _learned(observations)


def _learned(observations: Observations) -> Noise:
    """Learn from some stretches of a long recording, or all of a short one."""
    keypoints = list(range(observations.points.shape[2]))
    rows = learning_rows(is_determined(observations.points))
    if len(rows) <= LEARNING_FRAMES:
        return learn([observations.select(rows, keypoints)])
    dense = observations.select(rows[spread_rows(len(rows), LEARNING_FRAMES)], keypoints)
    share, decay = estimate_correlation([reconstruct_frames(dense).residual], [dense.times])
    stride = learning_stride(share, decay, len(rows))
    if stride == 1:
        return learn([dense])
    return learn([observations.select(rows[spread_rows(len(rows), LEARNING_FRAMES, stride)], keypoints)], [dense])


def _parts(sightings: Sequence[Ints], first: int, last: int, length: int) -> list[tuple[list[int], Ints]]:
    """Return groups of keypoints, and the frames, ascending, that each is smoothed with in a window.

    All keypoints of a group take all frames of it. So those that need more frames than the window and its margins are
    apart, as many together as need no more memory than all keypoints without a gap.

    Args:
        sightings: Per keypoint the frames in which it has a position, ascending.
        first: First frame of the window.
        last: Frame after its last one.
        length: Frames of the recording.
    """
    begin, end = max(0, first - MARGIN), min(length, last + MARGIN)
    usual = np.arange(begin, end)
    groups: list[tuple[list[int], Ints]] = []
    for keypoint, seen in enumerate(sightings):
        rows = [usual]
        before, after = seen[: np.searchsorted(seen, first)], seen[np.searchsorted(seen, last) :]
        if len(before) and before[-1] < first - MARGIN // 2:
            rows += [before[-MARGIN:], before[-1] + BESIDE, np.linspace(before[-1], begin, MARGIN, dtype=np.intp)]
        if len(after) and after[0] >= last + MARGIN // 2:
            rows += [after[:MARGIN], after[0] - BESIDE, np.linspace(end - 1, after[0], MARGIN, dtype=np.intp)]
        needed = np.unique(np.concatenate(rows))
        for place, (keypoints, others) in enumerate(groups):
            together = np.union1d(others, needed)
            alike = (len(needed) > len(usual)) == (len(others) > len(usual))
            if alike and len(together) * (len(keypoints) + 1) <= len(usual) * len(sightings):
                groups[place] = ([*keypoints, keypoint], together)
                break
        else:
            groups.append(([keypoint], needed))
    return groups


def _smooth_window(observations: Observations, frames: SingleFrames, noise: Noise) -> tuple[Trajectories, Floats]:
    """Smooth some frames; return their trajectories and the probabilities (T, V, K) of inliers."""
    estimate = first_estimate(observations, frames)
    for _ in range(NUM_PASSES):
        smoothed, estimate = improve(observations, noise, estimate)
    for _ in range(EPISODE_PASSES if observations.cameras is not None else 0):
        observations = replace(observations, excess=find_excess(observations, noise, estimate))
        smoothed, estimate = improve(observations, noise, estimate)
    return smoothed, estimate.weights


def _too_far(inlier: Floats, times: Floats, max_gap: float | None) -> npt.NDArray[np.bool_]:
    """Return (N, K) True for keypoints in gaps longer than `max_gap`, and for those that have no inlier at all."""
    observed: npt.NDArray[np.bool_] = np.any(np.nan_to_num(inlier) > 0.5, axis=1)
    there = np.where(observed, times[:, None], np.nan)
    before = np.fmax.accumulate(np.where(observed, there, -np.inf))
    after = np.fmin.accumulate(np.where(observed, there, np.inf)[::-1])[::-1]
    outside = np.isinf(before) | np.isinf(after)
    gap = np.where(outside, np.minimum(times[:, None] - before, after - times[:, None]), after - before)
    limit = np.finfo(np.float64).max if max_gap is None else max_gap
    return ~observed & (gap > limit)
