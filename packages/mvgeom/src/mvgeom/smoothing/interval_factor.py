"""The factor by which standard deviations of smoothed trajectories must grow for intervals to hold what they say.

The smoother assumes that errors are Gaussian, and that those of different views are independent. Detectors have heavy
tails, and errors of the network follow the subject's pose, in all views and over time, like motion. Two observations of
the recording tell, both of views that are left out:

- The gain. Prediction of a left-out view from the other views' trajectories must be better than prediction from single
  frames, by the difference of the two covariances. If the squared residuals fall by a smaller part of it, time has not
  averaged the errors as assumed, and the variance has that part only of the stated reduction. The view's own error is
  in both residuals and cancels.
- The tails, as for single frames: see `mvgeom.left_out`.

Of two views, only residuals across the epipolar lines tell: along them, one view predicts nothing of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mvgeom.left_out import factor_of_squares
from mvgeom.smoothing.cross_validation import across_lines, cross_validate, cross_validate_frames
from mvgeom.smoothing.noise import Noise
from mvgeom.smoothing.passes import Estimate
from mvgeom.smoothing.state_space import transpose
from mvgeom.smoothing.trajectories import Observations, linearize, smooth_once

__all__ = ["interval_factor"]

Floats = npt.NDArray[np.float64]


def interval_factor(stretches: Sequence[Observations], noise: Noise, estimates: Sequence[Estimate]) -> float:
    """Return the factor, at least 1, of the standard deviations of smoothed positions.

    Args:
        stretches: Stretches that the noise was learned from.
        noise: Noise that was learned.
        estimates: Trajectories of each stretch.

    Returns:
        The factor; 1 with a single view or too few keypoints to tell.
    """
    if stretches[0].cameras is None or len(stretches[0].cameras) < 2:
        return 1.0
    parts = [_compare(stretch, noise, estimate) for stretch, estimate in zip(stretches, estimates, strict=True)]
    found = _Comparison(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    if len(found.stated) == 0 or not found.stated.mean() > 0:
        return 1.0
    gain = float(np.clip(found.observed.mean() / found.stated.mean(), 0.0, 1.0))
    variance = 1.0 + (1.0 - gain) * (max(1.0, float(np.median(found.growth))) - 1.0)
    scaled = np.linalg.solve(variance * found.predicted + found.own, found.residual[..., None])[..., 0]
    squares = (found.residual * scaled).sum(-1)
    return factor_of_squares(squares, degrees=found.residual.shape[-1]) * float(np.sqrt(variance))


class _Comparison(NamedTuple):
    """Left-out views predicted from trajectories, beside predictions from single frames: N keypoints, M positions.

    Residuals have D = 2 coordinates, or that across the epipolar line alone (D = 1).

    Attributes:
        observed: (N,) fall of the squared residual from single frames to trajectories, in units of the variance.
        stated: (N,) the fall that the covariances state.
        growth: (M,) variance of a position from its frame alone over that from the trajectory.
        residual: (N, D) residuals from trajectories in px.
        predicted: (N, D, D) their covariances in px^2 but for the keypoint's own noise.
        own: (N, D, D) covariances of the keypoint's own noise.
    """

    observed: Floats
    stated: Floats
    growth: Floats
    residual: Floats
    predicted: Floats
    own: Floats


def _compare(observations: Observations, noise: Noise, estimate: Estimate) -> _Comparison:
    """Compare predictions of left-out views from trajectories with those from single frames."""
    residual, predicted, counted = cross_validate(observations, noise, estimate)
    own = observations.noise_covariance(noise)
    pair = observations.points.shape[1] == 2
    single, spread, of_all = cross_validate_frames(observations, noise, estimate, from_one=pair, by_groups=True)
    if pair:
        _, derivative = linearize(estimate.points, observations.cameras)
        across = across_lines(derivative, derivative[:, ::-1])[..., None]
        residual, single = ((each[..., None, :] @ across)[..., 0] for each in (residual, single))
        predicted, own, spread = (transpose(across) @ each @ across for each in (predicted, own, spread))
    both = counted & (estimate.weights > 0.5) & np.isfinite(single).all(-1) & np.isfinite(spread).all((-2, -1))
    unit = _trace(spread + own)[both]
    smoothed = smooth_once(
        estimate.points, observations, noise, estimate.weights, estimate.activity, estimate.unit, estimate.ray
    ).covariance
    growth = _trace(of_all) / _trace(smoothed)
    return _Comparison(
        observed=((single**2).sum(-1) - (residual**2).sum(-1))[both] / unit,
        stated=_trace(spread - predicted)[both] / unit,
        growth=growth[np.isfinite(growth)],
        residual=residual[both],
        predicted=predicted[both],
        own=own[both],
    )


def _trace(matrices: Floats) -> Floats:
    return np.asarray(np.trace(matrices, axis1=-2, axis2=-1))
