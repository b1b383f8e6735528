"""Predictions in 3D: triangulation of what each view shows by itself, weighted, without outlier views.

A keypoint's variance is taken to be inversely proportional to its weight, or its covariance to be proportional to what
the network states (`observations`); the scale follows from the agreement of the views over the whole recording,
outliers aside. From that come the standard deviations, and the distance beyond which a view counts as an outlier.
Standard deviations then grow by what views that are left out show, or, where the run has error bars that were fitted to
labels, by those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mvgeom import CameraGroup, SharedError
from mvgeom.left_out import deviation_factor
from mvgeom.reconstruction import Reconstruction, keypoint_noise, reconstruct
from mvgeom.stated_covariance import mean_precision
from mvtrain.model.error_bars import ErrorBars, subject_size_3d
from mvtrain.model.inference import FramePredictions
from mvtrain.model.likelihood import ConfidenceMap, view_weights
from mvtrain.project.project import Project

_SAMPLE = 20_000
"""Keypoints of a recording from which its noise is estimated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Observations of the keypoints of N frames in the views, from which the points in 3D come.

    Attributes:
        points: (N, V, K, 2) full-image px; NaN where missing.
        weights: (N, V, K) inverse variances up to a common factor; 0 or NaN removes a keypoint.
        covariances: (N, V, K, 2, 2) px^2, up to a common factor, whose mean precisions are the weights; None where only
            the weights are known.
    """

    points: np.ndarray
    weights: np.ndarray
    covariances: np.ndarray | None = None

    @classmethod
    def from_stated(cls, points: np.ndarray, weights: np.ndarray, covariances: np.ndarray | None) -> Observations:
        """Make observations that weigh by the covariances (N, V, K, 2, 2) that a network states, if it states any.

        Keypoints whose weight is not above 0 stay removed.
        """
        if covariances is None:
            return cls(points=points, weights=weights)
        precision = mean_precision(covariances)
        return cls(points=points, weights=np.where(weights > 0, precision, 0.0), covariances=covariances)

    def __getitem__(self, rows: Any) -> Observations:
        """Select frames, or with a tuple also views."""
        covariances = None if self.covariances is None else self.covariances[rows]
        return Observations(points=self.points[rows], weights=self.weights[rows], covariances=covariances)


def observations(predictions: FramePredictions, confidence_map: ConfidenceMap | None) -> Observations:
    """Return the observations from which predictions are triangulated.

    Fused keypoints of several views are no independent observations: they agree because they were made to. The evidence
    of the fusion is what each view contributed. Where a network states covariances, they take the place of weights.

    Args:
        predictions: Predictions of N frames.
        confidence_map: Calibration of their confidence, if there is one.
    """
    points, weights = predictions.points, predictions.weights
    if predictions.before_fusion is not None:
        points, weights = predictions.before_fusion.evidence[..., :2], predictions.before_fusion.evidence[..., 2]
    elif weights is None:
        weights = view_weights(predictions.confidence, confidence_map)
    return Observations.from_stated(points, weights, predictions.own_covariance)


def own_observations(predictions: FramePredictions) -> Observations | None:
    """Return what each view shows by itself, whatever the others show; None where `observations` are that already.

    Without stated covariances, the weight is the network's confidence: a calibration is one of fused keypoints.
    """
    before = predictions.before_fusion
    if before is None:
        return None
    return Observations.from_stated(before.points, before.confidence, predictions.own_covariance)


@dataclass(frozen=True, kw_only=True)
class KeypointNoise:
    """Noise of the keypoints of a recording.

    Attributes:
        sigma: Standard deviation in full-image px, per coordinate, of a keypoint of typical weight; NaN where no two
            views see any keypoint.
        typical_weight: Median weight over the recording.
        factor: Factor by which standard deviations of points grow, see `mvgeom.left_out`.
        shared: Errors that all views share, by labels: where they are known, they take the place of `factor`.
    """

    sigma: float
    typical_weight: float
    factor: float = 1.0
    shared: SharedError | None = None


def estimate_noise(
    observed: Observations,
    cameras: CameraGroup,
    own: Observations | None = None,
    error_bars: ErrorBars | None = None,
) -> KeypointNoise:
    """Estimate the noise of predicted keypoints from the agreement of the views.

    Args:
        observed: Observations: an even sample of the recording is enough.
        cameras: Group of V cameras, at least two.
        own: `own_observations` of the same frames: evidence was looked for near the place where all views agree, so
            that only these tell how far a view may be off. None takes the observations.
        error_bars: Error bars of the run, if it has any.
    """
    noise = _noise_of_agreement(observed, cameras)
    by_itself = noise if own is None else _noise_of_agreement(own, cameras)
    if observed.covariances is not None:
        # They are stated of what each view shows by itself: evidence near the common place agrees better than they say.
        noise = by_itself
    alone = observed if own is None else own
    deviation = by_itself.sigma / np.sqrt(np.where(alone.weights > 0, alone.weights / by_itself.typical_weight, np.nan))
    flat_points = np.moveaxis(alone.points, 1, 0).reshape(len(cameras), -1, 2)
    flat_deviation = np.moveaxis(deviation, 1, 0).reshape(len(cameras), -1)
    noise = replace(noise, factor=deviation_factor(flat_points, cameras, flat_deviation))
    if error_bars is None:
        return noise
    size = subject_size_3d(to_3d(observed, cameras, noise).points)
    return replace(noise, shared=error_bars.in_recording(noise.factor, size))


def _noise_of_agreement(observed: Observations, cameras: CameraGroup) -> KeypointNoise:
    points, weights = observed.points, observed.weights
    known = weights[np.isfinite(points).all(-1) & (weights > 0)]
    typical = float(np.median(known)) if len(known) else float("nan")
    num_views = points.shape[1]
    flat_points = np.moveaxis(points, 1, 0).reshape(num_views, -1, 2)
    flat_weights = np.moveaxis(weights / typical, 1, 0).reshape(num_views, -1)
    sigma = keypoint_noise(flat_points, cameras, flat_weights)
    return KeypointNoise(sigma=sigma, typical_weight=typical)


def to_3d(observed: Observations, cameras: CameraGroup, noise: KeypointNoise) -> Reconstruction:
    """Triangulate predictions into world points, with standard deviation, reprojection error and number of views.

    Args:
        observed: Observations of N frames.
        cameras: Group of V cameras, at least two.
        noise: Noise of the whole recording.
    """
    known = np.isfinite(noise.sigma) and noise.sigma > 0
    sigma = noise.sigma if known else 1.0  # otherwise there is no point, or all views agree exactly
    weights: np.ndarray | None = observed.weights / noise.typical_weight
    covariances = None
    if observed.covariances is not None:
        shown = (observed.weights > 0)[..., None, None]
        weights, covariances = None, np.where(shown, observed.covariances * noise.typical_weight, np.nan)
    found = reconstruct(observed.points, cameras, noise=sigma, weights=weights, covariances=covariances)
    if noise.shared is None:
        return replace(found, std=noise.factor * found.std)
    return replace(found, std=np.hypot(noise.shared.scale * found.std, noise.shared.std[:, None]))


def sample_rows(num_rows: int, num_keypoints: int) -> range:
    """Choose evenly spread rows of a long recording, enough to estimate its noise."""
    return range(0, num_rows, max(1, num_rows * num_keypoints // _SAMPLE))


def reconstruct_project(
    project: Project,
    predictions: FramePredictions,
    confidence_map: ConfidenceMap | None,
    error_bars: ErrorBars | None = None,
) -> Reconstruction:
    """Triangulate predicted frames of a project; NaN without calibration, and where no two views agree.

    Args:
        project: Project that the frames are from.
        predictions: Predictions of N of its frames, in any order; their noise is estimated from all of them together.
        confidence_map: Calibration of their confidence, if there is one.
        error_bars: Error bars of the run, if it has any.
    """
    shape = (len(predictions.points), predictions.points.shape[2])
    observed = observations(predictions, confidence_map)
    points, std = np.full((*shape, 3), np.nan), np.full((*shape, 3), np.nan)
    error, num_views = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    for cameras, rows, noise in noise_of_sessions(project, predictions, confidence_map, error_bars):
        found = to_3d(observed[rows], cameras, noise)
        points[rows], std[rows], error[rows], num_views[rows] = found.points, found.std, found.error, found.num_views
    return Reconstruction(
        points=points, std=std, error=error, num_views=num_views, noise=float("nan"), threshold=float("nan")
    )


def noise_of_sessions(
    project: Project,
    predictions: FramePredictions,
    confidence_map: ConfidenceMap | None,
    error_bars: ErrorBars | None = None,
) -> Iterator[tuple[CameraGroup, list[int], KeypointNoise]]:
    """Estimate the noise of each calibration of two views or more.

    Args:
        project: Project that the frames are from.
        predictions: Predictions of N of its frames, in any order.
        confidence_map: Calibration of their confidence, if there is one.
        error_bars: Error bars of the run, if it has any.

    Yields:
        Cameras, the rows of the predictions that have them, and the noise of these.
    """
    observed, own = observations(predictions, confidence_map), own_observations(predictions)
    cameras_of = [project.cameras[row] for row in predictions.index]
    groups = {id(group): group for group in cameras_of if group is not None and len(group) > 1}
    for cameras in groups.values():
        rows = [number for number, group in enumerate(cameras_of) if group is cameras]
        yield cameras, rows, estimate_noise(observed[rows], cameras, None if own is None else own[rows], error_bars)
