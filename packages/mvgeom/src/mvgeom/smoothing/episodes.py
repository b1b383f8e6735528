"""Episodes in which a view is worse than it states: occlusion, blur, a limb beside another.

Likelihoods tell of them in part only, and the noise that is learned holds on average over a recording. So the variance
of a keypoint in one view has a factor that varies in time, as the intensity of motion has: a Student-t process, whose
scale neighboring frames share. It is judged by the other views of the same frames, not by trajectories: a trajectory
follows the view that weighs too much, and the others would count as wrong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mvgeom.smoothing.cross_validation import cross_validate_frames
from mvgeom.smoothing.noise import Noise
from mvgeom.smoothing.passes import Estimate
from mvgeom.smoothing.state_space import transpose
from mvgeom.smoothing.trajectories import Observations

__all__ = ["find_excess"]

Floats = npt.NDArray[np.float64]

DECAY_SHARE = 0.25
"""Frames before and after one that share its factor, as a share of the time in which errors decay."""

LEAST_WINDOW = 2
"""Fewest frames before and after one that share its factor."""

PRIOR = 5.0
"""Frames of usual noise that count beside those of the window."""

LARGEST_SQUARE = 9.0
"""Largest squared residual in units of its variance that counts.

Outliers count, too: without them a view that is far off for long would be left with those keypoints that are near by
chance. A single one widens its neighbors little.
"""

LARGEST_EXCESS = 12.0


def find_excess(observations: Observations, noise: Noise, estimate: Estimate) -> Floats:
    """Return by which factors (T, V, K) the variances of keypoints exceed those of the noise, from 1.

    The residual of a keypoint from what the other views of its frame predict has the covariance `s W + P`, of the
    keypoint's own noise and of the prediction, which has the other views' present excess. Where W is the identity and P
    is diagonal, each coordinate's square less that of P is an estimate of s, with a variance like that of 1 + P. The
    factor is their weighted mean over a window, with some frames of usual noise.

    Args:
        observations: Keypoints in calibrated views, with the excess found so far.
        noise: Noise of the keypoints.
        estimate: Trajectories to linearize about, and outliers, which predict no other view.

    Returns:
        Factors; 1 where no other view sees the keypoint in the window. Two views alone have the same part in it.
    """
    shape = observations.points.shape[:-1]
    residual, predicted, _ = cross_validate_frames(observations, noise, estimate, from_one=True)
    validated = np.isfinite(residual).all(-1) & np.isfinite(predicted).all((-2, -1))
    own = noise.covariance(observations.covariance)[validated]
    whiten = np.linalg.inv(np.linalg.cholesky(own))
    variance, axes = np.linalg.eigh(whiten @ predicted[validated] @ transpose(whiten))
    square = (transpose(axes) @ whiten @ residual[validated][..., None])[..., 0] ** 2
    weight, estimated = np.zeros(shape), np.zeros(shape)
    each = 1 / (1 + variance) ** 2
    weight[validated] = each.mean(-1)
    estimated[validated] = (each * (np.minimum(square, LARGEST_SQUARE * (1 + variance)) - variance)).mean(-1)
    window = LEAST_WINDOW
    if noise.decay > 0:
        window = max(window, round(-DECAY_SHARE / np.log(noise.decay)))
    factor = (PRIOR + _moving_sum(estimated, window)) / (PRIOR + _moving_sum(weight, window))
    return np.clip(factor, 1.0, LARGEST_EXCESS)


def _moving_sum(values: Floats, window: int) -> Floats:
    """Return the sums of each row and as many as `window` rows before and after it."""
    padded = np.pad(values, [(window + 1, window)] + [(0, 0)] * (values.ndim - 1))
    total = np.cumsum(padded, axis=0)
    return np.asarray(total[2 * window + 1 :] - total[: -2 * window - 1])
