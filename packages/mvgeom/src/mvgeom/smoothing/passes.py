"""Passes of smoothing: the first estimate from single frames, and its improvement by one pass after another."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mvgeom.reconstruction import CHUNK, keypoint_noise
from mvgeom.robust import triangulate_robust
from mvgeom.smoothing.noise import FLOORS, Noise, inlier_probability
from mvgeom.smoothing.state_space import transpose
from mvgeom.smoothing.trajectories import Observations, Trajectories, linearize, project_covariance, smooth_once
from mvgeom.triangulation import covariance

__all__ = ["Estimate", "SingleFrames", "first_estimate", "improve", "reconstruct_frames"]

Floats = npt.NDArray[np.float64]

ACTIVITY_WINDOW = 2
"""Steps before and after one that share its activity: animals stay agile for more than a frame."""

ACTIVITY_PRIOR = 0.5
"""Steps of ordinary activity that count beside those of the window."""

THRESHOLD_SIGMAS = 4.0
"""Reprojection error, in standard deviations of keypoints, that makes an outlier of a single frame."""

LEAST_DEPTH = 0.2
"""Least depth of a keypoint that a single view sees, as a share of that of the first estimate."""

MIN_THRESHOLD = 1.0
"""px; smaller differences are rounding in the tables."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """State that one pass of smoothing hands to the next.

    Attributes:
        points: (T, K, D) positions, finite, that projections are linearized about.
        ray: (T, K, D) unit vectors along the ray of a keypoint that a single view sees, 0 elsewhere: the direction in
            which its projection is taken not to move.
        known: (K,) True for keypoints that have a position in any single frame; the others are left out.
        weights: (T, V, K) probabilities that keypoints are no outliers; 0 where there is none.
        agreeing: (T, V, K) True for keypoints of a majority of views that agree with each other in their frame.
        activity: (T-1, K) factors of the intensity of motion.
        unit: Typical standard deviation of a position from a single frame, in the positions' unit.
    """

    points: Floats
    ray: Floats
    known: npt.NDArray[np.bool_]
    weights: Floats
    agreeing: npt.NDArray[np.bool_]
    activity: Floats
    unit: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SingleFrames:
    """Positions from single frames.

    Attributes:
        points: (T, K, D) positions; NaN where the views do not give one.
        inliers: (T, V, K) keypoints that agree with the position.
        residual: (T, V, K, 2) keypoints minus projections in standard deviations; NaN for outliers.
        noise: Standard deviation of keypoints per coordinate in px.
    """

    points: Floats
    inliers: npt.NDArray[np.bool_]
    residual: Floats
    noise: float

    def select(self, rows: npt.NDArray[np.intp], keypoints: list[int]) -> SingleFrames:
        """Return the positions of some of the keypoints in some of the frames."""
        return SingleFrames(
            points=self.points[rows][:, keypoints],
            inliers=self.inliers[rows][:, :, keypoints],
            residual=self.residual[rows][:, :, keypoints],
            noise=self.noise,
        )


def reconstruct_frames(observations: Observations, noise: Noise | None = None) -> SingleFrames:
    """Triangulate every frame alone; without cameras, take the keypoints as they are.

    Args:
        observations: Keypoints.
        noise: Noise that weights and outliers follow from; None if it is not yet known, for equal noise of all.
    """
    points, cameras = observations.points, observations.cameras
    if cameras is None:
        residual, typical = np.full_like(points, np.nan), _noise_of_steps(points[:, 0])
        return SingleFrames(points=points[:, 0], inliers=observations.present, residual=residual, noise=typical)
    length, num_views, num_keypoints = points.shape[:3]
    if noise is None:
        typical = keypoint_noise(np.moveaxis(points, 1, 0).reshape(num_views, length * num_keypoints, 2), cameras)
        deviation = np.full(points.shape[:3], typical if np.isfinite(typical) else 0.0)
    else:
        deviation = np.sqrt(np.trace(observations.noise_covariance(noise), axis1=-2, axis2=-1) / 2)
        typical = float(np.median(deviation))
    threshold = np.maximum(THRESHOLD_SIGMAS * deviation, MIN_THRESHOLD)
    weights = 1 / np.maximum(deviation, MIN_THRESHOLD / THRESHOLD_SIGMAS) ** 2
    parts = []
    each = max(1, CHUNK // num_keypoints)
    for rows in (slice(start, start + each) for start in range(0, length, each)):
        robust = triangulate_robust(points[rows], cameras, weights[rows], threshold=threshold[rows])
        projected, _ = linearize(robust.points, cameras)
        scaled = (points[rows] - projected) * np.sqrt(weights[rows])[..., None]
        parts.append((robust.points, robust.inliers, np.where(robust.inliers[..., None], scaled, np.nan)))
    found, inliers, residual = (np.concatenate(values) for values in zip(*parts, strict=True))
    return SingleFrames(points=found, inliers=inliers, residual=residual, noise=typical)


def first_estimate(observations: Observations, frames: SingleFrames) -> Estimate:
    """Fill the frames without a position by interpolation, at the ends by the nearest."""
    found = np.asarray(np.isfinite(frames.points).all(-1))
    known = np.asarray(found.any(0))
    points = np.zeros_like(frames.points)
    for keypoint in np.flatnonzero(known):
        rows = found[:, keypoint]
        for axis in range(points.shape[2]):
            points[:, keypoint, axis] = np.interp(
                observations.times, observations.times[rows], frames.points[rows, keypoint, axis]
            )
    points[:, ~known] = points[:, known].reshape(-1, points.shape[2]).mean(0) if known.any() else 0.0
    return Estimate(
        points=points,
        ray=_rays_of_single_views(points, known, observations),
        known=known,
        weights=frames.inliers.astype(np.float64),
        agreeing=_majority(frames.inliers, observations),
        activity=np.ones((max(len(points) - 1, 0), points.shape[1])),
        unit=_typical_deviation(observations, frames),
    )


def _rays_of_single_views(points: Floats, known: npt.NDArray[np.bool_], observations: Observations) -> Floats:
    """Return unit vectors (T, K, D) along the rays of keypoints that a single view sees; 0 for the others.

    A projection linearized about one point after the other would have rays that converge at the camera. The nearer the
    trajectory comes to it, the less it accelerates, and the prior would pull it there. So all projections of a stretch
    that a single view sees leave its depth, of the first estimate, to the prior.
    """
    if observations.cameras is None:
        return np.zeros_like(points)
    present = observations.present & known
    _, derivative = linearize(points, observations.cameras)
    alone = np.take_along_axis(derivative, present.argmax(1)[:, None, :, None, None], axis=1)[:, 0]
    ray = np.cross(alone[..., 0, :], alone[..., 1, :])  # moves no pixel
    length = np.linalg.norm(ray, axis=-1, keepdims=True)
    single = (present.sum(1) == 1)[..., None] & (length > 0)
    return np.where(single, ray / np.where(single, length, 1.0), 0.0)


def _on_rays(smoothed: Trajectories, estimate: Estimate, observations: Observations) -> tuple[Trajectories, Floats]:
    """Move what a single view sees onto its ray, at the depth that was smoothed.

    Returns:
        The trajectories, and the points (T, K, D) of the same rays at the depth of the estimate.
    """
    cameras, ray = observations.cameras, estimate.ray
    single = (ray != 0).any(-1)
    if cameras is None or not single.any():
        return smoothed, smoothed.points
    centers = -np.einsum("vji,vj->vi", cameras.rotation, cameras.translation)
    rows, keypoints = np.nonzero(single)
    along, center = ray[single], centers[observations.present.argmax(1)[rows, keypoints]]

    def depth(points: Floats) -> Floats:
        return np.asarray(((points[single] - center) * along).sum(-1, keepdims=True))

    before, after = depth(estimate.points), depth(smoothed.points)
    aside = smoothed.points[single] - after * along - center
    ratio = np.maximum(after / before, LEAST_DEPTH)
    turn = ratio[..., None] * np.eye(3) + ((aside / before) - (ratio - 1) * along)[..., :, None] * along[..., None, :]
    points, covariance, start = smoothed.points.copy(), smoothed.covariance.copy(), smoothed.points.copy()
    points[single] = center + ratio * (aside + before * along)
    covariance[single] = turn @ covariance[single] @ transpose(turn)
    start[single] = center + aside + before * along
    return replace(smoothed, points=points, covariance=covariance), start


def improve(observations: Observations, noise: Noise, estimate: Estimate) -> tuple[Trajectories, Estimate]:
    """Smooth once, and estimate outliers and activity from the result.

    A keypoint is an outlier if it is improbable beside what all views and times together predict, unless most views of
    its frame agree with it: a stiff prior must not declare a jump that all views see an outlier.
    """
    smoothed = smooth_once(
        estimate.points,
        observations,
        noise,
        estimate.weights,
        estimate.activity,
        estimate.unit,
        estimate.ray,
    )
    smoothed, start = _on_rays(smoothed, estimate, observations)
    projected, derivative = linearize(smoothed.points, observations.cameras)
    usable = observations.present & np.isfinite(projected).all(-1) & estimate.known
    predicted = project_covariance(derivative, smoothed.covariance) + observations.noise_covariance(noise)
    probability = inlier_probability(
        np.where(usable[..., None], observations.points - projected, 0.0),
        np.where(usable[..., None, None], predicted, np.eye(2)),
        noise.outliers,
    )
    better = replace(
        estimate,
        points=start,
        weights=np.where(usable, np.where(estimate.agreeing, 1.0, probability), 0.0),
        activity=_next_activity(smoothed.activity * estimate.activity),
    )
    return smoothed, better


def _majority(inliers: npt.NDArray[np.bool_], observations: Observations) -> npt.NDArray[np.bool_]:
    """Return the inliers (T, V, K) of frames in which two views or more agree, and more than those that do not."""
    agreeing, present = inliers.sum(1, keepdims=True), observations.present.sum(1, keepdims=True)
    return np.asarray(inliers & (agreeing >= 2) & (2 * agreeing > present))


def _next_activity(energy: Floats) -> Floats:
    """Return the mean (T-1, K) of each step's energy and its neighbors', and of the prior's steps, which have 1."""
    total, count = _sum_of_neighbors(energy), _sum_of_neighbors(np.ones_like(energy))
    return np.asarray((ACTIVITY_PRIOR + total) / (ACTIVITY_PRIOR + count))


def _sum_of_neighbors(values: Floats) -> Floats:
    """Return the sums over each row, and the rows before and after it that share its activity."""
    padded = np.pad(values, ((ACTIVITY_WINDOW, ACTIVITY_WINDOW), (0, 0)))
    return np.asarray(sum(padded[shift : shift + len(values)] for shift in range(2 * ACTIVITY_WINDOW + 1)))


def _typical_deviation(observations: Observations, frames: SingleFrames) -> float:
    """Return the median standard deviation per coordinate of positions from single frames; 1 if there are none."""
    if observations.cameras is None:
        return frames.noise
    spread = covariance(frames.points, observations.cameras, max(frames.noise, FLOORS[0]), frames.inliers)
    variance = np.trace(spread, axis1=-2, axis2=-1) / 3
    known = variance[np.isfinite(variance)]
    return float(np.sqrt(np.median(known))) if len(known) else 1.0


def _noise_of_steps(points: Floats) -> float:
    """Return the typical noise in px of points (T, K, 2) from their second differences, as if all of it were noise."""
    second = points[2:] - 2 * points[1:-1] + points[:-2]
    typical = np.nanmedian(np.abs(second)) if np.isfinite(second).any() else np.nan
    return float(typical / 0.6745 / np.sqrt(6)) if np.isfinite(typical) and typical > 0 else 1.0
