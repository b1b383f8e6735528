"""Predictions in 3D: triangulation of what each view shows by itself, weighted, without outlier views.

A keypoint's variance is taken to be inversely proportional to its weight (`observations`); its scale follows
from the agreement of the views over the whole recording, outliers aside. From that come the standard deviations, and
the distance beyond which a view counts as an outlier. Standard deviations then grow by what views that are left out
show, or, where the run has error bars that were fitted to labels, by those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mvgeom import CameraGroup, SharedError
from mvgeom.left_out import deviation_factor
from mvgeom.reconstruction import Reconstruction, keypoint_noise, reconstruct
from mvtrain.model.error_bars import ErrorBars, subject_size_3d
from mvtrain.model.inference import FramePredictions
from mvtrain.model.likelihood import ConfidenceMap, view_weights
from mvtrain.project.project import Project

_SAMPLE = 20_000
"""Keypoints of a recording from which its noise is estimated."""


def observations(predictions: FramePredictions, confidence_map: ConfidenceMap | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the observations from which predictions are triangulated.

    Fused keypoints of several views are no independent observations: they agree because they were made to. The evidence
    of the fusion is what each view contributed.

    Args:
        predictions: Predictions of N frames.
        confidence_map: Calibration of their confidence, if there is one.

    Returns:
        Points (N, V, K, 2) in full-image px and weights (N, V, K), inverse variances up to a common factor; NaN where
        missing.
    """
    if predictions.before_fusion is None:
        return predictions.points, view_weights(predictions.confidence, confidence_map)
    evidence = predictions.before_fusion.evidence
    return evidence[..., :2], evidence[..., 2]


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


def own_observations(predictions: FramePredictions) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what each view shows by itself, whatever the others show; None where `observations` are that already.

    Points and weights are as of `observations`. The weight is the network's confidence: a calibration is one of fused
    keypoints.
    """
    before = predictions.before_fusion
    return None if before is None else (before.points, before.confidence)


def estimate_noise(
    points: np.ndarray,
    weights: np.ndarray,
    cameras: CameraGroup,
    own: tuple[np.ndarray, np.ndarray] | None = None,
    error_bars: ErrorBars | None = None,
) -> KeypointNoise:
    """Estimate the noise of predicted keypoints from the agreement of the views.

    Args:
        points: (N, V, K, 2) full-image px, NaN where missing: an even sample of the recording is enough.
        weights: (N, V, K) inverse variances up to a common factor; 0 or NaN removes a keypoint.
        cameras: Group of V cameras, at least two.
        own: Points and weights of the same frames from `own_observations`: evidence was looked for near the place where
            all views agree, so that only these tell how far a view may be off. None takes the points.
        error_bars: Error bars of the run, if it has any.
    """
    noise = _noise_of_agreement(points, weights, cameras)
    by_itself = noise if own is None else _noise_of_agreement(*own, cameras)
    own_points, own_weights = (points, weights) if own is None else own
    deviation = by_itself.sigma / np.sqrt(np.where(own_weights > 0, own_weights / by_itself.typical_weight, np.nan))
    flat_points = np.moveaxis(own_points, 1, 0).reshape(len(cameras), -1, 2)
    flat_deviation = np.moveaxis(deviation, 1, 0).reshape(len(cameras), -1)
    noise = replace(noise, factor=deviation_factor(flat_points, cameras, flat_deviation))
    if error_bars is None:
        return noise
    size = subject_size_3d(to_3d(points, weights, cameras, noise).points)
    return replace(noise, shared=error_bars.in_recording(noise.factor, size))


def _noise_of_agreement(points: np.ndarray, weights: np.ndarray, cameras: CameraGroup) -> KeypointNoise:
    known = weights[np.isfinite(points).all(-1) & (weights > 0)]
    typical = float(np.median(known)) if len(known) else float("nan")
    num_views = points.shape[1]
    flat_points = np.moveaxis(points, 1, 0).reshape(num_views, -1, 2)
    flat_weights = np.moveaxis(weights / typical, 1, 0).reshape(num_views, -1)
    sigma = keypoint_noise(flat_points, cameras, flat_weights)
    return KeypointNoise(sigma=sigma, typical_weight=typical)


def to_3d(points: np.ndarray, weights: np.ndarray, cameras: CameraGroup, noise: KeypointNoise) -> Reconstruction:
    """Triangulate predictions into world points, with standard deviation, reprojection error and number of views.

    Args:
        points: (N, V, K, 2) full-image px, NaN where missing.
        weights: (N, V, K) as for `estimate_noise`.
        cameras: Group of V cameras, at least two.
        noise: Noise of the whole recording.
    """
    known = np.isfinite(noise.sigma) and noise.sigma > 0
    found = reconstruct(
        points,
        cameras,
        noise=noise.sigma if known else 1.0,  # otherwise there is no point, or all views agree exactly
        weights=weights / noise.typical_weight,
    )
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
    points_2d, weights = observations(predictions, confidence_map)
    points, std = np.full((*shape, 3), np.nan), np.full((*shape, 3), np.nan)
    error, num_views = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    for cameras, rows, noise in noise_of_sessions(project, predictions, confidence_map, error_bars):
        found = to_3d(points_2d[rows], weights[rows], cameras, noise)
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
    points, weights = observations(predictions, confidence_map)
    own = own_observations(predictions)
    cameras_of = [project.cameras[row] for row in predictions.index]
    groups = {id(group): group for group in cameras_of if group is not None and len(group) > 1}
    for cameras in groups.values():
        rows = [number for number, group in enumerate(cameras_of) if group is cameras]
        alone = None if own is None else (own[0][rows], own[1][rows])
        yield cameras, rows, estimate_noise(points[rows], weights[rows], cameras, alone, error_bars)
